"""Features of the rows that a segment of an account tells of: a file beside it that only grows.

    16 bytes  what it is
    records   where the row's line begins in the segment <u4; which of the rows that were made for it, <u4; by what
              equal rows are known, <u8; the feature, d bytes
    marks     records whose row is 2^32 - 1: all lines that begin before `at` are in the file, but for so many, `key`,
              that cannot be made again

What is behind the last mark was being written when its writer was killed, and is cut off by the next.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.service.auditing.log import AuditError
from latentserve.service.errors import one_line

_MAGIC = b"latentserve1"
_HEAD_BYTES = len(_MAGIC) + 4
MARK = (1 << 32) - 1
_LOOKED_AT = 1 << 12  # records at a time, for the last mark
_HELD_BYTES = 8 << 20  # of records that wait to be written
_KNOWN = 1 << 21  # rows that are known again: a row that was sent often stands there once, or a few times

Records = NDArray[np.void]


def feature_path(segment: Path, version: str) -> Path:
    """Of the features of a segment's rows of one version."""
    return segment.with_name(f"{segment.stem}.{version}.features")


def _dtype(dimensions: int) -> np.dtype[Any]:
    return np.dtype([("at", "<u4"), ("row", "<u4"), ("key", "<u8"), ("feature", "u1", (dimensions,))])


def _head(dimensions: int) -> bytes:
    return _MAGIC + dimensions.to_bytes(4, "little")


class Features:
    """What a file holds.

    Attributes:
        records: mapped, whole ones, marks among them.
        until: all lines that begin before it are in there,
        lost: but for so many.
        size: of the records that are whole, up to the last mark.
    """

    def __init__(self, path: Path, dimensions: int) -> None:
        """Of a file that is not there: nothing. Raises AuditError: it is none of these."""
        dtype = _dtype(dimensions)
        self.records: Records = np.zeros(0, dtype)
        self.until, self.lost, self.size = 0, 0, 0
        try:
            with path.open("rb") as file:
                head = file.read(_HEAD_BYTES)
                if _head(dimensions).startswith(head):  # a part of it: its writer was killed at once
                    count = max(0, path.stat().st_size - _HEAD_BYTES) // dtype.itemsize
                    if count:
                        self.records = np.memmap(file, dtype, "r", _HEAD_BYTES, (count,))
                else:
                    raise AuditError(f"{path}: is no index of this release, or damaged: remove it, and index again")
        except FileNotFoundError:
            return
        except OSError as error:
            raise AuditError(f"{path}: cannot be read ({one_line(error)})") from None
        for stop in range(count, 0, -_LOOKED_AT):
            start = max(0, stop - _LOOKED_AT)
            marks = np.flatnonzero(self.records["row"][start:stop] == MARK)
            if len(marks):
                last = start + int(marks[-1])
                self.until, self.lost = int(self.records["at"][last]), int(self.records["key"][last])
                self.size = last + 1
                return


class FeatureWriter:
    """Appends to a file what lines of its segment tell of; one process at a time.

    Attributes:
        until: from which line on there is something to do.
        lost: lines before it that cannot be made again.
    """

    def __init__(self, path: Path, dimensions: int) -> None:
        """Raises AuditError: it cannot be written, or another process writes it."""
        self._path = path
        self._dtype = _dtype(dimensions)
        there = Features(path, dimensions)
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise AuditError(f"{path}: cannot be written ({one_line(error)})") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            there = Features(path, dimensions)  # another may have written until now
            self.until, self.lost = there.until, there.lost
            self._size = _HEAD_BYTES + there.size * self._dtype.itemsize if there.size else 0
            os.ftruncate(self._file, self._size)
            if not self._size:
                self._append(_head(dimensions))
        except BlockingIOError:
            os.close(self._file)
            raise AuditError(f"{path}: another process is at it") from None
        except BaseException:
            os.close(self._file)
            raise
        rows = there.records[: there.size]
        self._known = set(rows["key"][rows["row"] != MARK][-_KNOWN:].tolist())
        self._held: list[bytes] = []
        self._held_bytes = 0

    def knows(self, key: int) -> bool:
        """Whether an equal row is there."""
        return key in self._known

    def add(self, at: NDArray[Any], row: NDArray[Any], key: NDArray[Any], feature: NDArray[np.uint8]) -> None:
        """Rows, an array of each of their values. Raises AuditError."""
        records = np.empty(len(at), self._dtype)
        records["at"], records["row"], records["key"], records["feature"] = at, row, key, feature
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known.update(key.tolist())
        self._held.append(records.tobytes())
        self._held_bytes += records.nbytes
        if self._held_bytes >= _HELD_BYTES:
            self._write()

    def mark(self, until: int, lost: int = 0) -> None:
        """All lines that begin before it are there, but for `lost` more. Raises AuditError."""
        self.until, self.lost = until, self.lost + lost
        record = np.zeros(1, self._dtype)
        record["at"], record["row"], record["key"] = until, MARK, self.lost
        self._held.append(record.tobytes())
        self._write()

    def close(self) -> None:
        """Let others write. What was added behind the last mark is none of the file's."""
        os.close(self._file)

    def _write(self) -> None:
        content = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        self._append(content)

    def _append(self, content: bytes) -> None:
        try:
            written = os.write(self._file, content)
            if written < len(content):
                os.ftruncate(self._file, self._size)
                raise OSError(28, "No space left on device")
        except OSError as error:
            raise AuditError(f"{self._path}: cannot be written ({one_line(error)})") from None
        self._size += len(content)
