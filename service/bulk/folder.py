"""The folder of a job: shards that are there whole or not at all, and a line for each of those that are."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Protocol

import orjson

from latentserve.service.bulk.job import JOB, Job, Shard, read_job
from latentserve.service.errors import LatentserveError, one_line

LIST = "shards.jsonl"

_LOCK = ".lock"
_PART = ".part-"  # what a shard's name begins with while it is written

Content = Iterable[tuple[str, bytes]]  # the next bytes of a file, by its path below the folder: file after file


class Done(NamedTuple):
    """A shard that is there. `next_offset`: of a search, the first row that was not looked at for it."""

    shard: str
    rows: int
    size: int
    sha256: str
    next_offset: int | None = None

    def line(self) -> bytes:
        """Of the list."""
        told = {name: value for name, value in self._asdict().items() if value is not None}
        return orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)


class Writer(Protocol):
    """What takes shards."""

    def write(self, shard: Shard, content: Content) -> tuple[int, str]:
        """Write a shard, which appears when it is whole: its bytes, and their SHA-256."""


class Store(Writer, Protocol):
    """Where a job's shards are. Everything raises LatentserveError where it does not do as it should."""

    def locked(self) -> AbstractContextManager[None]:
        """This process's alone meanwhile; made where it is not there."""

    def job(self) -> Job | None:
        """What it says of itself; None: it is empty. Raises LatentserveError: it is something else's."""

    def begin(self, job: Job) -> None:
        """Say what it is going to hold."""

    def tidy(self) -> None:
        """Remove what was being written when a job was killed."""

    def done(self) -> dict[str, Done]:
        """The shards that the list says are there, by name."""

    def is_whole(self, done: Done) -> bool:
        """Whether a shard of the list is there with as many bytes as it had."""

    def record(self, done: Done) -> None:
        """A line more of the list."""

    def rewrite(self, done: Iterable[Done]) -> None:
        """The list anew."""


class Folder:
    """On a disk of this machine, or one that machines share.

    Everything raises LatentserveError where the disk does not do as it should: full, not writable, gone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Made where it is not there, and this process's alone."""
        with self._told():
            self.path.mkdir(parents=True, exist_ok=True)
            with (self.path / _LOCK).open("ab") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise LatentserveError(f"{self}: another job is writing there") from None
                try:
                    yield
                finally:
                    with suppress(LatentserveError):
                        self.tidy()  # a disk that is full has room for what comes next

    def job(self) -> Job | None:
        """See Store."""
        with self._told():
            file = self.path / JOB
            if file.exists():
                return read_job(file.read_bytes(), str(file))
            if any(one.name != _LOCK and not one.name.startswith(_PART) for one in self.path.iterdir()):
                raise LatentserveError(f"{self}: is not empty, and no job's: it has no {JOB}")
        return None

    def begin(self, job: Job) -> None:
        """See Store."""
        self._replace(JOB, job.to_json())

    def tidy(self) -> None:
        """See Store."""
        with self._told():
            for part in self.path.glob(f"{_PART}*"):
                shutil.rmtree(part) if part.is_dir() else part.unlink()

    def done(self) -> dict[str, Done]:
        """See Store."""
        with self._told(), suppress(FileNotFoundError):
            return read_list((self.path / LIST).read_bytes())
        return {}

    def is_whole(self, done: Done) -> bool:
        """See Store."""
        with self._told(), suppress(FileNotFoundError):
            path = self.path / done.shard
            files = path.iterdir() if path.is_dir() else (path,)
            return sum(file.stat().st_size for file in files) == done.size
        return False

    def write(self, shard: Shard, content: Content) -> tuple[int, str]:
        """Write a shard, which appears when it is whole and on the disk: its bytes, and their SHA-256."""
        begun = f"{_PART}{secrets.token_hex(8)}-"  # on a cluster a lost machine may still be at the same shard
        part = self.path / (begun + shard.name)
        size, digest = 0, hashlib.sha256()
        with self._told():
            for name, pieces in by_file(content):
                into = self.path / (begun + name)
                into.parent.mkdir(exist_ok=True)
                with into.open("wb") as file:
                    for piece in pieces:
                        file.write(piece)
                        digest.update(piece)
                        size += len(piece)
                    if into == part:
                        file.flush()
                        os.fsync(file.fileno())
            if part.is_dir():
                _sync_all(part)
            target = self.path / shard.name
            if target.is_dir():  # one that was cut off; `replace` takes no folder's place
                shutil.rmtree(target)
            part.replace(target)
            self._sync_names()
        return size, digest.hexdigest()

    def record(self, done: Done) -> None:
        """See Store."""
        with self._told(), (self.path / LIST).open("ab") as file:
            file.write(done.line())
            file.flush()
            os.fsync(file.fileno())

    def rewrite(self, done: Iterable[Done]) -> None:
        """See Store."""
        self._replace(LIST, b"".join(one.line() for one in done))

    def _replace(self, name: str, content: bytes) -> None:
        with self._told():
            part = self.path / (_PART + name)
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path / name)
            self._sync_names()

    def _sync_names(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the disk does not do, in a line."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                said = f"{self}: {one_line(error)}; the same command goes on when there is room"
                raise LatentserveError(said) from None
            raise LatentserveError(f"{self}: cannot be written ({one_line(error)})") from None


def by_file(content: Content) -> Iterator[tuple[str, Iterator[bytes]]]:
    """File after file, each with its pieces, which are to be taken before the next one's."""
    pieces = iter(content)
    following = next(pieces, None)

    def of(name: str) -> Iterator[bytes]:
        nonlocal following
        while following is not None and following[0] == name:
            yield following[1]
            following = next(pieces, None)

    while following is not None:
        name = following[0]
        yield name, of(name)


def _sync_all(folder: Path) -> None:
    """Of all files in it: one call for the file system, where one for each of ten thousand files takes minutes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)


def read_list(content: bytes) -> dict[str, Done]:
    """By name. A line that was cut off is of a shard that is made again."""
    found = {}
    for line in content.splitlines(keepends=True):
        with suppress(ValueError, TypeError, KeyError):
            one = Done(**orjson.loads(line if line.endswith(b"\n") else b""))
            found[one.shard] = one
    return found
