"""What lines of an account are about, by their entries: found by looking at all of them, which takes a second of ten
million.

An index lies beside its segment and may end before it: what is behind its last line is read.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latentserve.service.auditing.entry import FIELDS, SUFFIX

_DTYPE = np.dtype(FIELDS)

Entries = NDArray[np.void]


def stamp(path: Path) -> tuple[int, int, int]:
    """By what it is seen that a file has not changed: its inode, the time it was written, its size. Raises OSError."""
    of = path.stat()
    return of.st_ino, of.st_mtime_ns, of.st_size


def read_entries(segment: Path) -> Entries:
    """Of the lines of a segment, from its first on; none where there is no index. What is no index is none."""
    path = segment.with_suffix(SUFFIX)
    try:
        found = _entries(path, stamp(path))
        return found if not len(found) or found["at"][-1] < segment.stat().st_size else found[:0]
    except (OSError, ValueError):  # it was moved away, or became shorter just now
        return np.zeros(0, _DTYPE)


@lru_cache(maxsize=256)  # mapped: what is held are files, not memory
def _entries(path: Path, stamped: tuple[int, int, int]) -> Entries:
    """Raises OSError and ValueError."""
    count = stamped[2] // _DTYPE.itemsize
    if not count:
        return np.zeros(0, _DTYPE)
    found: Entries = np.memmap(path, _DTYPE, "r", shape=(count,)).view(np.ndarray)
    at = found["at"]
    return found[:0] if at[0] != 0 or (at[1:] <= at[:-1]).any() else found


def lines_of_request(entries: Entries, id_: str) -> NDArray[np.int64]:
    """Where lines begin that may be of a request of this id."""
    return entries["at"][entries["id"] == zlib.crc32(id_.encode())].astype(np.int64)


def lines_of_row(entries: Entries, model: int, seed: int, row: int) -> NDArray[np.int64]:
    """Where lines begin that may be of this row."""
    mine = entries[(entries["seed"] == seed) & (entries["model"] == model)]
    offset = mine["offset"]
    return mine["at"][(offset <= row) & (row - offset < mine["rows"])].astype(np.int64)
