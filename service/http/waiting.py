"""Requests that wait for the engine: the ones whose client has gone, and the ones that have waited for too long."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from starlette.types import Receive

from latentserve.service.errors import DeadlineError
from latentserve.service.sampling.jobs import Job
from latentserve.service.sampling.sampler import Slice

_MANY_ROWS = 16


class Waiting:
    """Looks at the waiting requests now and then: a timer and a listener for each would cost more than most requests.

    A client is listened to from the second look on, so a request that is answered at once never has a listener; one of
    many rows is listened to at once: they should not be made for nobody.
    """

    def __init__(self, deadline_seconds: float) -> None:
        self._deadline_seconds = deadline_seconds
        self._receives: dict[Job[Slice], Receive] = {}
        self._seen: set[Job[Slice]] = set()  # in the last look
        self._listeners: dict[Job[Slice], asyncio.Task[None]] = {}

    def add(self, job: Job[Slice], receive: Receive) -> None:
        """From now on: a client that goes cancels the job's future, a wait beyond the deadline since the job was queued
        gives it a DeadlineError."""
        self._receives[job] = receive
        if job.rows > _MANY_ROWS:
            self._listen(job, receive)

    def remove(self, job: Job[Slice]) -> None:
        """The wait is over."""
        del self._receives[job]
        if self._listeners and (listener := self._listeners.pop(job, None)) is not None:
            listener.cancel()

    def look(self) -> None:
        """Look at everybody who waits."""
        now = time.perf_counter()
        for job, receive in self._receives.items():
            future = job.payload.future
            if future.done():
                continue
            if now - job.enqueued > self._deadline_seconds:
                future.set_exception(DeadlineError(f"no row was made within {self._deadline_seconds:g} s"))
            elif job in self._seen and job not in self._listeners:
                self._listen(job, receive)
        self._seen = set(self._receives)

    def _listen(self, job: Job[Slice], receive: Receive) -> None:
        self._listeners[job] = asyncio.create_task(_cancel_on_disconnect(job.payload.future, receive))


async def _cancel_on_disconnect(future: asyncio.Future[Any], receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    future.cancel()
