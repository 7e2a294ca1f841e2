"""Answers that are large, that cost, and that are not read."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from benchmarks.serving.edges.bundles import POSTER
from benchmarks.serving.edges.corpus.hostile import (
    Ends,
    Target,
    again,
    at_once,
    exchange,
    hostile,
    in_turn,
    read,
    samples,
    unread,
)
from latentserve.service.benching.requests import RAW, get

_JSON, _PNG, _WEBP, _CSV = "application/json", "image/png", "image/webp", "text/csv"
_READERS = 120
_LARGE = samples(model="posters", n=round(8.3e6 / (4 * POSTER)), seed=1)  # 8.3 MB
_MOST_POSTERS = 225  # 15 x 15 of them, with what is between, are 15 million pixels
_MOST_IN_WEBP = 56  # 7 x 8: WebP has a fourth of the pixels
_MILLION = 1_000_000


@hostile("let go", "waits", "429", "503")
async def answers_never_read(target: Target) -> Ends:
    """120 readers of 8.3 MB who take nothing."""
    return await at_once(_READERS, lambda: unread(target, _LARGE))


@hostile("let go", "waits", "429", "503")
async def answers_read_by_the_byte(target: Target) -> Ends:
    """120 readers of 8.3 MB who take a byte a second."""
    return await at_once(_READERS, lambda: unread(target, _LARGE, every=1.0))


@hostile("200")
async def answers_read_steadily(target: Target) -> Ends:
    """20 readers of 8.3 MB who take 1 MB a second: not hostile, and not let go."""
    return await at_once(20, lambda: read(target, _LARGE, 1 << 20))


@hostile("let go", "waits", "429", "503")
async def streams_never_read(target: Target) -> Ends:
    """40 readers of a million rows who take nothing."""
    return await at_once(40, lambda: unread(target, samples(model="showers", n=_MILLION, seed=2)))


@hostile("200")
async def streams_given_up(target: Target) -> Ends:
    """A million rows, given up after the head, by 50 clients, of each kind."""
    requests = [
        samples(accept, model=model, n=_MILLION, seed=3)
        for model, accept in (
            ("digits", RAW),
            ("showers", RAW),
            ("showers", _CSV),
            ("showers", _JSON),
            ("posters", RAW),
        )
    ]
    places = iter(range(1 << 30))
    return await again(target, 50, lambda: exchange(target, requests[next(places) % len(requests)]))


@hostile("gone")
async def requests_given_up(target: Target) -> Ends:
    """A request for 100 rows, and gone before the answer, by 20 clients."""

    async def one() -> str:
        await exchange(target, samples(model="digits", n=100, seed=4), 0.02)
        return "gone"

    return await again(target, 20, one)


@hostile("200", "429")  # together they are more than may be unsent
async def resets_within_answers(target: Target) -> Ends:
    """8.3 MB, reset after the first bytes, by 50 clients."""
    return await again(target, 50, lambda: exchange(target, _LARGE))


@hostile("200")
async def streams_read(target: Target) -> Ends:
    """A million rows as bytes, and as CSV, taken as fast as they come, by two clients each."""
    raw = samples(model="showers", n=_MILLION, seed=5)
    csv = samples(_CSV, model="showers", n=_MILLION, seed=5)
    one, other = await asyncio.gather(*(at_once(2, partial(read, target, request)) for request in (raw, csv)))
    return one + other


@hostile("200")
async def sheets_at_the_limit(target: Target) -> Ends:
    """Contact sheets of 15 million pixels, by two clients."""
    request = samples(_PNG, model="posters", n=_MOST_POSTERS, seed=6)
    return await again(target, 2, lambda: exchange(target, request))


@hostile("413")
async def sheets_beyond_the_limit(target: Target) -> Ends:
    """Contact sheets of 270 million pixels, by two clients."""
    request = samples(_PNG, model="posters", n=4096, seed=6)
    return await again(target, 2, lambda: exchange(target, request))


@hostile("200", "silence")
async def webp_at_the_limit(target: Target) -> Ends:
    """Contact sheets of 3.7 million pixels as WebP, by two clients."""
    request = samples(_WEBP, model="posters", n=_MOST_IN_WEBP, seed=6)
    return await at_once(2, lambda: exchange(target, request))


@hostile("406", "413", "422")
async def webp_too_wide(target: Target) -> Ends:
    """A picture of 20,000 pixels a line."""
    return await in_turn(target, [samples(_WEBP, model="strips", n=1), samples(_WEBP, model="strips", n=9)], right=())


@hostile("200", "silence")
async def pictures_in_json(target: Target) -> Ends:
    """2,000 pictures in JSON, and 20 large ones, by two clients each."""
    small, large = (samples(_JSON, model=model, n=n, seed=7) for model, n in (("digits", 2000), ("posters", 20)))
    places = iter(range(1 << 30))
    return await again(target, 4, lambda: exchange(target, (small, large)[next(places) % 2]))


@hostile("200", "silence", "429", "503", "504")
async def queue_filled(target: Target) -> Ends:
    """300 requests for 250 rows each, all at once: more than the queue takes."""
    end = time.monotonic() + target.seconds
    return await at_once(
        300, lambda: exchange(target, samples(model="digits", n=250, seed=8), max(0.1, end - time.monotonic()))
    )


@hostile("200")
async def metrics_by_the_hundred(target: Target) -> Ends:
    """100 readers of /metrics."""
    return await again(target, 100, lambda: read(target, get("/metrics", "*/*")))


@hostile("200", "307", "404")
async def pages_by_the_hundred(target: Target) -> Ends:
    """100 readers of the pages and documents of the server."""
    paths = ("/openapi.json", "/ui", "/", "/bento", "/v1/models", "/v1/drift", "/readyz", "/docs.json", "/schema.json")
    places = iter(range(1 << 30))
    return await again(target, 100, lambda: exchange(target, get(paths[next(places) % len(paths)], "*/*")))
