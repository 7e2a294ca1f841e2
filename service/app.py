"""The BentoML service: wiring, nothing else.

`bentoml serve latentserve.service.app:Latentserve`, with LATENTSERVE_BUNDLES set, runs our application as a middleware
of BentoML's. A worker of `latentserve serve` imports this when somebody first asks for what is BentoML's: see
`latentserve.service.hosted`.
"""

from __future__ import annotations

from http.client import OK
from typing import Any

import bentoml
import orjson

from latentserve.service.encoding.document import JSON
from latentserve.service.http.application import Application
from latentserve.service.http.body import SamplesBody
from latentserve.service.http.call import current
from latentserve.service.http.mounted import content_of, wants_value
from latentserve.service.http.samples import negotiated
from latentserve.service.process import SERVING
from latentserve.service.sampling.unsent import Share

_AS_JSON = negotiated(JSON, SERVING.settings)


@bentoml.service(
    name="latentserve",
    workers=SERVING.settings.workers,
    # Our own deadline answers first; this one is for what never reaches the sampler. BentoML keeps a timer for every
    # request until then, answered or not: a longer one costs memory, and time in the garbage collector.
    traffic={"timeout": SERVING.settings.deadline_seconds + 2},
    # Requests are counted by route template (latentserve.service.watching.metrics); BentoML would count by raw path,
    # and trace.
    metrics={"enabled": False},
    tracing={"excluded_urls": ".*"},
    logging={"access": {"enabled": False}},
)
class Latentserve:
    """Samples of a trained generator, by seed."""

    def __init__(self) -> None:
        SERVING.load()  # the application has done so, but where this class is made by itself

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

        async def body(_share: Share) -> SamplesBody:
            return SamplesBody.of(n=n, seed=seed, label=label, condition=condition, truncation=truncation, model=model)

        call = current.get()
        answer = await SERVING.handler.respond(call, body, _AS_JSON)
        if wants_value(call) and answer.status_code == OK:
            value: dict[str, Any] = orjson.loads(await content_of(answer, call))
            return value
        # BentoML sends a response as it is: the same bytes, problems and counts as `/v1/samples`.
        return answer  # type: ignore[return-value]


Latentserve.add_asgi_middleware(Application, serving=SERVING)  # type: ignore[attr-defined]
