"""`POST /v1/images/generations`: pictures of a prompt."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from starlette.responses import Response

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding.document import JSON
from latentserve.service.errors import InvalidError
from latentserve.service.http.call import Call
from latentserve.service.http.handler import Asked, SamplesHandler
from latentserve.service.http.openai.errors import openai_error
from latentserve.service.http.openai.pictures import LARGEST_SIDE, Form, Pictures
from latentserve.service.http.openai.prompted import Hint, PromptedBody, read_prompted, vocabulary
from latentserve.service.http.openapi.answers import ImagesAnswer
from latentserve.service.http.openapi.operation import SAMPLING_ERRORS, Operation
from latentserve.service.http.route import Route
from latentserve.service.http.samples import provenance_of
from latentserve.service.models import Model
from latentserve.service.sampling.served_graph import Output
from latentserve.service.sampling.unsent import Share
from latentserve.service.settings import Settings

IMAGES = "/v1/images/generations"

_MOST = 10  # pictures of one request, as OpenAI has it
_PROMPT_CHARACTERS = 32_000


class ImagesBody(PromptedBody):
    """What OpenAI's clients may ask for. `b64_json` is the one form of an answer, and none is streamed."""

    prompt_field: ClassVar = "prompt"

    prompt: Annotated[str, Field(max_length=_PROMPT_CHARACTERS)]
    n: Annotated[int, Field(ge=1, le=_MOST)] | None = None
    size: Annotated[str, Field(max_length=32)] | None = None
    response_format: Literal["b64_json"] | None = None
    output_format: Form | None = None
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = None
    background: Literal["transparent", "opaque", "auto"] | None = None
    stream: Literal[False] | None = None
    partial_images: Annotated[int, Field(ge=0, le=3)] | None = None
    complexity: Hint = None
    moderation: Hint = None
    quality: Hint = None
    safety_identifier: Hint = None
    style: Hint = None
    user: Hint = None


_OPERATION = Operation(
    "Pictures of a prompt, as OpenAI's clients ask for them.",
    "`prompt` is a label's name, conditions in words, or both; of a model without either it is empty, or its own name.",
    body={JSON: ImagesBody},
    answers={JSON: ImagesAnswer},
    errors=SAMPLING_ERRORS,
)


def images_route(handler: SamplesHandler, settings: Settings) -> Route:
    """The route."""

    def understand(model: Model, body: ImagesBody) -> Generator[None, None, Asked]:
        yield from ()
        manifest = model.bundle.manifest
        form = _form(body, manifest.sample, model.name)
        output: Output = "sample_uint8" if "sample_uint8" in model.engine.outputs else "sample"
        request = body.rows(model, body.n or 1, settings, output)
        provenance, signer = provenance_of(model, request), model.signer if model.signs_always else None
        return Asked(
            request,
            Pictures(request.n, manifest, provenance, vocabulary(model), form, body.output_compression, signer),
        )

    async def post(call: Call) -> Response:
        def read(share: Share) -> Awaitable[ImagesBody]:
            return read_prompted(call, ImagesBody, settings, share, handler.readers)

        return await handler.respond(call, read, understand)

    return Route(IMAGES, {"POST": post}, samples=True, members=openai_error, operations={"POST": _OPERATION})


def _form(body: ImagesBody, spec: SampleSpec, name: str) -> Form:
    """How the pictures are written. Raises InvalidError: the model's samples are not as they were asked for."""
    if spec.kind != "image":
        raise InvalidError("model", f"{name} makes no images: its samples are of kind {spec.kind}")
    _, height, width = spec.shape
    if body.size not in (None, "auto", f"{width}x{height}"):
        raise InvalidError("size", f'{name} makes pictures of {width}x{height}; "{width}x{height}" or "auto" is taken')
    if body.background not in (None, "auto") and (body.background == "transparent") != (spec.channels == "RGBA"):
        raise InvalidError("background", f"{name} makes pictures of {spec.channels}, whose background is as it is")
    form = body.output_format or "png"
    if form == "jpeg" and spec.channels == "RGBA":
        raise InvalidError("output_format", "jpeg has no transparency, which the model's pictures have")
    if max(height, width) > (side := LARGEST_SIDE[form]):
        raise InvalidError("output_format", f"{form} holds {side} pixels either way; png holds {width}x{height}")
    return form
