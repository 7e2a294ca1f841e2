"""Data that are not what they were, or not what was held out."""

from __future__ import annotations

from statistics import median

from latentserve.training.supervising.reading import Line, Reading, above

TIMES = 2.0  # the distance of the reals shown from those held out, over the floor, or over its own first values (own)
DEVIATIONS = 5.0  # of the floor, beyond it: in few dimensions chance alone doubles it (own)
FIRST = 5  # lines that say what its own is


class Changed:
    """Reals shown lately are further from those held out than those shown at first."""

    fault = "changed data"
    patience = 3

    def __init__(self) -> None:
        self._first: list[float] = []

    def read(self, line: Line) -> Reading | None:
        if "real_frechet" not in line:
            return None
        if len(self._first) < FIRST:
            self._first.append(line["real_frechet"])
            return None
        ours = max(median(self._first), line.get("frechet_floor", 0.0))
        return further("real_frechet over its first median", line, ours) if ours else None


class Mismatched:
    """Reals shown are further from those held out than chance takes as many others."""

    fault = "mismatched data"
    patience = 3

    def read(self, line: Line) -> Reading | None:
        floor = line.get("frechet_floor", 0.0)
        if "real_frechet" not in line or floor <= 0:
            return None
        return further("real_frechet over its floor", line, floor)


def further(signal: str, line: Line, ours: float) -> Reading:
    """The distance over what it should be, against what chance makes of that."""
    times = max(TIMES, 1 + DEVIATIONS * line.get("frechet_floor_deviation", 0.0) / ours)
    return above(signal, line["real_frechet"] / ours, times, (1 + times) / 2)
