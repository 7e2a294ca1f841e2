"""Requests that wait for the engine, and the clients among them that have gone."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Receive

_PATIENCE_ROUNDS = 1  # a request that is answered before the second round is never looked at


class Waiting:
    """Knows each waiting request's `receive`, and asks it for a disconnect only if the wait is long.

    A listening task for every request would cost more than most requests do.
    """

    def __init__(self) -> None:
        self._entries: dict[asyncio.Future[Any], tuple[Receive, int]] = {}
        self._listeners: dict[asyncio.Future[Any], asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, future: asyncio.Future[Any], receive: Receive) -> None:
        """Cancel `future` if the client goes before `remove` is called."""
        self._entries[future] = (receive, 0)

    def remove(self, future: asyncio.Future[Any]) -> None:
        """The wait is over."""
        del self._entries[future]
        if self._listeners and (listener := self._listeners.pop(future, None)) is not None:
            listener.cancel()

    def sweep(self) -> None:
        """Listen to those who have waited for a whole round. To be called now and then."""
        for future, (receive, rounds) in self._entries.items():
            if rounds == _PATIENCE_ROUNDS and not future.done():
                self._listeners[future] = asyncio.create_task(_cancel_on_disconnect(future, receive))
            self._entries[future] = (receive, rounds + 1)


async def _cancel_on_disconnect(future: asyncio.Future[Any], receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    future.cancel()
