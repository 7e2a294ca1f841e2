"""Stalls: a run that waits for its data, or has become slow. This depends on the machine, and so changes nothing."""

from __future__ import annotations

from collections import deque
from statistics import median

from latentserve.training.supervising.reading import Line, Reading, above

SHARE = 0.5  # of the time that went into waiting for data
SLOWER = 4.0  # times as slow as the run's median
LINES = 20  # that the median is of


class Stall:
    fault = "stall"
    patience = 3

    def __init__(self) -> None:
        self._rates: deque[float] = deque(maxlen=LINES)
        self._images = 0.0

    def read(self, line: Line) -> Reading | None:
        rate = line.get("images_per_second", 0.0)
        images, self._images = line["images"] - self._images, line["images"]
        if rate <= 0:
            return None
        self._rates.append(rate)
        waited = line.get("data_seconds", 0.0) * rate / images if images > 0 else 0.0
        if waited > SHARE:
            return above("share of time that waited for data", waited, SHARE, SHARE / 2)
        return above("times slower than the median", median(self._rates) / rate, SLOWER, SLOWER / 2)
