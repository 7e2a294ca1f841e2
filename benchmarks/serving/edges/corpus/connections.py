"""Connections: by the thousand, half closed, come and gone."""

from __future__ import annotations

import asyncio
import resource

from benchmarks.serving.edges.corpus.hostile import (
    Ends,
    Target,
    again,
    at_once,
    connect,
    exchange,
    held,
    hostile,
    reset,
    samples,
)

_LIVE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


def _files() -> None:
    """As many open files as this process may have."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@hostile("silence", "408", "closed", prepare=_files)
async def connections_near_the_limit(target: Target) -> Ends:
    """9,500 of them, over which nothing is asked."""
    return await at_once(9500, lambda: held(target))


@hostile("silence", "408", "closed", "reset", "refused", "503", "503, closed", prepare=_files)
async def connections_beyond_the_limit(target: Target) -> Ends:
    """11,000 of them, over which nothing is asked."""
    return await at_once(11_000, lambda: held(target))


@hostile("200", "200, closed", "reset")
async def kept_and_silent(target: Target) -> Ends:
    """2,000 connections, each kept after one answer."""
    return await at_once(2000, lambda: held(target, _LIVE))


@hostile("gone")
async def come_and_gone(target: Target) -> Ends:
    """Connect and close, as fast as it goes, by 20 clients; every other one with a reset."""
    resets = iter(range(1 << 30))

    async def one() -> str:
        try:
            _, writer = await connect(target.port)
        except OSError:
            return "refused"
        if next(resets) % 2:
            reset(writer)
        else:
            writer.close()
        return "gone"

    return await again(target, 20, one)


@hostile("200, closed", "200")
async def half_closed_after_the_request(target: Target) -> Ends:
    """A good request, and no further one: its answer comes, over 20 connections at a time."""
    request = samples(model="digits", n=4, seed=1)
    short = Target(target.port, min(2.0, target.seconds))
    return await again(target, 20, lambda: held(short, request, half_closed=True))


@hostile("closed", "400", "400, closed")
async def half_closed_from_the_start(target: Target) -> Ends:
    """500 connections whose client says at once that it will say nothing, or half a head."""
    halves = await asyncio.gather(
        at_once(250, lambda: held(target, half_closed=True)),
        at_once(250, lambda: held(target, _LIVE[:-4], half_closed=True)),
    )
    return halves[0] + halves[1]


@hostile("200")
async def a_connection_for_each_request(target: Target) -> Ends:
    """Good requests over connections of their own, by 20 clients: careless, and no more."""
    return await again(target, 20, lambda: exchange(target, _LIVE))
