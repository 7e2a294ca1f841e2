"""Mode collapse: samples of one label are all alike, or the critic sees few directions that they differ in."""

from __future__ import annotations

from collections import deque

from latentserve.training.supervising.reading import Line, Reading, below

COLLAPSED = 0.2  # of the reals' diversity (own); below a half is a warning
HEALTHY = 0.5  # what a run must have had, for it to be lost
LATE = 0.5  # share of the budget after which a run that never had it has collapsed, too, unless it is on its way
BEFORE = 5  # lines over which being on the way shows
RISE = 1.1


class Collapse:
    fault = "mode collapse"
    patience = 2

    def __init__(self, images: int) -> None:
        """`images` is the run's budget."""
        self._images = images
        self._had = {"diversity": False, "effective_rank": False}
        self._last = {signal: deque[float](maxlen=BEFORE) for signal in (*self._had, "frechet")}

    def read(self, line: Line) -> Reading | None:
        readings = []
        late = line["images"] > LATE * self._images
        better = self._moved("frechet", line, 1 / RISE) < 1 / RISE
        for signal in self._had:
            if signal not in line:
                continue
            self._had[signal] |= line[signal] > HEALTHY
            stuck = not better and self._moved(signal, line, RISE) < RISE
            if self._had[signal] or (late and stuck):
                readings.append(below(signal, line[signal], COLLAPSED, HEALTHY))
        return min(readings, key=lambda reading: reading.value, default=None)

    def _moved(self, signal: str, line: Line, unknown: float) -> float:
        """The signal over what it was BEFORE lines ago."""
        last = self._last[signal]
        moved = line[signal] / last[0] if signal in line and len(last) == BEFORE and last[0] > 0 else unknown
        if signal in line:
            last.append(line[signal])
        return moved
