"""An application behind ours that is made when somebody first asks something of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from starlette.types import ASGIApp, Receive, Scope, Send

from latentserve.service.host.lifespan import lifespan


class Deferred:
    """An ASGI application in another's place. It is made on a thread, for that may be an import that takes seconds, and
    started before it is asked; where that fails the request fails, and the next one tries again."""

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._made: ASGIApp | None = None
        self._making = asyncio.Lock()
        self._running = AsyncExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or live for as long as the process does. Raises what making or starting it raises."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if self._made is None:
            await self._start()
        await self._made(scope, receive, send)  # type: ignore[misc]

    async def _start(self) -> None:
        async with self._making:
            if self._made is None:
                made = await asyncio.to_thread(self._make)
                await self._running.enter_async_context(lifespan(made))
                self._made = made

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._running.aclose()
        await send({"type": "lifespan.shutdown.complete"})
