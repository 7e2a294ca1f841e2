"""The BentoML service, and the application that stands in front of it: wiring, nothing else.

`latentserve serve` runs `application` in each of its workers. `bentoml serve latentserve.service.app:Latentserve`, with
LATENTSERVE_BUNDLES set, runs the same application as a middleware of BentoML's.
"""

from __future__ import annotations

from http.client import OK
from typing import Any

import bentoml
import orjson

from latentserve.service.encoding.document import JSON
from latentserve.service.host.group import Group
from latentserve.service.http.application import Application
from latentserve.service.http.body import SamplesBody
from latentserve.service.http.call import current
from latentserve.service.http.mounted import content_of, wants_value
from latentserve.service.http.samples import negotiated
from latentserve.service.sampling.unsent import Share
from latentserve.service.serving import Serving
from latentserve.service.settings import load_settings
from latentserve.service.state import share_state

_SERVING = Serving(load_settings())
share_state(_SERVING.settings.home)
_AS_JSON = negotiated(JSON, _SERVING.settings)


@bentoml.service(
    name="latentserve",
    workers=_SERVING.settings.workers,
    # Our own deadline answers first; this one is for what never reaches the sampler. BentoML keeps a timer for every
    # request until then, answered or not: a longer one costs memory, and time in the garbage collector.
    traffic={"timeout": _SERVING.settings.deadline_seconds + 2},
    # Requests are counted by route template (latentserve.service.watching.metrics); BentoML would count by raw path,
    # and trace.
    metrics={"enabled": False},
    tracing={"excluded_urls": ".*"},
    logging={"access": {"enabled": False}},
)
class Latentserve:
    """Samples of a trained generator, by seed."""

    def __init__(self) -> None:
        _SERVING.load()  # the application has done so, but where this class is made by itself

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
        answer = await _SERVING.handler.respond(call, body, _AS_JSON)
        if wants_value(call) and answer.status_code == OK:
            value: dict[str, Any] = orjson.loads(await content_of(answer, call))
            return value
        # BentoML sends a response as it is: the same bytes, problems and counts as `/v1/samples`.
        return answer  # type: ignore[return-value]


Latentserve.add_asgi_middleware(Application, serving=_SERVING)  # type: ignore[attr-defined]


def application(group: Group) -> Application:
    """Our application outermost, BentoML's behind it: what a worker of `latentserve serve` runs.

    Its lifespan loads the models before it says `lifespan.startup.complete`, or `lifespan.startup.failed` with one line
    of cause. `group` says how all workers of the server are.
    """
    Latentserve.middlewares.clear()  # type: ignore[attr-defined]  # the application would stand behind BentoML's too
    return Application(Latentserve.to_asgi(), _SERVING, group)  # type: ignore[attr-defined]
