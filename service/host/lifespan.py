"""An application's start and end (ASGI's lifespan)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import ASGIApp, Message

from latentserve.service.errors import LatentserveError

_STARTED = "lifespan.startup.complete"


class StartError(LatentserveError):
    """The application says that it cannot start."""

    slug = "start"
    title = "The application cannot start"


@asynccontextmanager
async def lifespan(app: ASGIApp) -> AsyncIterator[dict[str, Any]]:
    """The application, started: its state, of which each request gets a copy. It is ended at the end.

    Raises StartError with what it says, or whatever it raises itself.
    """
    state: dict[str, Any] = {}
    told: asyncio.Queue[Message] = asyncio.Queue()
    said: asyncio.Queue[Message | None] = asyncio.Queue()

    async def run() -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
        try:
            await app(scope, told.get, said.put)
        finally:
            await said.put(None)

    task = asyncio.create_task(run())
    await told.put({"type": "lifespan.startup"})
    answer = await said.get()
    if answer is None:
        await task
        raise StartError("the application ended when it should have started")
    if answer["type"] != _STARTED:
        raise StartError(str(answer.get("message") or "the application says no reason"))
    try:
        yield state
    finally:
        await told.put({"type": "lifespan.shutdown"})
        await said.get()
        await task
