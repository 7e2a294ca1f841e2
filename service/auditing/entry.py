"""What a line of an account is about, in 32 bytes, written into an index beside its segment."""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache

SUFFIX = ".index"
NO_SEED = (1 << 64) - 1  # of rows that are of no seed, or not by their number
# Where the line begins, the checksum of its request's id, the rows, and the checksum of their model and version.
FIELDS = [("at", "<u4"), ("id", "<u4"), ("seed", "<u8"), ("offset", "<u8"), ("rows", "<u4"), ("model", "<u4")]

_ENTRY = struct.Struct("<IIQQII")
_MOST = (1 << 32) - 1


def entry(at: int, id_: bytes, model: int = 0, seed: int = NO_SEED, offset: int = 0, rows: int = 0) -> bytes:
    """Of a line that begins at a byte of its segment; `model` is what `model_sum` gives."""
    return _ENTRY.pack(at, zlib.crc32(id_), seed, offset, min(rows, _MOST), model)


@lru_cache(maxsize=64)
def model_sum(name: str, version: str) -> int:
    """What a model's lines are known by."""
    return zlib.crc32(f"{name}\n{version}".encode())
