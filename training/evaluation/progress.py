"""How far an evaluation is: what is being done, how much of it is, and how long the rest will take."""

from __future__ import annotations

import sys

from latentserve.service.terminal.line import Line


class Progress:
    """Stages on the line of a terminal; elsewhere a line each. Without a line nobody is told."""

    def __init__(self, line: Line | None = None) -> None:
        self._line = line
        self._done = 0

    def begin(self, stage: str, total: int | None = None, unit: str = "") -> None:
        """Another stage, of so much in all where that is known."""
        self._done = 0
        if self._line is None:
            return
        self._line.begin(stage, total, unit)
        if not self._line.live:
            print(f"{stage} ...", file=sys.stderr, flush=True)

    def add(self, done: int) -> None:
        """So much more of the stage is done."""
        self._done += done
        if self._line is not None:
            self._line.at(self._done)


UNTOLD = Progress()
