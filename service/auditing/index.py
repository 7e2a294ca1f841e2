"""What lines of an account are about, in 32 bytes each: found by looking at all of them, which takes a second of ten
million.

An index lies beside its segment and may end before it: what is behind its last line is read.
"""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SUFFIX = ".index"
NO_SEED = (1 << 64) - 1  # of rows that are of no seed, or not by their number

_ENTRY = struct.Struct("<IIQQII")
_MOST = (1 << 32) - 1
# Where the line begins, the checksum of its request's id, the rows, and the checksum of their model and version.
_FIELDS = [("at", "<u4"), ("id", "<u4"), ("seed", "<u8"), ("offset", "<u8"), ("rows", "<u4"), ("model", "<u4")]
_DTYPE = np.dtype(_FIELDS)

Entries = NDArray[np.void]


def entry(at: int, id_: bytes, model: int = 0, seed: int = NO_SEED, offset: int = 0, rows: int = 0) -> bytes:
    """Of a line that begins at a byte of its segment; `model` is what `model_sum` gives."""
    return _ENTRY.pack(at, zlib.crc32(id_), seed, offset, min(rows, _MOST), model)


@lru_cache(maxsize=64)
def model_sum(name: str, version: str) -> int:
    """What a model's lines are known by."""
    return zlib.crc32(f"{name}\n{version}".encode())


def read_entries(segment: Path) -> Entries:
    """Of the lines of a segment, from its first on; none where there is no index. What is no index is none."""
    try:
        size = segment.stat().st_size
        found = np.fromfile(segment.with_suffix(SUFFIX), _DTYPE)
    except OSError:
        return np.zeros(0, _DTYPE)
    at = found["at"].astype(np.int64)
    if len(at) and (at[0] != 0 or at[-1] >= size or (np.diff(at) <= 0).any()):
        return np.zeros(0, _DTYPE)
    return found


def lines_of_request(entries: Entries, id_: str) -> NDArray[np.int64]:
    """Where lines begin that may be of a request of this id."""
    return entries["at"][entries["id"] == zlib.crc32(id_.encode())].astype(np.int64)


def lines_of_row(entries: Entries, model: int, seed: int, row: int) -> NDArray[np.int64]:
    """Where lines begin that may be of this row."""
    mine = entries[(entries["seed"] == seed) & (entries["model"] == model)]
    offset = mine["offset"]
    return mine["at"][(offset <= row) & (row - offset < mine["rows"])].astype(np.int64)
