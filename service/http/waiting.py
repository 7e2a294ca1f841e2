"""Requests that wait for the engine: the ones whose client has gone, and the ones that have waited for too long."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive

from latentserve.service.errors import DeadlineError


@dataclass(slots=True)
class _Wait:
    receive: Receive | None
    began: float = field(default_factory=time.perf_counter)
    seen: bool = False
    listener: asyncio.Task[None] | None = None


class Waiting:
    """Looks at the waiting requests now and then: a timer and a listener for each would cost more than most requests.

    A client is listened to from the second look on, so a request that is answered at once never has a listener.
    """

    def __init__(self, deadline_seconds: float) -> None:
        self._deadline_seconds = deadline_seconds
        self._waits: dict[asyncio.Future[Any], _Wait] = {}

    def add(self, future: asyncio.Future[Any], receive: Receive | None) -> None:
        """From now on: a client that goes cancels `future`, a wait beyond the deadline gives it a DeadlineError."""
        self._waits[future] = _Wait(receive)

    def remove(self, future: asyncio.Future[Any]) -> None:
        """The wait is over."""
        wait = self._waits.pop(future)
        if wait.listener is not None:
            wait.listener.cancel()

    def look(self) -> None:
        """Look at everybody who waits."""
        now = time.perf_counter()
        for future, wait in self._waits.items():
            if future.done():
                continue
            if now - wait.began > self._deadline_seconds:
                future.set_exception(DeadlineError(f"no row was made within {self._deadline_seconds:g} s"))
            elif wait.seen and wait.listener is None and wait.receive is not None:
                wait.listener = asyncio.create_task(_cancel_on_disconnect(future, wait.receive))
            wait.seen = True


async def _cancel_on_disconnect(future: asyncio.Future[Any], receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    future.cancel()
