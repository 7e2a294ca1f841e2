"""`POST /v1/verify`: was a file that a client sends made here?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import orjson
from starlette.responses import Response

from latentserve.service.auditing.trail import Trail
from latentserve.service.credentials.signature import Signature, signature_of
from latentserve.service.encoding.document import (
    ARROW,
    CSV,
    FLAC,
    GIF,
    JSON,
    MP3,
    NDJSON,
    NPY,
    NPZ,
    OGG,
    PARQUET,
    PNG,
    RAW,
    WAV,
    WEBP,
    ZIP,
)  # fmt: skip
from latentserve.service.errors import DeadlineError, InvalidError, NotFoundError
from latentserve.service.finding.lookup import lookup
from latentserve.service.http.body import read_body
from latentserve.service.http.call import Call
from latentserve.service.http.handler import SamplesHandler
from latentserve.service.http.openapi.answers import VerifyAnswer
from latentserve.service.http.openapi.operation import SAMPLING_ERRORS, Operation
from latentserve.service.http.paid import Bill
from latentserve.service.http.presence import while_there
from latentserve.service.http.problems import failure
from latentserve.service.http.query import query_fields
from latentserve.service.http.route import Route
from latentserve.service.models import Model
from latentserve.service.sampling.fields import SHOWN
from latentserve.service.sampling.unsent import Share
from latentserve.service.settings import Settings
from latentserve.service.thread_pool import thread_pool
from latentserve.service.verifying.mark import Mark
from latentserve.service.verifying.reading import (
    AVIF,
    BMP,
    JPEG,
    TIFF,
    Brought,
    Limits,
    UnreadableError,
    read_file,
)  # fmt: skip
from latentserve.service.verifying.verdict import Verification, Verified, elsewhere, mark_of, unmarked, verification

VERIFY = "/v1/verify"

_INFLATED = 4  # times as many bytes as may be sent are read of a file
_ROWS = 16_384  # that are made again
_MEDIA = (
    PNG, WEBP, GIF, JPEG, AVIF, TIFF, BMP, WAV, MP3, OGG, FLAC, NPY, NPZ, RAW, CSV, NDJSON, ARROW, PARQUET, ZIP,
)  # fmt: skip
_OPERATION = Operation(
    "Was this file made here?",
    "The body is the file; its content says of what kind. The rows that its mark names are made again and compared; "
    "its signature (C2PA) is read. "
    "Of a file that has no room for a mark, the header `Latentserve-Mark` tells what that of the answer told. Pictures "
    "that no mark proves are looked up among what was sent, where an account is kept and has an index.",
    query={"model": {"type": "string", "description": "Which, where several are served and the mark names none."}},
    body=dict.fromkeys(_MEDIA),
    answers={JSON: VerifyAnswer},
    errors=(*SAMPLING_ERRORS, UnreadableError),
)

Result = TypeVar("Result")


def verify_route(handler: SamplesHandler, settings: Settings) -> Route:
    """The route."""
    reader = thread_pool(1, "verifier")  # one file at a time, beside the event loop
    limits = Limits(_INFLATED * settings.max_latents_bytes, min(_ROWS, settings.max_n))

    def beside(work: Callable[[], Result]) -> Awaitable[Result]:
        return asyncio.get_running_loop().run_in_executor(reader, work)

    async def by_mark(call: Call, brought: Brought, claim: dict[str, Any] | None, named: str | None) -> Verified:
        signature: Signature | None = await beside(lambda: signature_of(brought.assets, handler.trust))
        told = mark_of(brought, claim, signature)
        if told is None:
            return unmarked(signature)
        try:
            model = call.model = handler.models.find(named or _text(told.get("model")), None)
        except NotFoundError as error:
            if named is not None:
                raise
            return elsewhere(told, signature, f"the mark names another: {error}")
        model.require_ready()
        manifest, gives_uint8 = model.bundle.manifest, _gives_uint8(model)
        steps = verification(brought, told, manifest, limits, gives_uint8=gives_uint8, signature=signature)
        return await run(call, model, steps)

    async def verified(call: Call, content: bytes, claim: dict[str, Any] | None, named: str | None) -> Verified:
        brought: Brought = await beside(lambda: read_file(content, limits))
        found = await by_mark(call, brought, claim, named)
        folder = settings.audit
        if found.verdict != "no" or folder is None or not brought.content.pictures:
            return found
        looked_up: Verified | None = None
        for model in handler.models if named is None else (handler.models.find(named, None),):
            if model.bundle.manifest.sample.kind == "image" and (looked_up is None or looked_up.verdict == "no"):
                model.require_ready()
                trail = await beside(lambda: Trail(folder))
                steps = lookup(brought.content, trail, model.bundle.manifest, gives_uint8=_gives_uint8(model))
                looked_up = await run(call, model, steps)
        return found if looked_up is None else found.or_else(looked_up)

    async def run(call: Call, model: Model, steps: Verification) -> Verified:
        bill = Bill(call)
        made = None
        while True:
            found = await beside(lambda: _step(steps, made))  # noqa: B023
            if isinstance(found, Verified):
                return found
            try:
                bill.begin(found.n)
                await bill.wait()
                made = await model.sampler.rows(found)
            finally:
                bill.end()

    async def post(call: Call) -> Response:
        share = Share(handler.models.unsent)
        model: Model | None = None
        try:
            named = _model(call)
            header = call.headers.get(b"latentserve-mark")
            claim = None if header is None else Mark.read(header).model_dump(exclude_unset=True)
            content = await read_body(call, settings.max_latents_bytes, share)
            share.take(limits.content_bytes)
            late = DeadlineError(f"the rows were not made again within {settings.deadline_seconds:g} s")
            work = verified(call, content, claim, named)
            found = await while_there(call.receive, work, settings.deadline_seconds, lambda: late)
            return Response(orjson.dumps(found.told()), media_type=JSON)
        except Exception as error:
            model = call.model
            return failure(call, error, [] if model is None else model.headers)
        finally:
            share.give()

    return Route(VERIFY, {"POST": post}, samples=True, needs="score", operations={"POST": _OPERATION})


def _step(steps: Any, made: Any) -> Any:
    """What a verification asks for next, or comes to."""
    try:
        return steps.send(made)
    except StopIteration as end:
        return end.value


def _gives_uint8(model: Model) -> bool:
    return "sample_uint8" in model.engine.outputs


def _text(value: object) -> str | None:
    return value[:SHOWN] if isinstance(value, str) else None


def _model(call: Call) -> str | None:
    """Raises InvalidError."""
    query = call.scope.get("query_string", b"")
    given = query_fields(query) if query else {}
    for name in given:
        if name != "model":
            raise InvalidError(name[:SHOWN], "is not taken here")
    return _text(given.get("model"))
