"""What is noted of a request that is traced."""

from __future__ import annotations


class Trace:
    """Parts of a request's time, as `time.perf_counter` has it."""

    __slots__ = ("parts",)

    def __init__(self) -> None:
        self.parts: list[tuple[str, float, float]] = []

    def note(self, name: str, began: float, ended: float) -> None:
        """It was in this part from one time to another."""
        self.parts.append((name, began, ended))
