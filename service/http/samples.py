"""A request for samples: find the model, ask its sampler, write the answer in the media type asked for, count it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse

from service.encoding import arrays, images
from service.encoding.provenance import Provenance
from service.errors import (
    DeadlineError,
    InvalidError,
    LatentserveError,
    TooLargeError,
)
from service.http.body import SamplesBody, rows_request
from service.http.negotiation import negotiate
from service.http.problems import problem
from service.models import Model, Models
from service.sampling.request import RowsRequest
from service.sampling.sampler import SLICE_ROWS, Rows
from service.settings import Settings
from service.watching import metrics

JSON, PNG, WEBP = "application/json", "image/png", "image/webp"
NPY, RAW = "application/x-npy", "application/octet-stream"
SHEET_LIMIT = 4096  # images on one contact sheet

_CLIENT_GONE = 499  # nobody reads it; it is counted
_REASONS = {413: "too_large", 422: "invalid", 429: "queue_full", 503: "not_ready", 504: "deadline"}


class Samples:
    """Answers requests for samples, from every protocol. `models` is set once they are loaded."""

    def __init__(self, settings: Settings) -> None:
        self.models = Models([], settings)
        self._settings = settings
        # Encoding a picture takes longer than everything else on the event loop together.
        self._encoders = ThreadPoolExecutor(1, thread_name_prefix="encoder")

    async def respond(self, route: str, body: Awaitable[SamplesBody], accept: str | None) -> Response:
        """Answer one request for samples, whatever becomes of it, and count it under `route`."""
        began = time.perf_counter()
        metrics.INFLIGHT.inc()
        model: Model | None = None
        try:
            fields = await body
            model = self.models.find(fields.model, fields.version)
            model.require_ready()
            response = await self._answer(model, fields, accept)
        except LatentserveError as error:
            response = problem(error)
            if model is not None:
                response.headers.update(_headers(model, None))
            if error.status in _REASONS:
                metrics.REJECTED.labels(reason=_REASONS[error.status]).inc()
        except ClientDisconnect:
            response = Response(status_code=_CLIENT_GONE)
        except BaseException:
            metrics.INFLIGHT.dec()
            raise

        def done() -> None:
            metrics.INFLIGHT.dec()
            if model is not None:
                model.metrics.count_request(route, response.status_code, time.perf_counter() - began)
            else:
                metrics.count_unrouted(route, response.status_code)

        if isinstance(response, StreamingResponse):
            response.body_iterator = _then(response.body_iterator, done)
        else:
            done()
        return response

    async def _answer(self, model: Model, body: SamplesBody, accept: str | None) -> Response:
        """Rows as the client wants them. Raises LatentserveError before the first byte."""
        spec = model.bundle.manifest.sample
        offers = [JSON, PNG, WEBP, NPY, RAW] if spec.kind == "image" else [JSON, NPY, RAW]
        media = negotiate(accept, offers)
        wanted = rows_request(body, model.bundle.manifest, self._settings.max_n)
        if body.dtype == "uint8" and spec.value_range is None:
            raise InvalidError("dtype", "uint8 needs a value_range, which this model's samples do not have")
        if media in (PNG, WEBP) and wanted.n > SHEET_LIMIT:
            raise TooLargeError(f"n: {wanted.n} images were asked for; a contact sheet holds {SHEET_LIMIT}")
        rows = model.sampler.stream(wanted)
        try:
            first = await asyncio.wait_for(anext(rows), self._settings.deadline_seconds)
        except TimeoutError:
            raise DeadlineError(f"no row was made within {self._settings.deadline_seconds:g} s") from None
        model.metrics.queue_seconds.observe(first.queue_seconds)
        headers = _headers(model, wanted)
        if media in (PNG, WEBP):
            return await self._sheet(model, wanted, first, rows, media, headers)
        if media == JSON:
            chunks = self._json(model, wanted, first, rows)
        else:
            chunks = self._values(model, wanted, body, first, rows, media)
            size = wanted.n * (1 if body.dtype == "uint8" else 4)
            for axis in spec.shape:
                size *= axis
            shape = (wanted.n, *spec.shape)
            if media == NPY:
                size += len(arrays.npy_header(shape, body.dtype))
            else:
                headers["Latentserve-Shape"] = ",".join(map(str, shape))
                headers["Latentserve-Dtype"] = body.dtype
            headers["Content-Length"] = str(size)
        if wanted.n <= SLICE_ROWS:
            return Response(b"".join([chunk async for chunk in chunks]), 200, headers, media)
        return StreamingResponse(chunks, 200, headers, media)

    async def _encode(self, model: Model, encode: Callable[..., Any], *arguments: Any) -> Any:
        """Run an encoder off the event loop, and count its time."""
        began = time.perf_counter()
        encoded = await asyncio.get_running_loop().run_in_executor(self._encoders, encode, *arguments)
        model.metrics.encode_seconds.observe(time.perf_counter() - began)
        return encoded

    async def _sheet(
        self,
        model: Model,
        wanted: RowsRequest,
        first: Rows,
        rest: AsyncIterator[Rows],
        media: str,
        headers: dict[str, str],
    ) -> Response:
        value_range = model.bundle.manifest.sample.value_range or (-1.0, 1.0)
        parts = [images.to_uint8(first.samples, value_range)]
        parts += [images.to_uint8(part.samples, value_range) async for part in rest]
        content = await self._encode(model, _draw, parts, _provenance(model, wanted), media)
        return Response(content, 200, headers, media)

    async def _json(
        self, model: Model, wanted: RowsRequest, first: Rows, rest: AsyncIterator[Rows]
    ) -> AsyncIterator[bytes]:
        spec = model.bundle.manifest.sample
        head: dict[str, object] = {"model": model.name, "version": model.version, "n": wanted.n, "synthetic": True}
        if wanted.latents is None:
            head |= {"seed": wanted.seed, "offset": wanted.offset, "truncation": wanted.truncation}
        if spec.kind == "image":
            head["media_type"] = PNG
        if spec.columns is not None:
            head["columns"] = spec.columns
        # The samples come last and one slice after the other, so the document is opened here and closed below.
        yield orjson.dumps(head)[:-1] + b',"samples":['
        labels: list[int] = []
        row = 0
        async for part in _chain(first, rest):
            made_by = Provenance(model.name, model.version, _seed(wanted), wanted.offset + row)
            values = await self._encode(model, _json_slice, part, spec, made_by)
            yield (b"," if row else b"") + values
            row += len(part.samples)
            if part.labels is not None:
                labels += part.labels.tolist()
        if model.bundle.manifest.labels is not None:
            yield b'],"labels":' + orjson.dumps(labels) + b"}"
        else:
            yield b"]}"

    async def _values(
        self, model: Model, wanted: RowsRequest, body: SamplesBody, first: Rows, rest: AsyncIterator[Rows], media: str
    ) -> AsyncIterator[bytes]:
        spec = model.bundle.manifest.sample
        if media == NPY:
            yield arrays.npy_header((wanted.n, *spec.shape), body.dtype)
        async for part in _chain(first, rest):
            began = time.perf_counter()
            values = arrays.raw(part.samples, spec, body.dtype)
            model.metrics.encode_seconds.observe(time.perf_counter() - began)
            yield values


async def _then(chunks: AsyncIterable[Any], done: Callable[[], None]) -> AsyncIterator[Any]:
    """The same chunks, and `done()` after the last one or when the reader has gone."""
    try:
        async for chunk in chunks:
            yield chunk
    finally:
        done()


async def _chain(first: Rows, rest: AsyncIterator[Rows]) -> AsyncIterator[Rows]:
    yield first
    async for part in rest:
        yield part


def _draw(parts: list[Any], made_by: Provenance, media: str) -> bytes:
    pictures = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return images.encode(images.contact_sheet(pictures), made_by, "webp" if media == WEBP else "png")


def _json_slice(part: Rows, spec: Any, made_by: Provenance) -> bytes:
    """The samples of a slice as the inside of a JSON array."""
    return orjson.dumps(arrays.json_values(part.samples, spec, made_by))[1:-1]


def _seed(wanted: RowsRequest) -> int | None:
    return wanted.seed if wanted.latents is None else None


def _provenance(model: Model, wanted: RowsRequest) -> Provenance:
    return Provenance(model.name, model.version, _seed(wanted), wanted.offset)


def _headers(model: Model, wanted: RowsRequest | None) -> dict[str, str]:
    headers = {"Latentserve-Model": model.name, "Latentserve-Version": model.version}
    if wanted is not None and wanted.latents is None:
        headers["Latentserve-Seed"] = str(wanted.seed)
    return headers
