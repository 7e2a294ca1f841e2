"""A worker: serves the application over the connections that its supervisor passes to it.

`python -P -m latentserve.service.host.worker DESCRIPTOR`: of the socket whose other end is the supervisor's.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import select
import signal
import socket
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import uvloop
from starlette.types import ASGIApp

from latentserve.service import logs
from latentserve.service.errors import LatentserveError, is_shortage, one_line
from latentserve.service.host.certificate import Certificate
from latentserve.service.host.connections import Connections
from latentserve.service.host.group import Group, Health
from latentserve.service.host.lifespan import lifespan
from latentserve.service.host.limits import Limits
from latentserve.service.host.passing import (
    Channel,
    Close,
    Failed,
    Give,
    Given,
    Leave,
    Received,
    Report,
    State,
    Take,
    Took,
    TurnedAway,
    Work,
)
from latentserve.service.host.process import STOP_SIGNALS
from latentserve.service.thread_pool import thread_pool

_REPORT_SECONDS = 0.25
_CHANGED_SECONDS = 0.02
_SWEEP_SECONDS = 0.5
_SIGTERM_SECONDS = 1.0  # a service manager sends it to every process: the supervisor says then what is to be done
_BESIDE = 4  # threads of what is done beside the event loop now and then, such as reading a body that is compressed
_PR_SET_PDEATHSIG = 1


class Worker:
    """Serves an application that has started, until it may leave. Made on a running event loop."""

    def __init__(self, channel: Channel, work: Work, group: Group, app: ASGIApp, state: dict[str, Any]) -> None:
        self._channel = channel
        self._work = work
        self._group = group
        self._certificate = _certificate(work)
        self._connections = Connections(
            app,
            Limits(**work.limits),
            root_path=work.root_path,
            tls=None if self._certificate is None else self._certificate.context,
            state=state,
            refused=lambda refused, client: group.refused(refused, client),
            changed=self._count,
            given=lambda sock: self._give([sock]),
        )
        self._loop = asyncio.get_running_loop()
        self._leave: asyncio.Future[Leave] = self._loop.create_future()
        self._adopting: set[asyncio.Task[None]] = set()
        self._taken = 0
        self._untold: list[socket.socket] = []  # taken, and the supervisor does not know yet
        self._leaving = False
        self._report_soon: asyncio.TimerHandle | None = None

    async def serve(self) -> None:
        """Serve."""
        self._loop.add_signal_handler(signal.SIGTERM, self._loop.call_later, _SIGTERM_SECONDS, self._end)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        self._loop.add_reader(self._channel, self._hear)
        beat = self._loop.create_task(self._beat())
        leave = await self._leave
        try:
            async with asyncio.timeout(leave.seconds):
                await self._let_go(leave)
        except TimeoutError:
            pass
        self._connections.abort()
        beat.cancel()
        self._loop.remove_reader(self._channel)

    async def _let_go(self, leave: Leave) -> None:
        """Return when there are no connections any more."""
        if not leave.give:
            self._connections.drain()
        closed = self._loop.create_task(self._connections.closed())
        while not closed.done():
            if leave.give:
                self._give(self._connections.give_away(self._connections.count))
            await asyncio.wait([closed], timeout=_SWEEP_SECONDS)

    def _end(self) -> None:
        """Somebody has sent SIGTERM to this worker alone: another will take its place."""
        self._leaving = not self._group.draining

    async def _beat(self) -> None:
        """Say how this worker is, and end what is overdue, again and again."""
        swept = 0.0
        while True:
            self._report()
            self._take()
            if time.monotonic() - swept >= _SWEEP_SECONDS:
                swept = time.monotonic()
                self._connections.sweep()
                if self._certificate is not None:
                    self._certificate.look()
            await asyncio.sleep(_REPORT_SECONDS)

    def _report(self) -> None:
        self._report_soon = None
        try:
            health = self._group.examine()
        except Exception as error:
            health = Health(ready=False, fault=f"its state cannot be known: {one_line(error)}")
        self._channel.send(
            Report(
                ready=health.ready,
                fault=health.fault,
                leaving=self._leaving,
                taken=self._taken,
                connections=self._connections.count,
                idle=self._connections.idle,
                before=self._connections.before,
            )
        )

    def _count(self) -> None:
        """There are more or fewer connections: say so soon, once for many."""
        self._group.connections = self._connections.count
        if self._report_soon is None:
            self._report_soon = self._loop.call_later(_CHANGED_SECONDS, self._report)

    def _hear(self) -> None:
        """Do what the supervisor says."""
        try:
            while (received := self._channel.receive()) is not None:
                self._do(received)
        except EOFError:  # it is no more
            os.kill(os.getpid(), signal.SIGKILL)

    def _do(self, received: Received) -> None:
        match received.message:
            case Take():
                self._taken += len(received.sockets)
                self._untold += received.sockets
                self._take()
            case Give(most):
                self._give(self._connections.give_away(most))
            case Close(most):
                self._connections.close_idle(most)
            case State(others, draining):
                self._group.others = others
                if draining and not self._group.draining:
                    self._group.draining = True
                    self._connections.drain()
                    self._report()
            case TurnedAway(clients):
                self._group.turned_away(clients)
            case Leave() as leave:
                if not self._leave.done():
                    self._leave.set_result(leave)

    def _take(self) -> None:
        """Begin with what was passed, once the supervisor knows that nobody else can."""
        if self._untold and self._channel.send(Took(self._taken)):
            for sock in self._untold:
                self._adopt(sock)
            self._untold.clear()

    def _adopt(self, sock: socket.socket) -> None:
        task = self._loop.create_task(self._connections.adopt(sock))
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)

    def _give(self, sockets: list[socket.socket]) -> None:
        """Give connections back; those that cannot be are this worker's as before."""
        for sock in self._channel.send_sockets(Given(), sockets):
            self._adopt(sock)


def _certificate(work: Work) -> Certificate | None:
    if work.certificate is None:
        return None
    return Certificate(Path(work.certificate), None if work.key is None else Path(work.key), tell=work.index == 0)


async def run(channel: Channel, work: Work) -> int:
    """Start the application and serve it; the exit status."""
    logs.configure(work.log_format)
    group = Group(index=work.index, size=work.size)
    module, _, attribute = work.application.partition(":")
    try:
        # Of `asyncio.to_thread`.
        asyncio.get_running_loop().set_default_executor(thread_pool(_BESIDE, "beside"))
        gc.disable()  # next to nothing of what is imported is garbage, and looking for it takes a tenth of the time
        app = getattr(import_module(module), attribute)(group)
        gc.freeze()
        gc.enable()
        async with lifespan(app) as state:
            await Worker(channel, work, group, app, state).serve()
    except Exception as error:
        if not isinstance(error, LatentserveError) and not is_shortage(error):
            logs.event("worker-failed", logging.ERROR, error, pid=os.getpid())
        channel.send(Failed(one_line(error)))
        return 1
    return 0


def main() -> None:
    """Serve what the supervisor says; end with it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # also while this process loads, and hears nothing
    # A ^C is for the supervisor, which says what is to be done.
    of_groups = set(STOP_SIGNALS) - {signal.SIGTERM}
    for number in of_groups:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, of_groups)
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    select.select([channel], [], [])
    try:
        first = channel.receive()
    except EOFError:
        sys.exit(1)
    if first is None or not isinstance(first.message, Work):
        sys.exit(2)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if status := runner.run(run(channel, first.message)):
            logs.flush()
            os._exit(status)  # where it could not start, it may not be able to close what there is either
    sys.exit(0)


if __name__ == "__main__":
    main()
