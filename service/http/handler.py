"""A request for samples, of whatever protocol: find the model, ask its sampler, write the document asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from latentserve.service.auditing.account import Account
from latentserve.service.encoding.document import Document, Piece
from latentserve.service.encoding.rows import Rows
from latentserve.service.errors import DeadlineError
from latentserve.service.http.body import SamplesBody, read_fields
from latentserve.service.http.call import Call
from latentserve.service.http.paid import Bill
from latentserve.service.http.problems import failure
from latentserve.service.http.responses import Headers, StreamedResponse, WholeResponse
from latentserve.service.http.row_headers import row_headers
from latentserve.service.http.searching import begin_search
from latentserve.service.http.turns import PIECE_BYTES, Turns
from latentserve.service.http.waiting import Waiting
from latentserve.service.models import Model, Models
from latentserve.service.sampling.choosing.choice import Choice
from latentserve.service.sampling.choosing.search import Search
from latentserve.service.sampling.jobs import Job
from latentserve.service.sampling.pieces import Steps, at_once
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.sampler import Slice
from latentserve.service.sampling.samples import Samples
from latentserve.service.sampling.unsent import Share
from latentserve.service.settings import Settings
from latentserve.service.watching.metrics import UNAUDITED

if TYPE_CHECKING:
    from latentserve.service.credentials.reading import Trust


class Fields(Protocol):
    """What a body says, of whatever protocol: of which model, and whether it takes long to be understood."""

    @property
    def model(self) -> str | None:
        """None: the only one."""

    @property
    def version(self) -> str | None:
        """None: the one that is served."""

    @property
    def long(self) -> bool:
        """Whether it is understood in turns."""


FieldsOf = TypeVar("FieldsOf", bound=Fields)

_HASHED_BYTES = 1 << 18  # of what a client sent for its rows: more take longer than a turn of the event loop may


class Asked(NamedTuple):
    """The rows that fields ask a model for, and the document that they are to fill.

    Where rows are chosen: which, and the document of so many of them, if they turn out to be fewer. `more`: what says
    which rows they are, beside the request, for the account.
    """

    request: RowsRequest
    document: Document
    choice: Choice | None = None
    of_fewer: Callable[[int], Document] | None = None
    more: Mapping[str, Any] | None = None


# Reads a body; while it arrives, its bytes are held.
Body = Callable[[Share], Awaitable[FieldsOf]]
# What a protocol makes of fields, in steps. Raises NotAcceptableError, InvalidError, TooLargeError.
Understand = Callable[[Model, FieldsOf], Steps[Asked]]


class SamplesHandler:
    """Answers requests for samples, from every protocol.

    `models` is set once they are loaded, with `account`, where one is kept, and `trust`, where signatures are believed;
    `inflight` requests are under way, and of those `waiting` wait for the engine; long bodies are read by `readers`.
    """

    def __init__(self, settings: Settings) -> None:
        self.models = Models([], settings)
        self.account: Account | None = None
        self.trust: Trust | None = None
        self._settings = settings
        self.inflight = 0
        self.waiting = Waiting(settings.deadline_seconds)
        self.readers = Turns(1, "reader")  # more would keep the interpreter from the event loop
        # Encoding a picture takes longer than everything else on the event loop together.
        self._encoders = Turns(settings.encoder_threads, "encoder")
        self._large_pictures = Turns(1, "picture")  # that cannot be written in pieces: one at a time, beside the others

    def read(self, call: Call, share: Share) -> Awaitable[SamplesBody]:
        """The fields of a call's body, as `body` of `respond`."""
        return read_fields(call, self._settings, share, self.readers)

    async def respond(self, call: Call, body: Body[FieldsOf], understand: Understand[FieldsOf]) -> Response:
        """Answer a call for samples, whatever becomes of it; the call is told its model.

        The rows of a client that goes while it waits leave the queue.
        """
        self.inflight += 1
        model: Model | None = None
        share = Share(self.models.unsent)
        held = 0  # rows in memory until the answer is sent
        streams = False
        search: Search | None = None
        bill = Bill(call)

        def release() -> None:
            self.inflight -= 1
            share.give()
            bill.end()
            if call.sent is not None and streams:
                call.sent.end()
            if model is not None:
                model.sampler.release(held)
                if search is not None:
                    model.metrics.count_searched(search.made, search.found)

        try:
            fields = await body(share)
            model = call.model = self.models.find(fields.model, fields.version)
            model.require_ready()
            if self.account is not None:
                self.account.require()
            steps = understand(model, fields)
            asked = at_once(steps) if not fields.long else await self.readers.result(steps)
            del fields, steps  # and the body with them
            request, document = asked.request, asked.document
            bill.begin(request.n if asked.choice is None else asked.choice.n, known=asked.choice is None)
            if asked.choice is not None:
                search = Search(asked.choice, model.bundle.manifest, request.offset)
                headers, chunks = await self._search(call, model, asked, search, share, bill)
                streams = True
                return StreamedResponse(headers, chunks, release, self._settings.answer_seconds)
            headers = _headers(model, request, document)
            whole = document.size <= PIECE_BYTES
            share.change(request.held + document.held + (document.size if whole else PIECE_BYTES))
            if request.n > model.sampler.slice_rows:
                rows = bill.paced(model.sampler.stream(request))
                asked_at = time.perf_counter()
                first = await self._first(rows)  # what is refused is refused before the first byte
                _note_first(call, asked_at, first)
                model.metrics.queue_seconds.observe(first.queue_seconds)
                await self.tell(call, model, asked, request.n)
                chunks = self._write(call, model, document, first, rows)
            else:
                if bill.owed:
                    await bill.pay()
                job = model.sampler.submit(request)
                held = request.n
                part = await self._collect(call, model, job)
                if not document.has_room:
                    headers += _row_headers(model, part)
                if whole:
                    content = await self._encode(call, model, document, part)
                    await self.tell(call, model, asked, request.n)
                    return WholeResponse(headers, content, release)
                await self.tell(call, model, asked, request.n)
                chunks = self._write(call, model, document, part)
            streams = True
            return StreamedResponse(headers, chunks, release, self._settings.answer_seconds)
        except Exception as error:
            release()
            return failure(call, error, [] if model is None else model.headers)
        except BaseException:
            release()
            raise

    async def _search(
        self, call: Call, model: Model, asked: Asked, search: Search, share: Share, bill: Bill
    ) -> tuple[Headers, AsyncGenerator[Piece]]:
        """Headers and body of an answer of chosen rows."""
        request, document = asked.request, asked.document
        share.change(document.held + PIECE_BYTES)
        seconds = self._settings.deadline_seconds
        asked_at = time.perf_counter()
        found = await begin_search(call, model, request, search, share, seconds, bill.paced)
        _note_first(call, asked_at, found.first)
        if found.ended and search.found < search.n and asked.of_fewer is not None:
            document = asked.of_fewer(search.found)
        model.metrics.queue_seconds.observe(found.first.queue_seconds)
        headers = [*_headers(model, request, document), *found.headers]
        if not document.has_room and search.found == len(found.first.samples):
            headers += _row_headers(model, found.first)
        await self.tell(call, model, asked, search.found if found.ended else search.n)
        return headers, self._write(call, model, document, found.first, found.rest, search)

    async def tell(self, call: Call, model: Model, asked: Asked, n: int) -> None:
        """Say in the account, where one is kept, that n rows are about to be sent. Raises UnauditedError."""
        if self.account is None:
            return
        request, media = asked.request, dict(asked.document.headers).get(b"content-type", b"").decode("latin-1")
        key = None if call.grant is None else call.grant.key.id
        tell = partial(
            self.account.sent,
            call.id.decode(), key, call.route, model.bundle.manifest, request, n, media, asked.more,
        )  # fmt: skip
        call.sent = await asyncio.to_thread(tell) if request.held > _HASHED_BYTES else tell()
        if call.sent is None:
            UNAUDITED.inc()

    async def _first(self, rows: AsyncGenerator[Samples]) -> Samples:
        try:
            return await asyncio.wait_for(anext(rows), self._settings.deadline_seconds)
        except TimeoutError:
            raise DeadlineError(f"no row was made within {self._settings.deadline_seconds:g} s") from None

    async def _collect(self, call: Call, model: Model, job: Job[Slice]) -> Samples:
        """The rows of a submitted job. Raises DeadlineError, and ClientDisconnect where the client has gone first."""
        self.waiting.add(job, call.receive)
        try:
            part = await model.sampler.collect(job)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if job.payload.future.cancelled() and task is not None and not task.cancelling():
                raise ClientDisconnect from None
            raise
        finally:
            self.waiting.remove(job)
        model.metrics.queue_seconds.observe(part.queue_seconds)
        if call.trace is not None:
            call.trace.note("queue", job.enqueued, job.started)
            call.trace.note("engine", job.started, time.perf_counter())
        return part

    async def _encode(self, call: Call, model: Model, document: Document, part: Samples) -> bytes:
        """A small answer, whole."""
        began = time.perf_counter()
        pieces = chain(_begun(document, part), document.closing())
        if document.cheap:
            content = b"".join(pieces)
        else:
            content = b"".join([piece async for piece in self._turns(document).pieces(pieces)])
        ended = time.perf_counter()
        model.metrics.encode_seconds.observe(ended - began)
        if call.trace is not None:
            call.trace.note("encode", began, ended)
        return content

    async def _write(
        self,
        call: Call,
        model: Model,
        document: Document,
        part: Samples,
        rest: AsyncGenerator[Samples] | None = None,
        search: Search | None = None,
    ) -> AsyncGenerator[Piece]:
        """A large answer, in pieces: of this part of its rows, and of the others as they come, or are found."""
        turns = self._turns(document)
        seconds = 0.0

        async def written(pieces: Iterator[Piece]) -> AsyncGenerator[Piece]:
            nonlocal seconds
            began = time.perf_counter()
            async for piece in turns.pieces(pieces):
                seconds += time.perf_counter() - began
                yield piece
                began = time.perf_counter()

        sent, begun = call.sent, time.perf_counter()
        if sent is not None:
            sent.rows += len(part.samples)
        pieces = _begun(document, part)
        del part  # it is in memory until it is written, and no longer
        try:
            async for piece in written(pieces):
                yield piece
            if rest is not None:
                async for later in rest:
                    pieces = document.rows(_rows(later))
                    if sent is not None:
                        sent.rows += len(later.samples)
                    del later
                    async for piece in written(pieces):
                        yield piece
            if search is not None:
                document.conclude({"looked_at": search.looked_at, "next_offset": search.next_offset})
            async for piece in written(document.closing()):
                yield piece
            model.metrics.encode_seconds.observe(seconds)
            if call.trace is not None:
                call.trace.note("encode", begun, time.perf_counter())
        finally:
            if rest is not None:
                await rest.aclose()

    def _turns(self, document: Document) -> Turns:
        return self._large_pictures if document.in_one_go else self._encoders


def _note_first(call: Call, asked_at: float, first: Samples) -> None:
    """Of a large answer the time to its first rows is noted."""
    if call.trace is not None:
        made_from = asked_at + first.queue_seconds
        call.trace.note("queue", asked_at, made_from)
        call.trace.note("engine", made_from, max(made_from, time.perf_counter()))


def _headers(model: Model, request: RowsRequest, document: Document) -> Headers:
    headers = [*model.headers, *document.headers]
    if request.seeded(model.bundle.manifest.latent):
        headers.append((b"latentserve-seed", b"%d" % request.seed))
        headers.append((b"latentserve-offset", b"%d" % request.offset))
    return headers


def _row_headers(model: Model, part: Samples) -> Headers:
    return row_headers(_rows(part), model.label_texts, model.bundle.manifest.condition_names)


def _begun(document: Document, part: Samples) -> Iterator[Piece]:
    return chain((document.opening(),), document.rows(_rows(part)))


def _rows(part: Samples) -> Rows:
    return Rows(part.samples, part.labels, part.conditions, part.numbers, part.scores)
