"""Work that is done for as long as its client is there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from latentserve.service.http.presence import while_there


def run(seconds: float | None, gone_after: float | None, late: Any = lambda: None, wait: float = 0.02) -> list[str]:
    """Work of so many seconds, None: without an end; what became of it."""
    done: list[str] = []

    async def work() -> str:
        try:
            await asyncio.sleep(3600 if seconds is None else seconds)
        except asyncio.CancelledError:
            done.append("given up")
            raise
        return "done"

    async def receive() -> dict[str, str]:
        await asyncio.sleep(3600 if gone_after is None else gone_after)
        return {"type": "http.disconnect"}

    async def ask() -> None:
        try:
            done.append(await while_there(receive, work(), wait, late))
        except (ClientDisconnect, TimeoutError) as error:
            done.append(type(error).__name__)

    asyncio.run(ask())
    return done


@pytest.mark.parametrize(
    ("seconds", "gone_after", "late", "found"),
    [
        (0, None, None, ["done"]),
        (0.05, None, None, ["done"]),
        (None, 0, None, ["given up", "ClientDisconnect"]),
        (None, 0.05, None, ["given up", "ClientDisconnect"]),
        (None, None, TimeoutError(), ["given up", "TimeoutError"]),
    ],
)
def test_it_is_done_or_given_up(
    seconds: float | None, gone_after: float | None, late: Exception | None, found: list[str]
) -> None:
    assert run(seconds, gone_after, lambda: late) == found
