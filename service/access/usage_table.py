"""What each key has used, and has under way: a table in a file that all workers share, a record a key.

    header   magic, number of records, whether there ever were many processes, and those that count: a column each
    record   id, tokens, when they were counted, requests, rows, refused, last use, rows in flight by column

Who changes a record holds the file's lock for some microseconds; what is under way in a process is in a column that it
alone writes, and counts no more when it has ended.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from latentserve.service.access.keys import ID_CHARACTERS
from latentserve.service.errors import LatentserveError, one_line

USAGE = ".usage"  # what its name ends with

_MAGIC = b"LSUSAGE1"
_COLUMNS = 128  # processes that count at a time
_START = struct.Struct("<8sQQ")
_PROCESS = struct.Struct("<QQ")  # its number, and when it started
_HEADER_BYTES = _START.size + _COLUMNS * _PROCESS.size
_BUCKET = struct.Struct("<16sddQQQd")
_IN_FLIGHT = struct.Struct(f"<{_COLUMNS}I")
_ONE = struct.Struct("<I")
_FEW_COLUMNS = 8
_FEW = struct.Struct(f"<{_FEW_COLUMNS}I")
_EXCLUSIVE, _UNLOCK, _flock = fcntl.LOCK_EX, fcntl.LOCK_UN, fcntl.flock
_RECORD_BYTES = _BUCKET.size + _IN_FLIGHT.size
_RECORDS = 64  # that there is room for at first
_MOST_ROWS = (1 << 32) - 1


class UsageTableError(LatentserveError):
    """The table cannot be made, or is none."""

    slug = "usage"
    title = "The use of keys cannot be counted"


class Bucket(NamedTuple):
    """A record, without what is under way.

    Attributes:
        tokens: rows that may be had at once, as of `counted`, in seconds since 1970; 0: it is new.
        requests, rows, refused: so far.
        used: when it was last, in seconds since 1970.
    """

    id: bytes
    tokens: float
    counted: float
    requests: int
    rows: int
    refused: int
    used: float


class UsageTable:
    """The table in a file, which is made where there is none. For one thread of each process."""

    def __init__(self, path: Path) -> None:
        """Raises OSError, UsageTableError."""
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._places: dict[bytes, int] = {}
        self._column: int | None = None
        try:
            with self.locked():
                if os.fstat(self._file).st_size == 0:
                    os.posix_fallocate(self._file, 0, _HEADER_BYTES + _RECORDS * _RECORD_BYTES)
                    os.pwrite(self._file, _START.pack(_MAGIC, 0, 0), 0)
                elif os.pread(self._file, len(_MAGIC), 0) != _MAGIC:
                    raise UsageTableError(f"{path}: is no table of the use of keys")
                self._map = mmap.mmap(self._file, 0)
                self._read_places()
        except BaseException:
            os.close(self._file)
            raise

    def close(self) -> None:
        """Nothing is counted any more."""
        self._map.close()
        os.close(self._file)

    def lock(self) -> None:
        """Nobody else changes it until `unlock`."""
        _flock(self._file, _EXCLUSIVE)

    def unlock(self) -> None:
        """Others may."""
        _flock(self._file, _UNLOCK)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes it meanwhile."""
        self.lock()
        try:
            yield
        finally:
            self.unlock()

    def place(self, key: str) -> int:
        """Where the record of a key begins, which is made where there is none. Raises OSError: there is no room."""
        name = key.encode()
        if (place := self._places.get(name)) is None:
            with self.locked():
                self._read_places()
                place = self._places.get(name)
                if place is None:
                    place = self._make(name)
        return place

    def __iter__(self) -> Iterator[tuple[Bucket, int]]:
        """Every record, and the rows that are under way of its key."""
        with self.locked():
            self._read_places()
            self.forget_ended()
            found = [(Bucket._make(self.read(place)), self.in_flight(place)) for place in self._places.values()]
        return iter(found)

    def read(self, place: int) -> tuple[bytes, float, float, int, int, int, float]:
        """A record, in the order of `Bucket`."""
        return _BUCKET.unpack_from(self._map, place)

    def write(
        self, place: int, id_: bytes, tokens: float, counted: float, requests: int, rows: int, refused: int, used: float
    ) -> None:
        """Change a record, which is to be locked."""
        _BUCKET.pack_into(self._map, place, id_, tokens, counted, requests, rows, refused, used)

    def in_flight(self, place: int) -> int:
        """Rows that are under way of a key, in all processes."""
        columns = _IN_FLIGHT if _START.unpack_from(self._map)[2] else _FEW  # the first ones are taken first
        return sum(columns.unpack_from(self._map, place + _BUCKET.size))

    def begin(self, place: int, rows: int) -> None:
        """So many more are under way in this process. The table is to be locked."""
        if self._column is None:
            self._column = self._take_column()
        at = place + _BUCKET.size + self._column * _ONE.size
        (now,) = _ONE.unpack_from(self._map, at)
        _ONE.pack_into(self._map, at, min(now + rows, _MOST_ROWS))

    def end(self, place: int, rows: int) -> None:
        """So many fewer are."""
        if self._column is not None:
            at = place + _BUCKET.size + self._column * _ONE.size
            (now,) = _ONE.unpack_from(self._map, at)
            _ONE.pack_into(self._map, at, max(now - rows, 0))

    def forget_ended(self) -> None:
        """What was under way in processes that have ended is not. The table is to be locked."""
        for column in range(_COLUMNS):
            number, started = self._process(column)
            if number and column != self._column and _started(number) != started:
                self._clear(column)

    def _read_places(self) -> None:
        size = os.fstat(self._file).st_size
        if size > len(self._map):
            self._map = mmap.mmap(self._file, 0)
        _, count, _ = _START.unpack_from(self._map)
        for number in range(len(self._places), min(count, (size - _HEADER_BYTES) // _RECORD_BYTES)):
            place = _HEADER_BYTES + number * _RECORD_BYTES
            self._places[self.read(place)[0].rstrip(b"\0")] = place

    def _make(self, name: bytes) -> int:
        count = len(self._places)
        place = _HEADER_BYTES + count * _RECORD_BYTES
        if place + _RECORD_BYTES > len(self._map):  # there is room on the disk before anything is written to it
            os.posix_fallocate(self._file, 0, _HEADER_BYTES + 2 * count * _RECORD_BYTES)
            self._map = mmap.mmap(self._file, 0)
        self.write(place, name, 0.0, 0.0, 0, 0, 0, 0.0)
        _START.pack_into(self._map, 0, _MAGIC, count + 1, _START.unpack_from(self._map)[2])
        self._places[name] = place
        return place

    def _take_column(self) -> int:
        """Of this process, from now on. Raises UsageTableError: there are too many."""
        self.forget_ended()
        for column in range(_COLUMNS):
            if not self._process(column)[0]:
                own = os.getpid()
                _PROCESS.pack_into(self._map, _START.size + column * _PROCESS.size, own, _started(own))
                if column >= _FEW_COLUMNS:
                    magic, count, _ = _START.unpack_from(self._map)
                    _START.pack_into(self._map, 0, magic, count, 1)
                return column
        raise UsageTableError(f"{self.path}: {_COLUMNS} processes count in it already")

    def _process(self, column: int) -> tuple[int, int]:
        number, started = _PROCESS.unpack_from(self._map, _START.size + column * _PROCESS.size)
        return number, started

    def _clear(self, column: int) -> None:
        for place in self._places.values():
            _ONE.pack_into(self._map, place + _BUCKET.size + column * _ONE.size, 0)
        _PROCESS.pack_into(self._map, _START.size + column * _PROCESS.size, 0, 0)


def usage_path(keys: Path) -> Path:
    """The table that belongs to a file of keys, beside it."""
    return keys.resolve().with_suffix(USAGE)


def open_table(*paths: Path) -> UsageTable:
    """The table in the first of these files that it can be made in. Raises UsageTableError: in none."""
    cause = ""
    for path in paths:
        try:
            return UsageTable(path)
        except (OSError, ValueError) as error:
            cause = f"{path}: {one_line(error)}"
    raise UsageTableError(cause)


def _started(number: int) -> int:
    """When a process started, in ticks since the machine did; 0: there is none of this number."""
    try:
        stat = Path("/proc", str(number), "stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[19])


assert _BUCKET.size == 64  # noqa: S101, a record's counters are aligned
assert ID_CHARACTERS <= 16  # noqa: S101
