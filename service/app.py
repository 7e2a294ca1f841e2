"""The BentoML service: life cycle and wiring, nothing else.

`latentserve serve` starts it, and so does `bentoml serve service.app:Latentserve` with LATENTSERVE_BUNDLES set.
"""

from __future__ import annotations

from typing import Any

import bentoml

from service.bundle import read_bundles
from service.http.body import SamplesBody, parse_fields
from service.http.limits import BodyLimit, Loopback
from service.http.routes import Routes
from service.http.samples import JSON, Samples
from service.models import Models
from service.settings import load_settings

_SETTINGS = load_settings()
_SAMPLES = Samples(_SETTINGS)


@bentoml.service(
    name="latentserve",
    workers=_SETTINGS.workers,
    # Our own deadline answers first; this one is for what never reaches the sampler.
    traffic={"timeout": _SETTINGS.deadline_seconds + 5},
    # Requests are counted by route template (service.watching.metrics); BentoML would count by raw path, and trace.
    metrics={"enabled": False},
    tracing={"excluded_urls": ".*"},
    logging={"access": {"enabled": False}},
)
class Latentserve:
    """Samples of a trained generator, by seed."""

    def __init__(self) -> None:
        self._models = Models(read_bundles(_SETTINGS.bundles), _SETTINGS)
        self._models.start()
        _SAMPLES.models = self._models

    @bentoml.api(route="/sample")  # type: ignore[untyped-decorator]
    async def sample(
        self,
        n: int = 1,
        seed: int | None = None,
        label: int | str | None = None,
        truncation: float = 1.0,
        model: str | None = None,
    ) -> dict[str, Any]:
        """Draw `n` samples. The same seed gives the same samples; without one the server draws it and says which."""

        async def body() -> SamplesBody:
            return parse_fields(n=n, seed=seed, label=label, truncation=truncation, model=model)

        # BentoML sends a response as it is: the same bytes, problems and counts as `/v1/samples`.
        return await _SAMPLES.respond("/sample", body(), JSON)  # type: ignore[return-value]

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        """Finish what is queued."""
        self._models.stop()

    def __is_ready__(self) -> bool:
        return self._models.ready


if not _SETTINGS.allow_open:
    Latentserve.add_asgi_middleware(Loopback)  # type: ignore[attr-defined]
Latentserve.add_asgi_middleware(Routes, samples=_SAMPLES, max_body_bytes=_SETTINGS.max_body_bytes)  # type: ignore[attr-defined]
Latentserve.add_asgi_middleware(BodyLimit, max_bytes=_SETTINGS.max_body_bytes)  # type: ignore[attr-defined]
