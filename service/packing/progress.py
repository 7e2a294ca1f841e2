"""How far the making of a bundle is: stages, rows a second and an estimate, on the terminal or as lines of the log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from latentserve.service.terminal.line import Line, duration

log = logging.getLogger("latentserve.service.packing")
_shown: Line | None = None  # while a command shows what it makes

_SECONDS = 5.0  # between lines
_MOMENT = 3.0


class Progress:
    """Rows of one stage on their way: a line now and then of what takes longer."""

    def __init__(self, stage: str, rows: int, seconds: float | None = None) -> None:
        """Of `rows` in all, or fewer, as many as there are within `seconds`."""
        self._stage, self._rows, self._seconds = stage, rows, seconds
        self._began = self._told = time.monotonic()
        if _shown is not None:
            _shown.begin(stage, rows, "rows", within=seconds)

    def at(self, rows: int) -> None:
        """So many are made."""
        if _shown is not None:
            _shown.at(rows)
        now = time.monotonic()
        if now - self._told < _SECONDS or rows >= self._rows or not rows:
            return
        self._told = now
        rate = rows / (now - self._began)
        left = (self._rows - rows) / rate
        if self._seconds is not None:
            left = min(left, max(0.0, self._seconds - (now - self._began)))
        of, until = f"{rows:,} of {self._rows:,}", duration(left)
        log.info("%s: %s rows, %.3g a second, %s left", self._stage, of, rate, until)


class _Lines(logging.Handler):
    """Warnings, and, where no line shows it, how far it is of what takes longer than a moment, on standard error."""

    def __init__(self, live: bool) -> None:
        super().__init__()
        self._live = live
        self._began = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno > logging.INFO or (not self._live and time.monotonic() - self._began > _MOMENT):
            print(record.getMessage(), file=sys.stderr)


@contextmanager
def showing() -> Iterator[None]:
    """For commands: the log of what is made within is shown, once: libraries that are used on the way (the runtime's
    quantiser) give the root of all logs a handler of its own."""
    global _shown
    line = Line()
    lines, level, propagate = _Lines(line.live), log.level, log.propagate
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        with line:
            _shown = line
            yield
    finally:
        _shown = None
        log.removeHandler(lines)
        log.setLevel(level)
        log.propagate = propagate


def stage(said: str) -> None:
    """Say what begins."""
    log.info("%s", said)
    if _shown is not None:
        _shown.begin(said)
