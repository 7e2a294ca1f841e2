"""Quality by its lines: samples get worse, or no better."""

from __future__ import annotations

from latentserve.training.supervising.reading import Line, Reading, above

WORSE = 1.5  # times the best, for PATIENCE lines on end (own)
SLACK = 0.1  # of the reals' variance: a worsening below is none, however near to them the best was (own)
BETTER = 0.98  # of the best, to count as better
FAR = 3.0  # floors from the reals: nearer to them a plateau is an end, no failure (own)
LINES = 40  # without anything better


class Worsening:
    """The Frechet distance against the best so far; what real samples have between them is no worsening."""

    fault = "worse quality"
    patience = 3

    def __init__(self) -> None:
        self._best: float | None = None

    def read(self, line: Line) -> Reading | None:
        if "frechet" not in line:
            return None
        self._best = min(line["frechet"], self._best or line["frechet"])
        threshold = WORSE * self._best + max(SLACK, line.get("frechet_floor", 0.0))
        return above("frechet", line["frechet"], threshold, (self._best + threshold) / 2)


class Plateau:
    """Many lines without anything better, far from the reals."""

    fault = "plateau"
    patience = 1

    def __init__(self) -> None:
        self._best: float | None = None
        self._since = 0

    def read(self, line: Line) -> Reading | None:
        if "frechet" not in line or "frechet_floor" not in line:
            return None
        self._since += 1
        if self._best is None or line["frechet"] < BETTER * self._best:
            self._best, self._since = line["frechet"], 0
        far = self._best > FAR * line["frechet_floor"]
        reading = above("lines without a better frechet", self._since if far else 0, LINES, 1)
        if reading.bad:
            self._since = 0
        return reading
