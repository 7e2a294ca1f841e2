"""A request for samples: find the model, ask its sampler, write the answer in the media type asked for, count it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable
from concurrent.futures import ThreadPoolExecutor

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive

from latentserve.service.encoding.audio import most_samples
from latentserve.service.encoding.documents import JSON, PNG, WAV, WEBP, Document, Json, make_document, media_types
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.errors import DeadlineError, InvalidError, LatentserveError, TooLargeError
from latentserve.service.http.body import SamplesBody, rows_request
from latentserve.service.http.negotiation import negotiate
from latentserve.service.http.problems import problem
from latentserve.service.http.responses import StreamedResponse, WholeResponse
from latentserve.service.http.waiting import Waiting
from latentserve.service.models import Model, Models
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.sampler import Samples, Slice
from latentserve.service.sampling.scheduler import Job
from latentserve.service.settings import Settings
from latentserve.service.watching import metrics

SHEET_LIMIT = 4096  # images on one contact sheet

_PULSE_SECONDS = 0.25
_CONTROL_SECONDS = 60.0
_CLIENT_GONE = 499  # nobody reads it; it is counted
_REASONS = {413: "too_large", 422: "invalid", 429: "queue_full", 503: "not_ready", 504: "deadline"}


class SamplesHandler:
    """Answers requests for samples, from every protocol. `models` is set once they are loaded."""

    def __init__(self, settings: Settings) -> None:
        self.models = Models([], settings)
        self._settings = settings
        self._inflight = 0
        self._waiting = Waiting(settings.deadline_seconds)
        # Encoding a picture takes longer than everything else on the event loop together.
        self._encoder = ThreadPoolExecutor(1, thread_name_prefix="encoder")

    async def pulse(self) -> None:
        """Keep the metrics up to date, look at who waits, and draw control samples, until cancelled."""
        due = time.monotonic() + _CONTROL_SECONDS
        drawing: set[asyncio.Task[None]] = set()
        while True:
            if time.monotonic() > due:
                due = time.monotonic() + _CONTROL_SECONDS
                drawing = {asyncio.create_task(model.draw_control()) for model in self.models if model.fault is None}
            self.update_metrics()
            self._waiting.look()
            await asyncio.sleep(_PULSE_SECONDS)
            drawing = {task for task in drawing if not task.done()}

    def update_metrics(self) -> None:
        """Say how much is under way in this worker, and what was done."""
        metrics.INFLIGHT.set(self._inflight)
        for model in self.models:
            model.metrics.queue_rows.set(model.sampler.queued_rows)
            model.metrics.flush()

    async def respond(
        self, route: str, body: Awaitable[SamplesBody], accept: str | None, receive: Receive | None = None
    ) -> Response:
        """Answer one request for samples, whatever becomes of it, and count it under `route`.

        `receive` tells of a client that goes while it waits; its rows then leave the queue.
        """
        began = time.perf_counter()
        self._inflight += 1
        model: Model | None = None
        held = 0  # rows in memory until the answer is sent

        def finish(status: int) -> None:
            self._inflight -= 1
            if model is None:
                metrics.count_unrouted(route, status)
            else:
                model.sampler.release(held)
                model.metrics.count_request(route, status, time.perf_counter() - began)

        try:
            fields = await body
            model = self.models.find(fields.model, fields.version)
            model.require_ready()
            media, wanted = self._understand(model, fields, accept)
            document = _document(model, wanted, media, fields)
            if document.dtype == "uint8" and "sample_uint8" in model.engine.outputs:
                wanted.output = "sample_uint8"
            headers = [*model.headers, *document.headers]
            if wanted.latents is None:
                headers.append((b"latentserve-seed", b"%d" % wanted.seed))
            if wanted.n > model.sampler.slice_rows:
                rows = model.sampler.stream(wanted)
                first = await self._first(rows)  # what is refused is refused before the first byte
                return StreamedResponse(headers, self._write(model, document, first, rows), lambda: finish(200))
            job = model.sampler.submit(wanted)
            held = wanted.n
            part = await self._collect(model, job, receive)
            content = await self._encode(model, document, part)
            return WholeResponse(headers, content, lambda: finish(200))
        except LatentserveError as error:
            failed = problem(error)
            if model is not None:
                failed.raw_headers += model.headers
            if error.status in _REASONS:
                metrics.REJECTED.labels(reason=_REASONS[error.status]).inc()
            finish(error.status)
            return failed
        except ClientDisconnect:
            finish(_CLIENT_GONE)
            return Response(status_code=_CLIENT_GONE)
        except BaseException:
            finish(500)
            raise

    def _understand(self, model: Model, body: SamplesBody, accept: str | None) -> tuple[str, RowsRequest]:
        """The media type and the rows asked for. Raises NotAcceptableError, InvalidError, TooLargeError."""
        spec = model.bundle.manifest.sample
        media = negotiate(accept, media_types(spec))
        wanted = rows_request(body, model.bundle.manifest, self._settings.max_n)
        if body.dtype == "uint8" and spec.value_range is None:
            raise InvalidError("dtype", "uint8 needs a value_range, which this model's samples do not have")
        if media in (PNG, WEBP) and wanted.n > SHEET_LIMIT:
            raise TooLargeError(f"n: {wanted.n} images were asked for; a contact sheet holds {SHEET_LIMIT}")
        if media == WAV and wanted.n > most_samples(spec):
            raise TooLargeError(f"n: {wanted.n} samples were asked for; a WAV file holds {most_samples(spec)} of them")
        return media, wanted

    async def _first(self, rows: AsyncGenerator[Samples]) -> Samples:
        try:
            return await asyncio.wait_for(anext(rows), self._settings.deadline_seconds)
        except TimeoutError:
            raise DeadlineError(f"no row was made within {self._settings.deadline_seconds:g} s") from None

    async def _collect(self, model: Model, job: Job[Slice], receive: Receive | None) -> Samples:
        """The rows of a submitted job. Raises DeadlineError, and ClientDisconnect where the client has gone first."""
        future = job.payload.future
        self._waiting.add(future, receive)
        try:
            part = await model.sampler.collect(job)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if future.cancelled() and task is not None and not task.cancelling():
                raise ClientDisconnect from None
            raise
        finally:
            self._waiting.remove(future)
        model.metrics.queue_seconds.observe(part.queue_seconds)
        return part

    async def _encode(self, model: Model, document: Document, part: Samples) -> bytes:
        """A small answer, whole."""
        began = time.perf_counter()
        if document.cheap:
            content = _whole(document, part)
        else:
            content = await asyncio.get_running_loop().run_in_executor(self._encoder, _whole, document, part)
        model.metrics.encode_seconds.observe(time.perf_counter() - began)
        return content

    async def _write(
        self, model: Model, document: Document, first: Samples, rest: AsyncGenerator[Samples]
    ) -> AsyncGenerator[bytes]:
        """A large answer, slice by slice."""
        loop = asyncio.get_running_loop()
        seconds = 0.0

        async def write(part: Samples) -> bytes:
            nonlocal seconds
            began = time.perf_counter()
            chunk = await loop.run_in_executor(self._encoder, document.rows, part.samples, part.labels)
            seconds += time.perf_counter() - began
            return chunk

        try:
            model.metrics.queue_seconds.observe(first.queue_seconds)
            yield document.opening()
            yield await write(first)
            async for part in rest:
                yield await write(part)
            yield await loop.run_in_executor(self._encoder, document.closing)
            model.metrics.encode_seconds.observe(seconds)
        finally:
            await rest.aclose()


def _document(model: Model, wanted: RowsRequest, media: str, body: SamplesBody) -> Document:
    """The answer to be written."""
    spec = model.bundle.manifest.sample
    seed = wanted.seed if wanted.latents is None else None
    provenance = Provenance(model.name, model.version, seed, wanted.offset)
    if media != JSON:
        return make_document(media, wanted.n, spec, provenance, body.dtype)
    fields: dict[str, object] = {"model": model.name, "version": model.version, "n": wanted.n}
    if seed is not None:
        fields |= {"seed": seed, "offset": wanted.offset, "truncation": wanted.truncation}
    return Json(fields, spec, provenance)


def _whole(document: Document, part: Samples) -> bytes:
    return document.opening() + document.rows(part.samples, part.labels) + document.closing()
