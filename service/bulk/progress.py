"""How far a job is, as somebody at a terminal or a log sees it."""

from __future__ import annotations

import sys
import time
from typing import Self, TextIO

_TERMINAL_SECONDS, _LOG_SECONDS = 0.5, 30.0  # between two lines


class Progress:
    """Rows, rows a second of this run, and the time that is left at that rate: on a terminal one line that changes,
    elsewhere one now and then."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._pause = _TERMINAL_SECONDS if self._terminal else _LOG_SECONDS
        self._n = self._rows = self._before = 0
        self._began = self._told = time.monotonic()

    def start(self, n: int, there: int) -> None:
        """Of n rows so many are there."""
        self._n, self._rows, self._before = n, there, there
        self._began = self._told = time.monotonic()
        if there:
            self._say(f"{there:,} of {n:,} rows are there", last=True)

    def add(self, rows: int) -> None:
        """So many more are made."""
        self._rows += rows
        now = time.monotonic()
        if now - self._told >= self._pause:
            self._told = now
            rate = (self._rows - self._before) / (now - self._began)
            left = (self._n - self._rows) / rate
            share = self._rows / self._n
            self._say(f"{self._rows:,} of {self._n:,} rows ({share:.0%}), {rate:,.0f} a second, {_time(left)} left")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal's line to others."""
        if self._terminal and self._rows > self._before:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _say(self, line: str, *, last: bool = False) -> None:
        if self._terminal:
            self._stream.write(f"\r\x1b[K{line}" + ("\n" if last else ""))
        else:
            self._stream.write(line + "\n")
        self._stream.flush()


def _time(seconds: float) -> str:
    """As people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min"
