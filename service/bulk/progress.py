"""How far a job is, as somebody at a terminal or a log sees it."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from latentserve.service.terminal.line import Line, duration

_SECONDS = 30.0  # between two lines of a log


class Progress:
    """Rows, rows a second of this run, and the time that is left at that rate: the line of a terminal, elsewhere on
    standard error a line now and then."""

    def __init__(self) -> None:
        self._line = Line()
        self._n = self._rows = self._before = 0
        self._began = self._told = time.monotonic()

    def start(self, n: int, there: int) -> None:
        """Of n rows so many are there."""
        self._n, self._rows, self._before = n, there, there
        self._began = self._told = time.monotonic()
        if there:
            print(f"{there:,} of {n:,} rows are there", file=sys.stderr, flush=True)
        self._line.begin("making rows", n, "rows", done=there)

    def add(self, rows: int) -> None:
        """So many more are made."""
        self._rows += rows
        self._line.at(self._rows)
        now = time.monotonic()
        if self._line.live or now - self._told < _SECONDS:
            return
        self._told = now
        rate = (self._rows - self._before) / (now - self._began)
        left = duration((self._n - self._rows) / rate)
        share = self._rows / self._n
        print(
            f"{self._rows:,} of {self._n:,} rows ({share:.0%}), {rate:,.0f} a second, {left} left",
            file=sys.stderr,
            flush=True,
        )

    def __enter__(self) -> Self:
        self._line.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal's line to others."""
        self._line.__exit__(kind, error, trace)
