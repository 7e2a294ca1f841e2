"""Losses or gradients that are not finite. The loop has left such steps out already; here they are counted."""

from __future__ import annotations

from latentserve.training.supervising.reading import Line, Reading

MANY = 10  # steps, the loop's own limit of those on end: then skipping is no longer enough


class NonFinite:
    """Any step is worth a word: no healthy run has one."""

    fault = "non-finite values"
    patience = 1

    def read(self, line: Line) -> Reading | None:
        steps = line.get("nonfinite_steps", 0)
        return Reading("nonfinite_steps", steps, 1, steps >= 1, steps == 0)


class ManyNonFinite(NonFinite):
    """So many, in lines on end, that something must be done."""

    def __init__(self) -> None:
        self._steps = 0.0

    def read(self, line: Line) -> Reading | None:
        steps = line.get("nonfinite_steps", 0)
        self._steps = self._steps + steps if steps else 0
        reading = Reading("nonfinite_steps in lines on end", self._steps, MANY, self._steps >= MANY, steps == 0)
        if reading.bad:
            self._steps = 0
        return reading
