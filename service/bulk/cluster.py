"""The same job on a Ray cluster: a task a shard, wherever there is room, and again elsewhere where a node is lost.

A task knows the job, the source and the shard's rows, nothing of other tasks. A process of the cluster opens a source
once. Where a node sees the job's folder, or it is in an object store, its tasks write there; from elsewhere they send
their bytes to the command, which does.
"""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from collections.abc import Generator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from latentserve import __version__
from latentserve.service.addresses import is_url
from latentserve.service.bulk.folder import Content, Done, Store
from latentserve.service.bulk.job import JOB, Job, Shard, read_job
from latentserve.service.bulk.object_store import ObjectStore, open_store
from latentserve.service.bulk.progress import Progress
from latentserve.service.bulk.run import Makers, Shards, make_shard
from latentserve.service.bulk.sources import BundleSource, ServerSource, Source
from latentserve.service.client.server import KEY
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


class Told(NamedTuple):
    """What has come of a task: a shard, with its files where the node does not see the folder; or why there is none."""

    done: Done | None
    content: list[tuple[str, bytes]] | None = None
    error: str = ""


def on_cluster(source: str, model: str | None, out: str, key: str | None = None) -> Makers:
    """Shards of the bundle or the model of a server at `source`, made by the Ray cluster that `RAY_ADDRESS` names, or
    that runs on this machine. Raises LatentserveError: there is none."""
    ray = _connected()

    def make(folder: Store, shards: Shards, progress: Progress) -> Generator[Done, None, None]:
        if shards.job.searches:
            raise LatentserveError("--engine ray: rows that are looked for come one after the other; leave it out")
        files = [] if is_url(source) else [ray.put(_read_files(Path(source)))]
        sent = (os.environ.get(KEY) if key is None else key) if is_url(source) else None
        work = Work(__version__, shards.job.to_json(), _everywhere(source), model, files, _everywhere(out), sent)
        resources = ray.cluster_resources()
        kind = "GPU" if resources.get("GPU", 0) >= 1 else "CPU"
        if resources.get("CPU", 0) < 1:
            raise LatentserveError("--engine ray: the cluster has no core that it gives to tasks")
        gpus = 1 if kind == "GPU" else 0
        task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=-1, scheduling_strategy="SPREAD")(_task)
        missing = shards.missing()
        running: dict[Any, Shard] = {}
        while True:
            room = _WAITING * max(1, int(ray.cluster_resources().get(kind, 0))) - len(running)
            for _, shard in zip(range(room), missing, strict=False):
                running[task.remote(work, tuple(shard))] = shard
            if not running:
                return
            for ready in ray.wait(list(running), timeout=_MOMENT)[0]:
                shard = running.pop(ready)
                yield _fetched(ray, ready, shard, folder)
                progress.add(shard.rows)

    return make


def _connected() -> Any:
    """The package, connected. Raises LatentserveError."""
    try:
        import ray
    except ImportError:
        raise LatentserveError("--engine ray needs latentserve[ray]") from None
    if ray.is_initialized():
        return ray
    address = os.environ.get(_ADDRESS, "auto")
    where = f"{_ADDRESS}={address}" if _ADDRESS in os.environ else "this machine"
    try:
        if ":" in address:  # Ray itself would try for minutes, and end the process
            parts = urlsplit(address if "://" in address else f"//{address}")
            socket.create_connection((parts.hostname or "", parts.port or 10001), _CONNECT_SECONDS).close()
        ray.init(address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:
        raise LatentserveError(f"--engine ray: no Ray cluster that can be used at {where}: {one_line(error)}") from None
    return ray


def _fetched(ray: Any, ready: Any, shard: Shard, folder: Store) -> Done:
    """What a task has made, written where it could not."""
    try:
        told = Told(*ray.get(ready))
    except Exception as error:
        cause = str(getattr(error, "cause", None) or error).strip().splitlines()
        raise LatentserveError(f"--engine ray: a node of the cluster: {cause[-1] if cause else error!r}") from None
    if told.done is None:
        raise LatentserveError(told.error)
    done = Done(*told.done)
    if told.content is not None and folder.write(shard, told.content) != (done.size, done.sha256):
        raise LatentserveError(f"--engine ray: {shard.name} did not arrive as it was sent")
    return done


def _task(work: Work, shard: tuple[str, int, int]) -> Told:
    """On a node of the cluster."""
    work = Work(*work)
    try:
        if work.release != __version__:
            raise LatentserveError(f"a node has latentserve {__version__}; the command is {work.release}")
        job = read_job(work.job, JOB)
        source = _source(work, job)
        store = open_store(work.out)
        if isinstance(store, ObjectStore) or _sees(store, job):
            return Told(make_shard(store, source, job, Shard(*shard)))
        kept = _Kept()
        done = make_shard(kept, source, job, Shard(*shard))
        return Told(done, kept.content)
    except LatentserveError as error:
        return Told(None, error=f"--engine ray: {socket.gethostname()}: {error}")


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


def _sees(store: Store, job: Job) -> bool:
    """Whether a folder of this name is the job's here."""
    with suppress(LatentserveError):
        there = store.job()
        return there is not None and there.digest == job.digest
    return False


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
