"""The text of `/metrics`: of all workers of the server, the same whichever of them is asked, and made once a second at
the most however often it is.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial

from prometheus_client import REGISTRY, CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from latentserve import __version__
from latentserve.service.state import shared_folder, state_folder
from latentserve.service.thread_pool import thread_pool
from latentserve.service.watching import metrics
from latentserve.service.watching.processes import process_metrics
from latentserve.service.watching.shared_text import SharedText
from latentserve.service.watching.shared_values import SharedValues
from latentserve.service.watching.workers import starts

TEXT, OPENMETRICS = "text/plain", "application/openmetrics-text"
CONTENT_TYPES = {TEXT: "text/plain; version=0.0.4; charset=utf-8", OPENMETRICS: openmetrics.CONTENT_TYPE_LATEST}

_GENERATE: Mapping[str, Callable[[CollectorRegistry], bytes]] = {
    TEXT: generate_latest,
    OPENMETRICS: openmetrics.generate_latest,
}


class Exposition:
    """The text, of a server with so many workers, in each of the media types that scrapers take.

    Attributes:
        registry: everything that there is to say.
        thread: of what is made of it, one after the other.
    """

    def __init__(self, workers: int) -> None:
        self.registry = CollectorRegistry()
        self.thread = thread_pool(1, "metrics")
        folder = shared_folder()
        values = SharedValues(folder / "metrics") if folder else None
        self.registry.register(values or REGISTRY)
        self.registry.register(_Whole(workers, values))
        self._forms = {
            media: SharedText(
                state_folder() / f"exposition-{media.rpartition('/')[2]}", partial(generate, self.registry), self.thread
            )
            for media, generate in _GENERATE.items()
        }

    async def text(self, media: str = TEXT, compressed: bool = False) -> bytes:
        """What there is to say, a second old at the most; `compressed`: by gzip."""
        return await self._forms[media].get(compressed)


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
