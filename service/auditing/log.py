"""Writing the account: lines of JSON in files that only grow, one after the other, a file of each process at a time."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from latentserve.service.auditing.entry import SUFFIX as INDEX
from latentserve.service.auditing.entry import entry
from latentserve.service.errors import LatentserveError, NotReadyError, one_line

SUFFIX = ".ndjson"
KEPT = "kept"  # the folder of what is too long for a line

_SEGMENT_BYTES = 64 << 20
_ENTRIES_BYTES = 32 << 9  # of the index, that are written at a time


class AuditError(LatentserveError):
    """The account cannot be read, or its folder not be used."""

    slug = "audit"
    title = "The account cannot be used"


class UnauditedError(NotReadyError):
    """Nothing more can be written to the account, and nothing is sent without."""

    slug = "unaudited"
    title = "No account can be kept"


class AuditLog:
    """The account in a folder, as one process writes it. What is written is the system's: a process that is killed
    leaves whole lines."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder. Raises AuditError."""
        self.folder = folder
        self._file: int | None = None
        self._path = folder
        self._inode = 0
        self._index: int | None = None
        self._size = 0
        self._entries = bytearray()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            (folder / KEPT).mkdir(exist_ok=True, mode=0o700)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied")
        except OSError as error:
            raise AuditError(f"{folder}: no account can be kept there ({one_line(error)})") from None

    def write(self, line: bytes, id_: bytes, model: int = 0, **rows: int) -> None:
        """Write a line, which ends with a line feed, and what it is found by; see `entry`. Raises UnauditedError: there
        is no room for it, and nothing of it is there."""
        try:
            if self._file is None or self._size + len(line) > _SEGMENT_BYTES or not self._is_there():
                self._begin()
            assert self._file is not None  # noqa: S101
            written = os.write(self._file, line)
            if written < len(line):
                os.ftruncate(self._file, self._size)
                raise OSError(28, "No space left on device")
        except OSError as error:
            raise UnauditedError(f"no account of this can be kept: {one_line(error)}") from None
        self._entries += entry(self._size, id_, model, **rows)
        self._size += len(line)
        if len(self._entries) >= _ENTRIES_BYTES:
            self.flush()

    def keep(self, content: bytes, suffix: str) -> str:
        """Keep what is too long for a line; its SHA-256, in hexadecimal digits. Raises UnauditedError."""
        name = hashlib.sha256(content).hexdigest()
        path = self.folder / KEPT / f"{name}{suffix}"
        if not path.exists():
            part = path.with_suffix(f".{os.getpid()}-{time.monotonic_ns()}")
            try:
                part.write_bytes(content)
                part.chmod(0o600)
                part.rename(path)
            except OSError as error:
                with suppress(OSError):
                    part.unlink(missing_ok=True)
                raise UnauditedError(f"no account of this can be kept: {one_line(error)}") from None
        return name

    def flush(self) -> None:
        """Write what lines are found by. Where that fails they are found by reading."""
        if self._index is not None and self._entries:
            with suppress(OSError):
                written = os.write(self._index, self._entries)
                if written < len(self._entries):
                    self._index_ends()
        self._entries.clear()

    def close(self) -> None:
        """Write no more."""
        self.flush()
        for descriptor in (self._file, self._index):
            if descriptor is not None:
                os.close(descriptor)
        self._file = self._index = None

    def _begin(self) -> None:
        """A segment. Raises OSError."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        path = self.folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{os.getpid()}{SUFFIX}"
        file = os.open(path, flags, 0o600)
        self.close()
        self._file, self._path, self._inode, self._size = file, path, os.fstat(file).st_ino, 0
        with suppress(OSError):
            self._index = os.open(path.with_suffix(INDEX), flags, 0o600)

    def _is_there(self) -> bool:
        """Whether what was written is where it was. Who rotates logs renames, cuts and removes them under who writes,
        and a line that is written to what nobody finds is lost."""
        try:
            seen = self._path.stat()
        except OSError:
            return False
        return seen.st_ino == self._inode and seen.st_size == self._size

    def _index_ends(self) -> None:
        """After half an entry no other is written."""
        if self._index is not None:
            os.close(self._index)
            self._index = None


def now() -> str:
    """The time of a line: UTC, to the microsecond."""
    nanoseconds = time.time_ns()
    return f"{_second(nanoseconds // 1_000_000_000)}.{nanoseconds // 1000 % 1_000_000:06}Z"


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
