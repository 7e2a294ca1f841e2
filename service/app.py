"""The BentoML service: wiring, nothing else.

`bentoml serve latentserve.service.app:Latentserve`, with LATENTSERVE_BUNDLES set, runs our application as a middleware
of BentoML's. A worker of `latentserve serve` imports this when somebody first asks for what is BentoML's: see
`latentserve.service.hosted`.
"""

from __future__ import annotations

import logging
from http.client import OK
from typing import Annotated, Any, Literal

import bentoml
import orjson
from pydantic import Strict, ValidationError
from starlette.responses import Response

from latentserve.service.encoding.document import JSON
from latentserve.service.http.application import Application
from latentserve.service.http.body import SamplesBody
from latentserve.service.http.call import Call, current
from latentserve.service.http.interpolations import InterpolationBody, VariationBody, interpolated, varied
from latentserve.service.http.mounted import content_of, wants_value
from latentserve.service.http.samples import negotiated
from latentserve.service.http.scores import ScoresBody, answer_scores
from latentserve.service.process import SERVING
from latentserve.service.sampling.unsent import Share

# What a client did wrong is told to it, and in a line of ours; BentoML would write a traceback.
logging.getLogger("bentoml._internal.server.http_app").addFilter(
    lambda record: not (record.exc_info and isinstance(record.exc_info[1], ValidationError))
)

_AS_JSON = negotiated(JSON, SERVING.settings)

# Of which nothing is coerced.
_Int = Annotated[int, Strict()]
_Float = Annotated[float, Strict()]
_Label = Annotated[int, Strict()] | Annotated[str, Strict()]


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
        n: _Int = 1,
        seed: _Int | None = None,
        label: _Label | None = None,
        condition: dict[str, Any] | None = None,
        truncation: _Float = 1.0,
        model: str | None = None,
    ) -> dict[str, Any]:
        """Draw `n` samples. The same seed gives the same samples; without one the server draws it and says which."""

        async def body(_share: Share) -> SamplesBody:
            return SamplesBody.of(n=n, seed=seed, label=label, condition=condition, truncation=truncation, model=model)

        call = current.get()
        return await _told(call, await SERVING.handler.respond(call, body, _AS_JSON))

    @bentoml.api(route="/interpolate")  # type: ignore[untyped-decorator]
    async def interpolate(
        self,
        ends: list[dict[str, Any]],
        frames: _Int | None = None,
        curve: Literal["slerp", "linear"] | None = None,
        loop: Annotated[bool, Strict()] = False,
        label: _Label | None = None,
        condition: dict[str, Any] | None = None,
        truncation: _Float | None = None,
        model: str | None = None,
    ) -> dict[str, Any]:
        """Rows on the way from row to row; each end is `{"seed", "row"}` or `{"latent"}`."""
        given: dict[str, Any] = {"ends": ends, "frames": frames, "curve": curve, "loop": loop, "truncation": truncation}
        given |= {"label": label, "condition": condition, "model": model}

        async def body(_share: Share) -> InterpolationBody:
            return InterpolationBody.of(**given)

        call = current.get()
        return await _told(call, await SERVING.handler.respond(call, body, interpolated(JSON, SERVING.settings)))

    @bentoml.api(route="/vary")  # type: ignore[untyped-decorator]
    async def vary(
        self,
        seed: _Int,
        row: _Int = 0,
        n: _Int = 1,
        strength: _Float = 0.2,
        variation_seed: _Int = 0,
        label: _Label | None = None,
        condition: dict[str, Any] | None = None,
        truncation: _Float | None = None,
        model: str | None = None,
    ) -> dict[str, Any]:
        """`n` rows around row `row` of a seed: near it at a `strength` near 0, without anything of it at 1."""
        given: dict[str, Any] = {
            "seed": seed,
            "row": row,
            "n": n,
            "strength": strength,
            "variation_seed": variation_seed,
        }
        given |= {"label": label, "condition": condition, "truncation": truncation, "model": model}

        async def body(_share: Share) -> VariationBody:
            return VariationBody.of(**given)

        call = current.get()
        return await _told(call, await SERVING.handler.respond(call, body, varied(JSON, SERVING.settings)))

    @bentoml.api(route="/score")  # type: ignore[untyped-decorator]
    async def score(
        self,
        samples: list[Any],
        label: _Label | None = None,
        labels: list[_Label] | None = None,
        condition: dict[str, Any] | None = None,
        conditions: list[dict[str, Any]] | None = None,
        model: str | None = None,
    ) -> dict[str, Any]:
        """What the critic gives samples: pictures as base64 of PNG files, rows of a table, or nested numbers."""
        given: dict[str, Any] = {
            "label": label,
            "labels": labels,
            "condition": condition,
            "conditions": conditions,
            "model": model,
        }

        async def body(_share: Share) -> tuple[ScoresBody, list[Any]]:
            fields = ScoresBody.of(samples=samples, **given)
            return fields, fields.samples

        call = current.get()
        return await _told(call, await answer_scores(SERVING.handler, SERVING.settings, call, JSON, body))


async def _told(call: Call, answer: Response) -> dict[str, Any]:
    """What another service is given: the value. BentoML sends clients a response as it is: the same bytes, problems and
    counts as those of our own routes."""
    if wants_value(call) and answer.status_code == OK:
        value: dict[str, Any] = orjson.loads(await content_of(answer, call))
        return value
    return answer  # type: ignore[return-value]


Latentserve.add_asgi_middleware(Application, serving=SERVING)  # type: ignore[attr-defined]
