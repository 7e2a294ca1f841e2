"""How many rows one engine call may hold: by the memory that it is seen to take, for what a graph keeps between its
layers is many times its samples, and nothing in its shape; and by the time, for everybody else waits for its end."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

CALL_BYTES: Final = 512 << 20  # that one call may add, if it is not of a single row
CALL_SECONDS: Final = 2.0  # that it may take, on the machine that packs

_STATUS = Path("/proc/self/status")


def rows_that_fit(
    run: Callable[[int], object], most: int, within: int = CALL_BYTES, seconds: float = CALL_SECONDS
) -> int:
    """Rows of one call, a power of two and at most `most`, that are within so many bytes and seconds; 1 where not even
    one row is.

    `run` makes a call of so many rows in a session in which no call was made yet: what the runtime's arena has taken it
    does not give back, so what the process has grown by is what the calls took, outputs among it. Weights that are
    mapped from a file do not count. As many rows are tried as it takes to tell: few of anything small.
    """
    before = held_bytes()
    for power in itertools.count():
        rows = 1 << power
        took = math.inf
        for _ in range(2):  # from the second call on the runtime plans memory for the shape, and takes it anew
            began = time.perf_counter()
            run(rows)
            took = min(took, time.perf_counter() - began)
        if rows * seconds < most * took:
            most = 1 << max(0, int(rows * seconds / took).bit_length() - 1)
        grown = max(held_bytes() - before, 1)
        fitting = rows * within // grown
        if fitting >= most or rows >= most:
            return most
        if fitting < 4 * rows:  # else what was taken once and for all may hide what a row takes
            return 1 << max(0, fitting.bit_length() - 1)
    raise AssertionError


def in_turns(
    run: Callable[[Mapping[str, NDArray[Any]]], list[NDArray[Any]]], feed: Mapping[str, NDArray[Any]], limit: int | None
) -> list[NDArray[Any]]:
    """The outputs of `run` for arrays [n, ...], of which it is given no more than `limit` rows at once (None: all)."""
    rows = len(next(iter(feed.values())))
    if limit is None or rows <= limit:
        return run(feed)
    turns = [
        run({name: array[start : start + limit] for name, array in feed.items()}) for start in range(0, rows, limit)
    ]
    return [np.concatenate(parts) for parts in zip(*turns, strict=True)]


def held_bytes() -> int:
    """Memory of this process that is no file's. 0 where the system does not tell, and nothing is bounded by it."""
    try:
        lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
        told = lines.get("RssAnon") or lines["VmRSS"]
        return int(told.split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return 0
