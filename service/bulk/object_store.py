"""The folder of a job in an object store, or wherever else `fsspec` reaches: s3://, gs://, az://, hdfs://, ..."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from latentserve.service.bulk.folder import LIST, Content, Done, Folder, Store, by_file, read_list
from latentserve.service.bulk.job import JOB, Job, Shard, read_job
from latentserve.service.errors import LatentserveError, one_line

_LIST_SECONDS = 5.0  # at the least between two lists: there a file that grows is written whole each time


class ObjectStore:
    """As `Folder`. An object appears when it is whole; two jobs that write the same job's write the same bytes, and
    nothing keeps them from it: there are no locks.

    Raises LatentserveError: a package is missing, or the store does not do as it should.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        try:
            import fsspec
        except ImportError:
            raise LatentserveError(f"{url}: needs fsspec, as latentserve[ray] has it") from None
        with self._told():
            self._files, self._root = fsspec.core.url_to_fs(self._url)
        self._listed: dict[str, Done] = {}
        self._written = 0.0

    def __str__(self) -> str:
        return self._url

    @contextmanager
    def locked(self) -> Iterator[None]:
        """See Store."""
        with self._told():
            self._files.makedirs(self._root, exist_ok=True)
        try:
            yield
        finally:
            self._write_list()

    def job(self) -> Job | None:
        """See Store."""
        with self._told():
            self._files.invalidate_cache()
            if self._files.exists(self._path(JOB)):
                return read_job(self._files.cat_file(self._path(JOB)), f"{self}/{JOB}")
            if self._files.exists(self._root) and self._files.ls(self._root):
                raise LatentserveError(f"{self}: is not empty, and no job's: it has no {JOB}")
        return None

    def begin(self, job: Job) -> None:
        """See Store."""
        with self._told():
            self._files.pipe_file(self._path(JOB), job.to_json())

    def tidy(self) -> None:
        """See Store: what is not whole does not appear."""

    def done(self) -> dict[str, Done]:
        """See Store."""
        with self._told():
            if self._files.exists(self._path(LIST)):
                self._listed = read_list(self._files.cat_file(self._path(LIST)))
        return dict(self._listed)

    def is_whole(self, done: Done) -> bool:
        """See Store."""
        with self._told():
            path = self._path(done.shard)
            found = self._files.exists(path) and sum(self._files.du(path, total=False).values())
        return bool(found == done.size)

    def write(self, shard: Shard, content: Content) -> tuple[int, str]:
        """See Store."""
        size, digest = 0, hashlib.sha256()
        with self._told():
            for name, pieces in by_file(content):
                if name != shard.name:
                    self._files.makedirs(self._path(shard.name), exist_ok=True)
                with self._files.open(self._path(name), "wb") as file:
                    for piece in pieces:
                        file.write(piece)
                        digest.update(piece)
                        size += len(piece)
        return size, digest.hexdigest()

    def record(self, done: Done) -> None:
        """See Store; lines that are not written when a job is killed are of shards that are made again."""
        self._listed[done.shard] = done
        if time.monotonic() - self._written > _LIST_SECONDS:
            self._write_list()

    def rewrite(self, done: Iterable[Done]) -> None:
        """See Store."""
        self._listed = {one.shard: one for one in done}
        self._write_list()

    def _write_list(self) -> None:
        with self._told():
            if self._listed:
                self._files.pipe_file(self._path(LIST), b"".join(one.line() for one in self._listed.values()))
        self._written = time.monotonic()

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the store does not do, in a line, whichever package says it."""
        try:
            yield
        except LatentserveError:
            raise
        except Exception as error:
            raise LatentserveError(f"{self}: {one_line(error)}") from None


def open_store(out: str) -> Store:
    """Of a folder's path, or of a URL."""
    scheme, _, path = out.partition("://")
    if path and scheme != "file":
        return ObjectStore(out)
    return Folder(Path(path or out).absolute())
