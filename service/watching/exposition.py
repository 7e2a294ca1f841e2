"""The text of `/metrics`: of all workers of the server, the same whichever of them is asked, and made once a second at
the most however often it is.
"""

from __future__ import annotations

import asyncio
import fcntl
import gzip
import os
import platform
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from latentserve import __version__
from latentserve.service.state import shared_folder, state_folder
from latentserve.service.watching import metrics
from latentserve.service.watching.processes import process_metrics
from latentserve.service.watching.shared_values import SharedValues
from latentserve.service.watching.workers import starts

TEXT, OPENMETRICS = "text/plain", "application/openmetrics-text"
CONTENT_TYPES = {TEXT: "text/plain; version=0.0.4; charset=utf-8", OPENMETRICS: openmetrics.CONTENT_TYPE_LATEST}

_NEW_SECONDS = 1.0
_PATIENCE_SECONDS = 3.0  # with another worker that is at it
_LOOK_SECONDS = 0.01
_COMPRESSION = 1  # metrics compress well at any level
_MADE = struct.Struct("d")  # on the monotonic clock, which all processes of a machine share
_GENERATE: Mapping[str, Callable[[CollectorRegistry], bytes]] = {
    TEXT: generate_latest,
    OPENMETRICS: openmetrics.generate_latest,
}


@dataclass(frozen=True)
class _Text:
    """What was made, and when."""

    made: float
    content: bytes

    @property
    def new(self) -> bool:
        """Whether it may be given still."""
        return 0 <= time.monotonic() - self.made < _NEW_SECONDS

    @cached_property
    def compressed(self) -> bytes:
        """The content, gzipped."""
        return gzip.compress(self.content, _COMPRESSION)


class Exposition:
    """The text, of a server with so many workers, in each of the media types that scrapers take."""

    def __init__(self, workers: int) -> None:
        registry = CollectorRegistry()
        folder = shared_folder()
        values = SharedValues(folder / "metrics") if folder else None
        registry.register(values or REGISTRY)
        registry.register(_Whole(workers, values))
        self._forms = {
            media: _Form(state_folder() / f"exposition-{media.rpartition('/')[2]}", partial(generate, registry))
            for media, generate in _GENERATE.items()
        }
        # Of its own: it waits for other workers, and nothing is to wait for it.
        self._thread = ThreadPoolExecutor(1, "metrics")

    async def text(self, media: str = TEXT, compressed: bool = False) -> bytes:
        """What there is to say, a second old at the most; `compressed`: by gzip."""
        form = self._forms[media]
        if not form.last.new:
            await asyncio.get_running_loop().run_in_executor(self._thread, form.renew)
        last = form.last
        if compressed:
            return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: last.compressed)
        return last.content


class _Form:
    """The text in one media type, which the workers make for one another.

    Attributes:
        last: what was made or read last.
    """

    def __init__(self, file: Path, generate: Callable[[], bytes]) -> None:
        self._file = file
        self._generate = generate
        self.last = _Text(-_NEW_SECONDS, b"")

    def renew(self) -> None:
        """Have a text that is new: another worker's, or one of our own, which the others have then too.

        All give the one that was made last, so that no counter goes back for a client that is answered by one worker
        and by another then.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self.last.new and not self._read():
            with self._alone() as alone:
                late = time.monotonic() > deadline  # whoever is at it does not come to an end
                if (alone and not self._read()) or late:
                    self.last = _Text(time.monotonic(), self._generate())
                    if alone:
                        self._write()
                    return
            time.sleep(_LOOK_SECONDS)

    def _read(self) -> bool:
        """Take what another worker made, if it is new."""
        with suppress(OSError, struct.error):
            read = self._file.read_bytes()
            found = _Text(_MADE.unpack_from(read)[0], read[_MADE.size :])
            if found.new:
                self.last = found
                return True
        return False

    def _write(self) -> None:
        """Let the others have it. On a full disk they make their own."""
        with suppress(OSError):
            part = self._file.with_suffix(".part")
            part.write_bytes(_MADE.pack(self.last.made) + self.last.content)
            part.rename(self._file)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether no other worker is at it."""
        try:
            handle = os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            yield True
            return
        alone = True
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            alone = False
        try:
            yield alone
        finally:
            os.close(handle)


class _Whole(Collector):
    """What is so of a server as a whole."""

    def __init__(self, workers: int, values: SharedValues | None) -> None:
        self._workers, self._values = workers, values

    def collect(self) -> Iterator[Metric]:
        """What is so now."""
        folder = state_folder()
        restarts = metrics.WORKER_RESTARTS
        yield CounterMetricFamily(restarts.name, restarts.documentation, value=max(0, starts(folder) - self._workers))
        built = metrics.BUILD
        info = GaugeMetricFamily(built.name, built.documentation, labels=("version", "python"))
        info.add_metric((__version__, platform.python_version()), 1)
        yield info
        with suppress(OSError):
            space = os.statvfs(folder)
            free = metrics.FREE_BYTES
            yield GaugeMetricFamily(free.name, free.documentation, value=space.f_bavail * space.f_frsize)
        if self._values is not None:  # a process by itself has a collector of its own
            with suppress(OSError):
                yield from process_metrics(os.getppid(), self._values.workers())
