"""The same job on a Ray cluster: a task a shard, wherever there is room, and again elsewhere where a node is lost.

A task knows the job, the source and the shard's rows, nothing of other tasks. A process of the cluster opens a source
once. Of a search a task looks at a range of rows, and what it finds stays on the cluster until a shard is made of it:
which rows are a shard's is decided by the command, of their numbers. Where a node sees the job's folder, on a disk or
in an object store, its tasks write there; from elsewhere they send their bytes to the command, which does.
"""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from latentserve import __version__
from latentserve.service.addresses import is_url
from latentserve.service.bulk.folder import Content, Done, Store, Writer
from latentserve.service.bulk.job import JOB, Job, Shard, read_job
from latentserve.service.bulk.object_store import open_store
from latentserve.service.bulk.progress import Progress
from latentserve.service.bulk.ranges import Join, Joined, Looked, Range, look
from latentserve.service.bulk.run import Makers, Shards, make_shard, make_shard_of
from latentserve.service.bulk.sources import BundleSource, ServerSource, Source
from latentserve.service.bundle import Manifest
from latentserve.service.client.server import KEY
from latentserve.service.encoding.rows import Rows
from latentserve.service.errors import BundleError, LatentserveError, one_line

_ADDRESS = "RAY_ADDRESS"  # Ray's own
_CONNECT_SECONDS = 5.0
_WAITING = 2  # tasks for each that can run at a time
_MOMENT = 1.0

_sources: dict[tuple[str, str | None, str], Source] = {}  # of this process of the cluster


class Work(NamedTuple):
    """What a task is given: nothing that is known to one machine only.

    `files` refers to the bundle's, for nodes that do not see them at `source`; `key` is what a server is sent.
    """

    release: str
    job: bytes
    source: str
    model: str | None
    files: list[Any]
    out: str
    key: str | None = None


class Seen(NamedTuple):
    """What has come of looking at a range; or why nothing has."""

    looked: Looked | None
    error: str = ""


class Told(NamedTuple):
    """What has come of a task: a shard, with its files where the node does not see the folder; or why there is none."""

    done: Done | None
    content: list[tuple[str, bytes]] | None = None
    error: str = ""


def on_cluster(source: str, model: str | None, out: str, manifest: Manifest, key: str | None = None) -> Makers:
    """Shards of the bundle or the model of a server at `source`, made by the Ray cluster that `RAY_ADDRESS` names, or
    that runs on this machine. Raises LatentserveError: there is none."""
    ray = _connected()

    def make(folder: Store, shards: Shards, progress: Progress) -> Generator[Done, None, None]:
        files = [] if is_url(source) else [ray.put(_read_files(Path(source)))]
        sent = (os.environ.get(KEY) if key is None else key) if is_url(source) else None
        work = Work(__version__, shards.job.to_json(), _everywhere(source), model, files, _everywhere(out), sent)
        cluster = Cluster(ray, work, folder)
        made = cluster.found(Join(shards.job, manifest, shards)) if shards.job.searches else cluster.known(shards)
        for done in made:
            yield done
            progress.add(done.rows)

    return make


class Cluster:
    """What makes a job's shards: as many tasks at a time as there is room for. Raises LatentserveError."""

    def __init__(self, ray: Any, work: Work, folder: Store) -> None:
        self._ray, self._work, self._folder = ray, work, folder
        resources = ray.cluster_resources()
        if resources.get("CPU", 0) < 1:
            raise LatentserveError("--engine ray: the cluster has no core that it gives to tasks")
        self._kind = "GPU" if resources.get("GPU", 0) >= 1 else "CPU"
        self._making: dict[Any, Shard] = {}

    def known(self, shards: Shards) -> Generator[Done, None, None]:
        """Those whose rows are known by their numbers."""
        missing, task = shards.missing(), self._task(_task)
        while True:
            for _, shard in zip(range(self._room()), missing, strict=False):
                self._making[task.remote(self._work, tuple(shard))] = shard
            if not self._making:
                return
            yield from self._made(_MOMENT)

    def found(self, join: Join) -> Generator[Done, None, None]:
        """Those of a search."""
        look_at, make_of = self._task(_look, num_returns=2), self._task(_make_of, scheduling_strategy="DEFAULT")
        looking: deque[tuple[Range, Any, Any]] = deque()

        def begin(joined: Joined) -> None:
            places = [piece.places for piece in joined.pieces]
            known = tuple(joined.shard), joined.rows, joined.next_offset, places
            self._making[make_of.remote(self._work, known, *(piece.held for piece in joined.pieces))] = joined.shard

        while True:
            room = self._room()
            while room > len(looking) and (some := join.next_range()) is not None:
                looking.append((some, *look_at.remote(self._work, tuple(some))))
            if room > 0 and not looking:  # there is room, and nothing to look at
                if (last := join.rest()) is not None:
                    begin(last)
                if not self._making:
                    return
            following = [told for _, told, _ in looking][:1]
            self._ray.wait([*following, *self._making], timeout=_MOMENT)
            if following and self._ray.wait(following, timeout=0)[0]:
                some, ready, held = looking.popleft()
                told = Seen(*self._got(ready))
                if told.looked is None:
                    raise LatentserveError(told.error)
                for joined in join.add(some, Looked(*told.looked), held):
                    begin(joined)
            yield from self._made(0)

    def _task(self, function: Callable[..., Any], **options: Any) -> Any:
        gpus = 1 if self._kind == "GPU" else 0
        given = {"num_cpus": 1, "num_gpus": gpus, "max_retries": -1, "scheduling_strategy": "SPREAD", **options}
        return self._ray.remote(**given)(function)

    def _room(self) -> int:
        """Tasks more that there may be."""
        return _WAITING * max(1, int(self._ray.cluster_resources().get(self._kind, 0))) - len(self._making)

    def _made(self, seconds: float) -> Generator[Done, None, None]:
        """Shards that are made in this time; written, where the node did not."""
        if not self._making:
            return
        for ready in self._ray.wait(list(self._making), timeout=seconds)[0]:
            shard = self._making.pop(ready)
            told = Told(*self._got(ready))
            if told.done is None:
                raise LatentserveError(told.error)
            done = Done(*told.done)
            if told.content is not None and self._folder.write(shard, told.content) != (done.size, done.sha256):
                raise LatentserveError(f"--engine ray: {shard.name} did not arrive as it was sent")
            yield done

    def _got(self, ready: Any) -> Any:
        """What a task has come to."""
        try:
            return self._ray.get(ready)
        except Exception as error:
            cause = str(getattr(error, "cause", None) or error).strip().splitlines()
            raise LatentserveError(f"--engine ray: a node of the cluster: {cause[-1] if cause else error!r}") from None


def _connected() -> Any:
    """The package, connected. Raises LatentserveError."""
    if find_spec("ray") is None:
        raise LatentserveError("--engine ray needs latentserve[ray]")
    address = os.environ.get(_ADDRESS, "auto")
    where = f"{_ADDRESS}={address}" if _ADDRESS in os.environ else "this machine"
    try:
        if ":" in address:  # Ray itself takes seconds to import, would try for minutes, and end the process
            parts = urlsplit(address if "://" in address else f"//{address}")
            socket.create_connection((parts.hostname or "", parts.port or 10001), _CONNECT_SECONDS).close()
        import ray

        if not ray.is_initialized():
            ray.init(address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:
        raise LatentserveError(f"--engine ray: no Ray cluster that can be used at {where}: {one_line(error)}") from None
    return ray


def _task(work: Work, shard: tuple[str, int, int]) -> Told:
    """A shard whose rows are known by their numbers, on a node of the cluster."""
    return _written(Work(*work), lambda to, source, job: make_shard(to, source, job, Shard(*shard)))


def _make_of(
    work: Work, known: tuple[tuple[str, int, int], int, int, list[Any]], *held: tuple[Any, ...] | None
) -> Told:
    """A shard of a search: of each range that has rows of it their places, and all rows that the range has."""
    shard, rows, next_offset, places = known
    parts = [
        Rows._make(None if values is None else values[some] for values in of)
        for of, some in zip(held, places, strict=True)
        if of is not None
    ]
    return _written(
        Work(*work), lambda to, source, job: make_shard_of(to, source, job, Shard(*shard), rows, next_offset, parts)
    )


def _look(work: Work, some: tuple[int, int]) -> tuple[Seen, tuple[Any, ...] | None]:
    """What a range of rows has, and the rows, which stay where they are until a shard is made of them."""
    try:
        job, source = _opened(Work(*work))
        looked, rows = look(source, job, Range(*some))
        return Seen(looked), None if rows is None else tuple(rows)
    except LatentserveError as error:
        return Seen(None, f"--engine ray: {socket.gethostname()}: {error}"), None


def _written(work: Work, make: Callable[[Writer, Source, Job], Done]) -> Told:
    """A shard, written here where the job's folder is seen, else with its bytes."""
    try:
        job, source = _opened(work)
        if (store := _seen(work.out, job)) is not None:
            return Told(make(store, source, job))
        kept = _Kept()
        done = make(kept, source, job)
        return Told(done, kept.content)
    except LatentserveError as error:
        return Told(None, error=f"--engine ray: {socket.gethostname()}: {error}")


def _opened(work: Work) -> tuple[Job, Source]:
    """Raises LatentserveError."""
    if work.release != __version__:
        raise LatentserveError(f"a node has latentserve {__version__}; the command is {work.release}")
    job = read_job(work.job, JOB)
    return job, _source(work, job)


def _source(work: Work, job: Job) -> Source:
    """Opened once in a process. Raises LatentserveError."""
    place = work.source, work.model, job.version
    if place not in _sources:
        if is_url(work.source):
            _sources[place] = ServerSource(work.source, work.model, work.key)
        else:
            _sources[place] = _bundle(work, job)
    source = _sources[place]
    if source.manifest.version != job.version:
        raise LatentserveError(f"{work.source}: is of version {source.manifest.version}; the job is of {job.version}")
    return source


def _bundle(work: Work, job: Job) -> Source:
    """Where it is, if it is seen there; else from the files that were sent."""
    with suppress(BundleError, OSError):
        source = BundleSource(Path(work.source), threads=1)
        if source.manifest.version == job.version:
            return source
    import ray

    with tempfile.TemporaryDirectory(prefix="latentserve-bundle-") as folder:
        files: Mapping[str, bytes] = ray.get(work.files[0])
        for name, content in files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return BundleSource(Path(folder), threads=1)


def _seen(out: str, job: Job) -> Store | None:
    """What is of this name here, if it is the job's: a folder of another machine, or the memory of another process, is
    not."""
    with suppress(LatentserveError):
        store = open_store(out)
        there = store.job()
        return store if there is not None and there.digest == job.digest else None
    return None


class _Kept:
    """A shard's files in memory."""

    def __init__(self) -> None:
        self.content: list[tuple[str, bytes]] = []

    def write(self, _shard: Shard, content: Content) -> tuple[int, str]:
        """See Store."""
        self.content = list(content)
        digest = hashlib.sha256()
        for _, piece in self.content:
            digest.update(piece)
        return sum(len(piece) for _, piece in self.content), digest.hexdigest()


def _read_files(folder: Path) -> dict[str, bytes]:
    """A bundle's, by their paths below it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _everywhere(place: str) -> str:
    """A path that does not depend on where a process was started; a URL as it is."""
    return place if "://" in place or is_url(place) else str(Path(place).absolute())
