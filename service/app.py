"""The BentoML service: life cycle and wiring, nothing else.

`latentserve serve` starts it, and so does `bentoml serve latentserve.service.app:Latentserve` with LATENTSERVE_BUNDLES
set.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from typing import Any

import bentoml

from latentserve.service.bundle import read_bundles
from latentserve.service.encoding.documents import JSON
from latentserve.service.http.body import SamplesBody
from latentserve.service.http.handler import SamplesHandler
from latentserve.service.http.loopback import Loopback
from latentserve.service.http.routes import Routes
from latentserve.service.models import Models
from latentserve.service.settings import load_settings
from latentserve.service.upkeep import keep_up
from latentserve.service.watching.ledger import state_folder
from latentserve.service.watching.metrics import describe_worker
from latentserve.service.watching.workers import count_start

_SETTINGS = load_settings()
_HANDLER = SamplesHandler(_SETTINGS)
_SWITCH_SECONDS = 0.0005


@bentoml.service(
    name="latentserve",
    workers=_SETTINGS.workers,
    # Our own deadline answers first; this one is for what never reaches the sampler. BentoML keeps a timer for every
    # request until then, answered or not: a longer one costs memory, and time in the garbage collector.
    traffic={"timeout": _SETTINGS.deadline_seconds + 2},
    # Requests are counted by route template (latentserve.service.watching.metrics); BentoML would count by raw path,
    # and trace.
    metrics={"enabled": False},
    tracing={"excluded_urls": ".*"},
    logging={"access": {"enabled": False}},
)
class Latentserve:
    """Samples of a trained generator, by seed."""

    def __init__(self) -> None:
        describe_worker(
            replaces=count_start(state_folder()) > _SETTINGS.workers,
            watched_rows_per_second=_SETTINGS.watched_rows_per_second,
        )
        self._models = Models(read_bundles(_SETTINGS.bundles), _SETTINGS)
        self._models.start()
        _HANDLER.models = self._models
        tune_process()

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        """Keep an eye on what is under way."""
        self._upkeep = asyncio.create_task(keep_up(_HANDLER))

    @bentoml.api(route="/sample")  # type: ignore[untyped-decorator]
    async def sample(
        self,
        n: int = 1,
        seed: int | None = None,
        label: int | str | None = None,
        condition: dict[str, Any] | None = None,
        truncation: float = 1.0,
        model: str | None = None,
    ) -> dict[str, Any]:
        """Draw `n` samples. The same seed gives the same samples; without one the server draws it and says which."""

        async def body() -> SamplesBody:
            return SamplesBody.of(n=n, seed=seed, label=label, condition=condition, truncation=truncation, model=model)

        # BentoML sends a response as it is: the same bytes, problems and counts as `/v1/samples`.
        return await _HANDLER.respond("/sample", body(), JSON)  # type: ignore[return-value]

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        """Finish what is queued."""
        self._upkeep.cancel()
        self._models.stop()

    def __is_ready__(self) -> bool:
        return self._models.ready

    def __is_alive__(self) -> bool:
        return self._models.alive(_SETTINGS.hang_seconds)


def tune_process() -> None:
    """Settle this process for low latency, now that everything is loaded."""
    # What is loaded stays: full collections need not look at it, and need not come often.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    # The scheduler's thread asks for the interpreter when a batch is done; at the default of 5 ms a busy event loop
    # would keep the engine waiting for longer than many batches take.
    sys.setswitchinterval(_SWITCH_SECONDS)
    # uvicorn writes an access log where somebody could read it; ours are the metrics.
    logging.getLogger("uvicorn.access").propagate = False


if not _SETTINGS.allow_open:
    Latentserve.add_asgi_middleware(Loopback)  # type: ignore[attr-defined]
Latentserve.add_asgi_middleware(Routes, handler=_HANDLER, max_body_bytes=_SETTINGS.max_body_bytes)  # type: ignore[attr-defined]
