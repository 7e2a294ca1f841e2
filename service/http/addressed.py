"""`GET /v1/models/{model}/versions/{version}/samples/{seed}`: rows by their address. Caches may keep them: they are a
pure function of it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from hashlib import blake2b

from starlette.responses import Response

from latentserve import __version__
from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding.document import CSV, PNG, WAV, Document
from latentserve.service.encoding.documents import media_types
from latentserve.service.errors import (
    DeadlineError,
    InvalidError,
    NotAcceptableError,
    NotFoundError,
    PreconditionError,
    QueueFullError,
    QuotaError,
    RangeError,
    TooLargeError,
)
from latentserve.service.http.body import SamplesBody, of_query
from latentserve.service.http.call import Call
from latentserve.service.http.etags import matches, require
from latentserve.service.http.handler import Asked, Body, SamplesHandler, Understand
from latentserve.service.http.kept import Kept
from latentserve.service.http.openapi.operation import Operation
from latentserve.service.http.paid import Bill
from latentserve.service.http.parts import PARTED_BYTES, Parts, part_response
from latentserve.service.http.problems import failure
from latentserve.service.http.query import integer, query_fields
from latentserve.service.http.ranges import asked_range, part_of
from latentserve.service.http.responses import BodilessResponse, Headers, WholeResponse
from latentserve.service.http.route import Route
from latentserve.service.http.samples import ANSWERS, PROPERTIES, negotiated
from latentserve.service.models import Model
from latentserve.service.sampling.fields import SHOWN
from latentserve.service.sampling.pieces import Steps, at_once
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.unsent import Share
from latentserve.service.settings import Settings

PINNED = "/v1/models/{model}/versions/{version}/samples/{seed}"
UNPINNED = "/v1/models/{model}/samples/{seed}"

_FOR_EVER = b"max-age=31536000, immutable"
_FOR_A_MOMENT = b"max-age=60"  # another version may be served then
_VARY = (b"vary", b"Accept, Accept-Encoding")
_RANGES, _NO_RANGES = (b"accept-ranges", b"bytes"), (b"accept-ranges", b"none")

_TAKEN = ("n", "offset", "label", "condition", "truncation", "format", "dtype", "address")
_IN_PATH = ("model", "version", "seed")
_OPERATION = Operation(
    "Samples by their address.",
    "Always the same bytes, which caches may keep; `condition.NAME` is a number of `condition`. Without a `format`, "
    "and where `Accept` leaves it open, a picture is PNG, a table CSV and a sound WAV. A `Range` of one part of an "
    "answer that says `Accept-Ranges: bytes` is answered 206.",
    query={name: PROPERTIES[name] for name in _TAKEN if name != "condition"},
    answers=ANSWERS,
    errors=(
        NotFoundError,
        NotAcceptableError,
        PreconditionError,
        TooLargeError,
        RangeError,
        InvalidError,
        QueueFullError,
        QuotaError,
        DeadlineError,
    ),
    parts=True,
)
_NATURAL = (PNG, CSV, WAV)  # what a file of such samples is, for clients that say nothing of what they take


def addressed_routes(handler: SamplesHandler, settings: Settings) -> tuple[Route, Route]:
    """The routes: of a version, and of the one that is served."""
    kept, parts = Kept(settings.cache_bytes), Parts()

    async def get(call: Call) -> Response:
        model: Model | None = None
        try:
            path = call.parameters
            name, version = path["model"][:SHOWN], path["version"][:SHOWN] if "version" in path else None
            model = call.model = handler.models.find(name, version)
            model.require_ready()
            accept, codings = call.headers.get(b"accept", b"").decode("latin-1"), call.headers.get(b"accept-encoding")
            fields = _fields(call, model)
            asked = at_once(negotiated(accept, settings, codings, natural_media_types)(model, fields))
            tag = _tag(model, asked, fields)
            document = asked.document
            parted = _is_parted(document)
            whose = b"public" if call.grant is None else b"private"  # a cache that many share asks nobody for a key
            told = [
                (b"etag", tag),
                (b"cache-control", b"%b, %b" % (whose, _FOR_EVER if "version" in path else _FOR_A_MOMENT)),
                _VARY,
                _RANGES if parted else _NO_RANGES,
            ]
            require(call.headers.get(b"if-match"), tag)
            if matches(call.headers.get(b"if-none-match"), tag):
                return BodilessResponse(304, [*model.headers, *told])

            def make() -> Awaitable[Response]:
                return handler.respond(call, *_understood(fields, asked))

            if call.method == "HEAD":
                if parted and not _says_enough(document):
                    return await part(call, model, asked, tag, told, make, None)
                return BodilessResponse(200, [*model.headers, *document.headers, *_address(asked.request), *told])
            if parted and (wanted := asked_range(call.headers, tag)) is not None:
                return await part(call, model, asked, tag, told, make, wanted)
            response: Response | None = kept.find(tag)
            if response is not None:
                await pay(call, model, asked, asked.request.n)
            else:
                response = await make()
                if isinstance(response, WholeResponse):
                    kept.keep(tag, response.raw_headers, bytes(response.body))
            if response.status_code == 200:
                response.raw_headers += told
            return response
        except Exception as error:
            return failure(call, error, [] if model is None else model.headers)

    async def pay(call: Call, model: Model, asked: Asked, rows: int) -> None:
        """Rows that are sent, and were made for somebody else before, cost the same."""
        bill = Bill(call)
        try:
            bill.begin(rows)
            await bill.pay()
        finally:
            bill.end()
        await handler.tell(call, model, asked, asked.request.n)

    async def part(
        call: Call,
        model: Model,
        asked: Asked,
        tag: bytes,
        told: Headers,
        make: Callable[[], Awaitable[Response]],
        wanted: bytes | None,
    ) -> Response:
        """The range that is wanted of an answer, or, to HEAD, what is known of it once it is made."""
        share = Share(handler.models.unsent)
        here = False

        async def make_here() -> Response:
            nonlocal here
            here = True
            return await make()

        try:
            share.take(asked.document.size)
            made = await parts.find(tag, call, make_here)
            if isinstance(made, Response):
                share.give()
                return made
            length = len(made.content)
            if wanted is None:
                share.give()
                if call.sent is not None:
                    call.sent.end(rows=0)
                return BodilessResponse(200, [*made.headers, *told, (b"content-length", b"%d" % length)])
            bounds = part_of(wanted, length)
            if not here:
                size = length if bounds is None else bounds.stop - bounds.start
                await pay(call, model, asked, max(1, math.ceil(asked.request.n * size / max(length, 1))))
            share.change(length if bounds is None else bounds.stop - bounds.start)
            return part_response(made, bounds, told, share.give, settings.answer_seconds)
        except BaseException:
            share.give()
            raise

    described = {"GET": _OPERATION}
    return (
        Route(PINNED, {"GET": get}, samples=True, operations=described),
        Route(UNPINNED, {"GET": get}, samples=True, operations=described),
    )


def natural_media_types(spec: SampleSpec) -> Sequence[str]:
    """What samples can be answered as; first what a file of them is."""
    return _files_first(tuple(media_types(spec)))


@lru_cache
def _files_first(media_types: tuple[str, ...]) -> Sequence[str]:
    return sorted(media_types, key=lambda media: media not in _NATURAL)


def _fields(call: Call, model: Model) -> SamplesBody:
    """What a path and its query ask for. Raises InvalidError."""
    given = query_fields(call.scope.get("query_string", b""))
    for name in given:
        if name not in _TAKEN:
            why = "is of POST: what caches may keep is not signed" if name == "signed" else "is not taken here"
            raise InvalidError(name[:SHOWN], "is in the path" if name in _IN_PATH else why)
    address = {"model": model.name, "version": model.version, "seed": integer(call.parameters["seed"])}
    return of_query({**given, **address, "deterministic": True, "signed": False})


def _is_parted(document: Document) -> bool:
    """Whether it is given in parts: what is written as it is, and may be held whole."""
    return document.size <= PARTED_BYTES and not any(name == b"content-encoding" for name, _ in document.headers)


def _says_enough(document: Document) -> bool:
    """Whether the headers say its length before it is made; and pictures are read whole."""
    return any(
        name == b"content-length" or (name == b"content-type" and value.startswith(b"image/"))
        for name, value in document.headers
    )


def _understood(fields: SamplesBody, asked: Asked) -> tuple[Body[SamplesBody], Understand[SamplesBody]]:
    """What is understood already, as the handler takes it."""

    async def body(_share: Share) -> SamplesBody:
        return fields

    def understand(_model: Model, _fields: SamplesBody) -> Steps[Asked]:
        yield from ()
        return asked

    return body, understand


def _tag(model: Model, asked: Asked, fields: SamplesBody) -> bytes:
    """A strong entity tag: of everything that an answer's bytes depend on, without having made it."""
    request = asked.request
    label = None if request.labels is None else int(request.labels[0])
    condition = None if request.conditions is None else request.conditions[0].tobytes()
    rows = request.seed, request.offset, request.n, request.truncation, label, condition, fields.dtype, fields.address
    engine = model.engine
    digest = _of_maker(model.name, model.version, model.producer, engine.provider, engine.runtime_version).copy()
    digest.update(b"%r" % (rows,))
    for name, value in asked.document.headers:
        digest.update(b"\n%b:%b" % (name, value))
    return b'"%b"' % digest.hexdigest().encode()


@lru_cache
def _of_maker(*maker: str) -> blake2b:
    return blake2b(repr((__version__, *maker)).encode(), digest_size=16)


def _address(request: RowsRequest) -> Headers:
    return [(b"latentserve-seed", b"%d" % request.seed), (b"latentserve-offset", b"%d" % request.offset)]
