"""`POST /v1/scores`: what the critic gives samples that a client sends."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
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
from latentserve.service.http.body import NPZ, accepted, media_of, parse_in_turns, read_body
from latentserve.service.http.call import Call
from latentserve.service.http.handler import SamplesHandler
from latentserve.service.http.negotiation import negotiate
from latentserve.service.http.openapi.answers import ScoresAnswer
from latentserve.service.http.openapi.operation import SAMPLING_ERRORS, Operation
from latentserve.service.http.paid import Bill
from latentserve.service.http.presence import while_there
from latentserve.service.http.problems import failure
from latentserve.service.http.query import query_fields
from latentserve.service.http.route import Route
from latentserve.service.http.turns import Turns
from latentserve.service.models import Model
from latentserve.service.sampling.choosing.where import require_critic
from latentserve.service.sampling.fields import SHOWN, NameField, TypedLabel
from latentserve.service.sampling.pieces import InPieces, Steps, whole_pieces_of
from latentserve.service.sampling.samples import Samples
from latentserve.service.sampling.scoring import SCORED_ROWS, ScoreFields, samples_to_score_steps
from latentserve.service.sampling.unsent import Share
from latentserve.service.settings import Settings

SCORES = "/v1/scores"

_FLOAT_BYTES = 4
_OFFERS = {JSON: "json", NPY: "npy"}

Sent = list[Any] | InPieces | NDArray[Any]  # samples, as they were sent


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
        return await answer_scores(
            handler, settings, call, accepted(call), lambda share: _read(call, share, settings, handler)
        )

    return Route(SCORES, {"POST": post}, samples=True, needs="score", operations={"POST": _OPERATION})


async def answer_scores(
    handler: SamplesHandler,
    settings: Settings,
    call: Call,
    accept: str,
    read: Callable[[Share], Awaitable[tuple[ScoresOf, Sent]]],
) -> Response:
    """Answer a call for scores, whatever becomes of it: of what is read, whose bytes are held meanwhile."""
    share = Share(handler.models.unsent)
    bill = Bill(call)
    model: Model | None = None
    try:
        asked, sent = await read(share)
        model = call.model = handler.models.find(asked.model, asked.version)
        model.require_ready()
        require_critic("model", model.bundle.manifest)
        answered = negotiate(accept, tuple(_OFFERS)) if asked.format is None else asked.format
        share.take(_FLOAT_BYTES * sent.size if isinstance(sent, np.ndarray) else settings.max_body_bytes)
        scores = await while_there(call.receive, _scores(asked, sent, model, settings.max_n, handler.readers, bill))
        if handler.account is not None:
            key = None if call.grant is None else call.grant.key.id
            handler.account.scored(call.id.decode(), key, call.route, model.bundle.manifest, len(scores))
        return _answer(model, scores, _OFFERS.get(answered, answered))
    except Exception as error:
        return failure(call, error, [] if model is None else model.headers)
    finally:
        share.give()
        bill.end()


async def _scores(
    asked: ScoresOf, sent: Sent, model: Model, max_n: int, readers: Turns, bill: Bill
) -> NDArray[np.float32]:
    """Of samples as they were sent, so many at a time: others' come between."""
    rows = await readers.result(_understood(asked, sent, model, max_n))
    bill.begin(len(rows.samples))
    await bill.wait()
    parts = []
    for start in range(0, len(rows.samples), SCORED_ROWS):
        some = rows.take(slice(start, start + SCORED_ROWS))
        parts.append(await model.sampler.score(some, placed=False))
    return np.concatenate(parts)


async def _read(call: Call, share: Share, settings: Settings, handler: SamplesHandler) -> tuple[ScoresOf, Sent]:
    """What is asked, and the samples as they were sent."""
    media = media_of(call, (JSON, NPY, *NPZ))
    limit = settings.max_body_bytes if media == JSON else settings.max_latents_bytes
    query = call.scope.get("query_string", b"")
    if media == JSON:
        for name in query_fields(query) if query else ():
            raise InvalidError(name[:SHOWN], "is in the query; beside a JSON body every field is in the body")
        body = await parse_in_turns(await read_body(call, limit, share), ScoresBody, handler.readers)
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


def _understood(asked: ScoresOf, sent: Sent, model: Model, max_n: int) -> Steps[Samples]:
    manifest = model.bundle.manifest
    spec = manifest.sample
    values = sent if isinstance(sent, np.ndarray) else (yield from _values(sent, spec))
    if values.dtype == np.uint8:
        if spec.value_range is None:
            raise InvalidError("samples", "uint8 needs a value_range, which this model's samples do not have")
        values = images.from_uint8(values, spec.value_range)
    yield
    return (yield from samples_to_score_steps(values, asked, manifest, max_n))


def _values(sent: list[Any] | InPieces, spec: SampleSpec) -> Steps[NDArray[Any]]:
    """Samples of a JSON body as an array. Raises InvalidError."""
    parts: list[NDArray[Any]] = []
    pictures = False
    for first, piece in whole_pieces_of(sent):
        pictures |= first == 0 and spec.kind == "image" and isinstance(piece[0], str)
        if spec.kind == "table":
            parts.append(numbers_of(piece, spec.columns or [], first))
        elif pictures:
            for row, text in enumerate(piece, first):
                parts.append(_picture(f"samples[{row}]", text, spec)[None])
                yield
        else:
            parts.append(_numbers(piece, spec))
        yield
    if not parts:
        raise InvalidError("samples", "is empty")
    if any(part.shape[1:] != parts[0].shape[1:] or part.dtype != parts[0].dtype for part in parts):
        raise _no_numbers(spec)
    return np.concatenate(parts)


def _picture(field: str, text: object, spec: SampleSpec) -> NDArray[np.uint8]:
    """Of a file in base64. Raises InvalidError."""
    try:
        content = base64.b64decode(text, validate=True)  # type: ignore[arg-type]
    except (TypeError, ValueError, binascii.Error):
        raise InvalidError(field, "is no base64 of a PNG file") from None
    try:
        return images.read_png(content, spec)
    except ValueError as error:
        raise InvalidError(field, str(error)) from None


def _numbers(piece: list[Any], spec: SampleSpec) -> NDArray[np.float64]:
    """Of nested lists. Raises InvalidError."""
    try:
        values = np.array(piece)
    except (ValueError, OverflowError):
        values = np.empty(0, object)
    if values.dtype.kind not in "iuf":
        raise _no_numbers(spec)
    return values.astype(np.float64)


def _no_numbers(spec: SampleSpec) -> InvalidError:
    return InvalidError("samples", f"nested numbers of the shape [n, {', '.join(map(str, spec.shape))}] are needed")


def _answer(model: Model, scores: NDArray[np.float32], form: str) -> Response:
    headers = {name.decode(): value.decode() for name, value in model.headers}
    if form == "npy":
        content = npy_header(scores.shape, "float32") + scores.astype("<f4").tobytes()
        return Response(content, headers=headers, media_type=NPY)
    told = {"model": model.name, "version": model.version, "scores": plain(scores)}
    return Response(orjson.dumps(told), headers=headers, media_type=JSON)
