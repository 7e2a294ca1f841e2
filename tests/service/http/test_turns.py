"""Turns: work in pieces, and nobody behind another's whole work."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentserve.service.http import turns
from latentserve.service.http.turns import PIECE_BYTES, Turns

TURNS = Turns(1, "test")


async def made(work: Iterator[bytes | memoryview]) -> list[bytes | memoryview]:
    return [piece async for piece in TURNS.pieces(work)]


@given(pieces=st.lists(st.binary(max_size=4) | st.just(b"x" * PIECE_BYTES) | st.just(bytes(PIECE_BYTES - 1))))
def test_what_is_made_in_turns_is_the_work(pieces: list[bytes]) -> None:
    got = asyncio.run(made(iter(pieces)))
    assert b"".join(got) == b"".join(pieces)
    assert all(0 < len(piece) < 2 * PIECE_BYTES for piece in got)


def test_a_large_piece_is_not_copied() -> None:
    large = memoryview(bytes(PIECE_BYTES))
    assert [piece is large for piece in asyncio.run(made(iter([b"a", large, b"b"])))] == [False, True, False]


def test_short_work_does_not_wait_for_the_end_of_long_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """On one thread, by a clock that goes on by a millisecond a step."""
    done: list[str] = []
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(turns, "time", SimpleNamespace(perf_counter=lambda: clock.now))

    def steps(name: str, count: int) -> Iterator[bytes]:
        for _ in range(count):
            clock.now += 0.001
            yield b""
        done.append(name)

    async def together() -> None:
        await asyncio.gather(made(steps("long", 100)), made(steps("short", 2)), made(steps("shorter", 1)))

    asyncio.run(together())
    assert done[-1] == "long"
    assert len(done) == 3


def test_an_error_is_its_askers_own() -> None:
    def fails() -> Iterator[bytes]:
        yield b"a"
        raise ValueError("no")

    async def together() -> list[object]:
        return await asyncio.gather(made(fails()), made(iter([b"b"])), return_exceptions=True)

    failed, other = asyncio.run(together())
    assert isinstance(failed, ValueError)
    assert other == [b"b"]
