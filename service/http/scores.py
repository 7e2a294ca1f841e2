"""`POST /v1/scores`: what the critic gives samples that a client sends."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import Field
from starlette.responses import Response

from latentserve.service.bundle import SampleSpec, numbers_of, plain
from latentserve.service.encoding import images
from latentserve.service.encoding.arrays import npy_header
from latentserve.service.encoding.document import JSON, NPY
from latentserve.service.errors import InvalidError
from latentserve.service.http.arrays import SCORED, read_npy, read_npz
from latentserve.service.http.body import NPZ, accepted, media_of, parse_as, read_body
from latentserve.service.http.call import Call
from latentserve.service.http.handler import SamplesHandler
from latentserve.service.http.negotiation import negotiate
from latentserve.service.http.openapi.answers import ScoresAnswer
from latentserve.service.http.openapi.operation import SAMPLING_ERRORS, Operation
from latentserve.service.http.problems import failure
from latentserve.service.http.query import query_fields
from latentserve.service.http.route import Route
from latentserve.service.models import Model
from latentserve.service.sampling.choosing.where import require_critic
from latentserve.service.sampling.fields import SHOWN, NameField, TypedLabel
from latentserve.service.sampling.pieces import Steps
from latentserve.service.sampling.samples import Samples
from latentserve.service.sampling.scoring import SCORED_ROWS, ScoreFields, samples_to_score
from latentserve.service.sampling.unsent import Share
from latentserve.service.settings import Settings

SCORES = "/v1/scores"

_FLOAT_BYTES = 4
_OFFERS = {JSON: "json", NPY: "npy"}


class ScoresOf(ScoreFields):
    """Of which model the critic is, what the samples are of, and how it is answered."""

    model: NameField | None = Field(default=None, description="Which, where several are served.")
    version: NameField | None = Field(default=None, description="Of it, where several are served.")
    format: Literal["json", "npy"] | None = Field(default=None, description="Of the answer, instead of Accept.")


class ScoresBody(ScoresOf):
    """Samples to score, and what they are of."""

    samples: Annotated[list[Any], Field(min_length=1)] = Field(
        description="Pictures as base64 of a PNG file, rows of a table by column or in order, or nested numbers."
    )


_PROPERTIES = ScoresOf.model_json_schema()["properties"]
_OPERATION = Operation(
    "Score samples by the critic.",
    "A body of arrays holds samples `[n, ...]`, float or uint8 (`.npy`), or `samples`, `labels` and `conditions` "
    "(`.npz`); the query then holds the other fields, `condition.NAME` the numbers of `condition`.",
    query={name: _PROPERTIES[name] for name in ("model", "version", "label", "format")},
    body={JSON: ScoresBody, **dict.fromkeys((NPY, *NPZ))},
    answers={JSON: ScoresAnswer, NPY: None},
    errors=SAMPLING_ERRORS,
)


def scores_route(handler: SamplesHandler, settings: Settings) -> Route:
    """The route."""

    async def post(call: Call) -> Response:
        share = Share(handler.models.unsent)
        model: Model | None = None
        try:
            media = media_of(call, (JSON, NPY, *NPZ))
            limit = settings.max_body_bytes if media == JSON else settings.max_latents_bytes
            asked, sent = await _read(call, media, limit, share, handler)
            model = call.model = handler.models.find(asked.model, asked.version)
            model.require_ready()
            require_critic("model", model.bundle.manifest)
            answered = negotiate(accepted(call), tuple(_OFFERS)) if asked.format is None else asked.format
            share.take(_FLOAT_BYTES * sent.size if isinstance(sent, np.ndarray) else limit)
            rows = await handler.readers.result(_understood(asked, sent, model, settings.max_n))
            parts = []
            for start in range(0, len(rows.samples), SCORED_ROWS):  # others' come between
                some = rows.take(slice(start, start + SCORED_ROWS))
                parts.append(await model.sampler.score(some, placed=False))
            return _answer(model, np.concatenate(parts), _OFFERS.get(answered, answered))
        except Exception as error:
            return failure(call, error, [] if model is None else model.headers)
        finally:
            share.give()

    return Route(SCORES, {"POST": post}, samples=True, operations={"POST": _OPERATION})


async def _read(
    call: Call, media: str, limit: int, share: Share, handler: SamplesHandler
) -> tuple[ScoresOf, list[Any] | NDArray[Any]]:
    """What is asked, and the samples as they were sent."""
    query = call.scope.get("query_string", b"")
    if media == JSON:
        for name in query_fields(query) if query else ():
            raise InvalidError(name[:SHOWN], "is in the query; beside a JSON body every field is in the body")
        body = parse_as(await read_body(call, limit, share), ScoresBody)
        return body, body.samples
    given = dict(query_fields(query))
    label = given.pop("label", None)
    asked = ScoresOf.of(**given)
    if label is not None:
        asked = asked.model_copy(update={"label": TypedLabel(label)})
    content = await read_body(call, limit, share)
    if media == NPY:
        return asked, read_npy(content, "samples")
    share.take(limit)  # as much as it may be inflated to
    arrays: Mapping[str, NDArray[Any]] = await handler.readers.result(read_npz(content, limit, SCORED))
    if "samples" not in arrays:
        raise InvalidError("samples", "is needed")
    samples = arrays["samples"]
    return asked.model_copy(update={name: array for name, array in arrays.items() if name != "samples"}), samples


def _understood(asked: ScoresOf, sent: list[Any] | NDArray[Any], model: Model, max_n: int) -> Steps[Samples]:
    manifest = model.bundle.manifest
    spec = manifest.sample
    values = (yield from _values(sent, spec)) if isinstance(sent, list) else sent
    if values.dtype == np.uint8:
        if spec.value_range is None:
            raise InvalidError("samples", "uint8 needs a value_range, which this model's samples do not have")
        values = images.from_uint8(values, spec.value_range)
    yield
    return samples_to_score(values, asked, manifest, max_n)


def _values(sent: list[Any], spec: SampleSpec) -> Steps[NDArray[Any]]:
    """Samples of a JSON body as an array. Raises InvalidError."""
    if spec.kind == "table":
        return numbers_of(sent, spec.columns or [])
    if spec.kind == "image" and isinstance(sent[0], str):
        pictures = []
        for row, text in enumerate(sent):
            field = f"samples[{row}]"
            try:
                content = base64.b64decode(text, validate=True)
            except (TypeError, ValueError, binascii.Error):
                raise InvalidError(field, "is no base64 of a PNG file") from None
            try:
                pictures.append(images.read_png(content, spec))
            except ValueError as error:
                raise InvalidError(field, str(error)) from None
            yield
        return np.stack(pictures)
    try:
        values = np.array(sent)
    except (ValueError, OverflowError):
        values = np.empty(0, object)
    if values.dtype.kind not in "iuf":
        raise InvalidError("samples", f"nested numbers of the shape [n, {', '.join(map(str, spec.shape))}] are needed")
    return values.astype(np.float64)


def _answer(model: Model, scores: NDArray[np.float32], form: str) -> Response:
    headers = {name.decode(): value.decode() for name, value in model.headers}
    if form == "npy":
        content = npy_header(scores.shape, "float32") + scores.astype("<f4").tobytes()
        return Response(content, headers=headers, media_type=NPY)
    told = {"model": model.name, "version": model.version, "scores": plain(scores)}
    return Response(orjson.dumps(told), headers=headers, media_type=JSON)
