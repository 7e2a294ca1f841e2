"""How far the making of a bundle is: stages, rows a second and an estimate, as lines of the log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger("latentserve.service.packing")

_SECONDS = 5.0  # between lines
_MOMENT = 3.0


class Progress:
    """Rows of one stage on their way: a line now and then of what takes longer."""

    def __init__(self, stage: str, rows: int, seconds: float | None = None) -> None:
        """Of `rows` in all, or fewer, as many as there are within `seconds`."""
        self._stage, self._rows, self._seconds = stage, rows, seconds
        self._began = self._told = time.monotonic()

    def at(self, rows: int) -> None:
        """So many are made."""
        now = time.monotonic()
        if now - self._told < _SECONDS or rows >= self._rows or not rows:
            return
        self._told = now
        rate = rows / (now - self._began)
        left = (self._rows - rows) / rate
        if self._seconds is not None:
            left = min(left, max(0.0, self._seconds - (now - self._began)))
        log.info(
            "%s: %s of %s rows, %.3g a second, %s left", self._stage, f"{rows:,}", f"{self._rows:,}", rate, _of(left)
        )


class _Lines(logging.Handler):
    """Warnings, and how far it is of what takes longer than a moment, on standard error."""

    def __init__(self) -> None:
        super().__init__()
        self._began = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno > logging.INFO or time.monotonic() - self._began > _MOMENT:
            print(record.getMessage(), file=sys.stderr)


@contextmanager
def showing() -> Iterator[None]:
    """For commands: the log of what is made within is shown, once: libraries that are used on the way (the runtime's
    quantiser) give the root of all logs a handler of its own."""
    lines, level, propagate = _Lines(), log.level, log.propagate
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(lines)
        log.setLevel(level)
        log.propagate = propagate


def stage(said: str) -> None:
    """Say what begins."""
    log.info("%s", said)


def _of(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
