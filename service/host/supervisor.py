"""The parent of the workers: it accepts connections and hands each to a worker, watches them, replaces them, and stops.

It serves nothing itself and loads nothing that could fail in its own process, so that it outlives what the workers do.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from latentserve.service import logs
from latentserve.service.errors import LatentserveError, one_line
from latentserve.service.host.acceptor import Acceptor
from latentserve.service.host.balance import fewest, surplus
from latentserve.service.host.limits import Limits
from latentserve.service.host.notify import notify, watched
from latentserve.service.host.passing import Close, Give, Leave, State, TurnedAway, Work
from latentserve.service.host.process import STOP_SIGNALS, WorkerProcess
from latentserve.service.host.refusing import refuse

_TICK_SECONDS = 0.1
_TICK_COUNTS = 1.0  # a process that was frozen, as its workers were, has not waited for them all the while
_BALANCE_SECONDS = 0.5
_HOLD_SECONDS = 10.0  # clients wait for so long where no worker is ready; then they are answered 503
_BACKOFF_SECONDS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # before a start, by those in a row that failed
_SHORT_LIFE_SECONDS = 10.0  # who lived no longer has failed to start
_GIVE_UP_SECONDS = 20.0
_GIVE_UP_STARTS = 3
_FAULTY_SECONDS = 5.0  # what a faulty worker has under way is seldom worth waiting for
_SILENT_SECONDS = 2.0  # a worker that says nothing for so long gets no connection that another can take
_ANSWER_SECONDS = 1.0  # for those who came last to read that the server stops
_SAME_SIGNAL_SECONDS = 0.1  # `timeout` and shells send one to a process, and to its group at the same time
# Others reopen their logs at the first two; the others would stop whoever writes to a terminal that is another's.
_PASSED_BY = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTOU, signal.SIGTTIN)
_END_SECONDS = 0.8  # for a worker to end when its time is over: what it still has then, nobody waits for


_warn = partial(logs.event, level=logging.WARNING)


class WorkersError(LatentserveError):
    """No worker can run."""

    slug = "workers"
    title = "No worker can run"


@dataclass(frozen=True)
class Plan:
    """What is to be served, and how.

    Attributes:
        application: `module:attribute` of a function that makes the application of its `Group`.
        workers: how many processes.
        limits: of each connection; `connections` is of all workers together.
        drain_seconds: time that answers under way get at the end; 0: none.
        hang_seconds: a worker whose event loop says nothing for so long is replaced.
        folder: an empty one, where the workers work.
        environment: of the worker of a place.
        address: where clients find it, for a line of the log.
        started: called whenever a worker is started, in its first place or in another's; OSError: it cannot be.
        certificate, key: files (PEM) of TLS; None: plain HTTP, or a key that is in the certificate's file.
        root_path: under which a proxy in front shows the server.
        descriptors: of open files, which workers inherit under the same numbers.
        log_format: of the workers' log.
    """

    application: str
    workers: int
    limits: Limits
    drain_seconds: float
    hang_seconds: float
    folder: Path
    environment: Callable[[int], Mapping[str, str]]
    address: str
    started: Callable[[], object] = lambda: None
    certificate: Path | None = None
    key: Path | None = None
    root_path: str = ""
    descriptors: Sequence[int] = ()
    log_format: Literal["text", "json"] = "text"


@dataclass
class _Place:
    """Of a worker: who is there, and who was."""

    index: int
    worker: WorkerProcess | None = None
    due: float = 0.0  # when the next is started, if there is none
    starts: int = 0
    failures: int = 0  # of starts, in a row
    up_since: float | None = None
    state: State | None = None  # as the worker was told
    crowded: bool = False  # it had too many connections the last time too
    asked: int = 0  # connections that it was asked to close since its last report


class Supervisor:
    """Runs the workers of a plan."""

    def __init__(self, plan: Plan, listeners: Sequence[socket.socket]) -> None:
        """`listeners` are bound; one that listens already is another's, who does so when this server has stopped."""
        self._plan = plan
        self._places = [_Place(index) for index in range(plan.workers)]
        self._acceptor = Acceptor(listeners, self._place)
        self._parked: deque[socket.socket] = deque()  # connections that no worker can be passed for now
        self._listening = self._closing = False
        self._ready_at = 0.0  # when a worker was ready, the last time
        self._stop_signals: list[signal.Signals] = []
        self._signalled = -_SAME_SIGNAL_SECONDS
        self._woken = asyncio.Event()
        self._failure: WorkersError | None = None
        self._turned_away = 0  # clients of whom no worker was told yet

    def run(self) -> int:
        """Serve until one of `STOP_SIGNALS`; the exit status. Raises WorkersError: no worker can run."""
        return asyncio.run(self._run())

    async def _run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in _PASSED_BY:  # workers inherit it
            signal.signal(number, signal.SIG_IGN)
        for number in STOP_SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN or number == signal.SIGTERM:  # nohup
                loop.add_signal_handler(number, self._stop, number)
        try:
            for place in self._places:
                self._start(place)
            await self._watch()
            return await self._drain()
        finally:
            for worker in self._workers():
                worker.end()
                worker.close()
            for connection in self._parked:
                connection.close()

    def _workers(self) -> list[WorkerProcess]:
        return [place.worker for place in self._places if place.worker is not None]

    def _ready(self) -> list[WorkerProcess]:
        return [worker for worker in self._workers() if worker.ready]

    def _takers(self) -> list[WorkerProcess]:
        """Those that may be passed connections: while the server drains, each that can say so."""
        if self._stop_signals:
            return [worker for worker in self._workers() if worker.report is not None and worker.leaving is None]
        return self._ready()

    def _stop(self, number: signal.Signals) -> None:
        now = time.monotonic()
        if now - self._signalled >= _SAME_SIGNAL_SECONDS:
            self._stop_signals.append(number)
        self._signalled = now
        self._woken.set()

    # Watching

    async def _watch(self) -> None:
        """Until a signal. Raises WorkersError."""
        last = balanced = time.monotonic()
        while not self._stop_signals:
            if self._failure is not None:
                raise self._failure
            now = time.monotonic()
            self._look(min(now - last, _TICK_COUNTS))
            last = now
            for place in self._places:
                if place.worker is None and now >= place.due:
                    self._start(place)
            if self._listening:
                can = bool(self._ready()) and not self._parked
                self._acceptor.accept(can or now - self._ready_at > _HOLD_SECONDS)
            if now - balanced >= _BALANCE_SECONDS:
                balanced = now
                self._balance()
            await self._tick()

    async def _tick(self) -> None:
        """Wait for a tick, or a signal."""
        self._woken.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), _TICK_SECONDS)

    def _look(self, elapsed: float) -> None:
        """Look after every worker; `elapsed` seconds have gone since the last time."""
        now = time.monotonic()
        for place in self._places:
            worker = place.worker
            if worker is None:
                continue
            worker.silent_seconds += elapsed
            if worker.ended():
                self._lose(place, worker)
            elif worker.leaving is not None and now > worker.leaving:
                worker.end()
            elif worker.report is not None and worker.silent_seconds > self._plan.hang_seconds:
                worker.failure = f"its event loop said nothing for {worker.silent_seconds:.0f} s"
                worker.end()
        if self._ready():
            self._ready_at = now
        self._reap()
        self._tell()
        logs.tell_left_out()
        if watched():
            notify("WATCHDOG=1")

    def _reap(self) -> None:
        """Let go of ended processes that were left to this one, as to the first of a container: nobody else does."""
        own = {worker.pid for worker in self._workers()}
        with suppress(ChildProcessError):
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if ended.si_pid in own:  # it is looked after above
                    return
                os.waitpid(ended.si_pid, 0)

    def _start(self, place: _Place) -> None:
        plan = self._plan
        work = Work(
            application=plan.application,
            index=place.index,
            size=plan.workers,
            limits=asdict(plan.limits),
            certificate=None if plan.certificate is None else str(plan.certificate),
            key=None if plan.key is None else str(plan.key),
            root_path=plan.root_path,
            log_format=plan.log_format,
        )
        place.starts += 1
        place.up_since = place.state = None
        place.crowded, place.asked = False, 0
        try:
            plan.started()
            worker = WorkerProcess(work, plan.environment(place.index), plan.folder, plan.descriptors)
        except OSError as error:
            file = "" if error.filename is None else f"{error.filename}: "
            limit = " (the limit of processes: `ulimit -u`, pids.max)" if error.errno == errno.EAGAIN else ""
            self._fail(place, f"a worker cannot be started: {file}{one_line(error)}{limit}")
            return
        place.worker = worker
        asyncio.get_running_loop().add_reader(worker, self._hear, place, worker)

    def _hear(self, place: _Place, worker: WorkerProcess) -> None:
        """Hear a worker out, and do what follows."""
        self._read(worker)
        place.asked = 0
        if self._parked and worker in self._takers():  # it has come up, or taken some, and there may be room for more
            self._unpark()
        if worker.report is None or self._stop_signals:
            return
        if worker.ready and place.up_since is None:
            self._welcome(place, worker)
        if worker.leaving is not None:
            return
        if worker.report.fault is not None:
            self._replace(worker, worker.report.fault, min(_FAULTY_SECONDS, self._plan.drain_seconds))
        elif worker.report.leaving:
            self._replace(worker, "it was told to end (SIGTERM)", self._plan.drain_seconds)

    def _read(self, worker: WorkerProcess) -> None:
        try:
            for received in worker.hear():
                for connection in received.sockets:
                    self._place(connection)
        except EOFError:
            asyncio.get_running_loop().remove_reader(worker)
            self._woken.set()

    def _welcome(self, place: _Place, worker: WorkerProcess) -> None:
        """A worker has come up."""
        place.up_since = time.monotonic()
        if not self._listening:
            try:
                self._acceptor.listen()
            except OSError as error:
                self._failure = WorkersError(f"cannot listen on {self._plan.address} ({error.strerror})")
                self._woken.set()
                return
            self._listening = True
            self._acceptor.accept(True)
            logs.event("listening", url=self._plan.address, workers=self._plan.workers)
            notify("READY=1")
        if place.starts > 1:
            logs.event("worker-back", worker=place.index, worker_pid=worker.pid, seconds=place.up_since - worker.began)
        self._ready_at = place.up_since
        self._tell()

    def _replace(self, worker: WorkerProcess, reason: str, seconds: float) -> None:
        """Let a worker go, within so many seconds; its place is filled when it has gone."""
        _warn("worker-replaced", worker=worker.index, worker_pid=worker.pid, reason=reason)
        worker.send(Leave(seconds, give=True))
        worker.leaving = time.monotonic() + seconds + _END_SECONDS

    def _lose(self, place: _Place, worker: WorkerProcess) -> None:
        """A worker has ended."""
        self._read(worker)  # its last words
        asyncio.get_running_loop().remove_reader(worker)
        untaken = worker.untaken()
        worker.close()
        place.worker = None
        for connection in untaken:
            self._place(connection)
        if self._stop_signals:
            return
        was_up = place.up_since is not None
        lasted = place.up_since is not None and time.monotonic() - place.up_since >= _SHORT_LIFE_SECONDS
        if lasted:
            place.failures, place.due = 0, 0.0
        else:
            self._fail(place, worker.failure or f"a worker was lost: {worker.death}")
        if not self._listening:
            return
        _warn(
            "worker-lost" if was_up else "worker-not-started",
            worker=place.index,
            worker_pid=worker.pid,
            reason=worker.death,
            next_in_seconds=max(0.0, place.due - time.monotonic()),
        )

    def _fail(self, place: _Place, cause: str) -> None:
        """A start has failed, or what came of it did not last: the next one comes later, or none."""
        now = time.monotonic()
        place.due = now + _BACKOFF_SECONDS[min(place.failures, len(_BACKOFF_SECONDS) - 1)]
        place.failures += 1
        if not self._listening:
            self._failure = WorkersError(cause)
        elif now - self._ready_at > _GIVE_UP_SECONDS and all(
            one.failures >= _GIVE_UP_STARTS for one in self._places if not (one.worker and one.worker.ready)
        ):
            self._failure = WorkersError(f"no worker can run any more: {cause}")

    def _tell(self) -> None:
        """Tell every worker how the group is, where that has changed, and one of them who was turned away."""
        started = [worker for worker in self._workers() if worker.report is not None]
        if self._turned_away and any(worker.send(TurnedAway(self._turned_away)) for worker in started):
            self._turned_away = 0
        ready = len(self._ready())
        for place in self._places:
            worker = place.worker
            if worker is not None and worker.report is not None:
                state = State(ready - worker.ready, bool(self._stop_signals))
                if state != place.state and worker.send(state):
                    place.state = state

    # Connections

    def _place(self, connection: socket.socket) -> None:
        """Pass a connection to the worker with the fewest. Where none is ready, or none has room to be passed more (the
        kernel holds some hundreds that a busy worker has not taken yet), it waits, and those that come after it are not
        accepted; where there are too many it is answered 503."""
        ready = {worker: worker.connections for worker in self._takers()}
        if not ready and not self._stop_signals and time.monotonic() - self._ready_at <= _HOLD_SECONDS:
            self._parked.append(connection)
            return
        if sum(ready.values()) >= self._plan.limits.connections and not self._make_room():
            self._turn_away(connection)
            return
        can_wait = bool(ready) and not self._closing
        heard = {worker: count for worker, count in ready.items() if worker.silent_seconds < _SILENT_SECONDS}
        for loads in (heard, {worker: count for worker, count in ready.items() if worker not in heard}):
            while (worker := fewest(loads)) is not None:
                if worker.take(connection):
                    return
                del loads[worker]
        if can_wait:
            self._parked.append(connection)
            self._acceptor.accept(False)
        else:
            self._turn_away(connection)

    def _unpark(self) -> None:
        """Place the connections that wait, in their order; those that still cannot be wait on."""
        for _ in range(len(self._parked)):
            self._place(self._parked.popleft())
        if self._listening and not self._closing and not self._parked:
            self._acceptor.accept(True)

    def _turn_away(self, connection: socket.socket) -> None:
        client = None
        with suppress(OSError):  # it may have gone
            client = connection.getpeername()
        refused = refuse(connection, self._plan.certificate is not None)
        self._turned_away += 1
        _warn(
            "refused",
            kind=f"refused {refused.kind}",
            status=refused.status,
            reason=refused.kind,
            client=client[0] if client else None,
            request_id=refused.id.decode(),
            detail=str(refused),
        )

    def _make_room(self) -> bool:
        """Have a connection closed that is idle; whether there is one."""
        for place in sorted(self._places, key=_idle, reverse=True):
            if place.worker is not None and _idle(place) > 0 and place.worker.send(Close(1)):
                place.asked += 1
                return True
        return False

    def _balance(self) -> None:
        """Have idle connections moved, where workers have had too many, of late and not only now."""
        ready = [worker for worker in self._ready() if worker.silent_seconds < _SILENT_SECONDS]
        too_many = surplus({worker: worker.connections for worker in ready})
        for place in self._places:
            worker = place.worker
            if worker is None or worker.report is None or worker.leaving is not None:
                continue
            most = too_many.get(worker, 0) if worker.ready else worker.connections if ready else 0
            if most and place.crowded:
                worker.send(Give(most))
                place.crowded = False  # it has until the round after the next
            else:
                place.crowded = most > 0

    # The end

    async def _drain(self) -> int:
        """Stop; the exit status."""
        plan = self._plan
        logs.event("draining", signal=self._stop_signals[0].name, seconds=plan.drain_seconds)
        notify("STOPPING=1")
        deadline = time.monotonic() + plan.drain_seconds
        for worker in self._workers():
            if worker.report is None:
                worker.end()
        self._tell()
        self._unpark()
        self._acceptor.give_back()
        if self._listening:
            self._acceptor.accept(True)  # for a while they are told
        listening = deadline - min(_ANSWER_SECONDS, plan.drain_seconds / 2)
        while time.monotonic() < listening and not self._finished() and len(self._stop_signals) == 1:
            await self._tick()
            self._look(0)
        self._closing = True
        self._unpark()
        await self._acceptor.close(empty=self._listening)
        for worker in self._workers():
            rest = max(deadline - time.monotonic(), 0)
            worker.send(Leave(rest, give=False))
            worker.leaving = time.monotonic() + rest + _END_SECONDS
        while self._workers() and len(self._stop_signals) == 1:
            await self._tick()
            self._look(0)
        if len(self._stop_signals) > 1:
            _warn("stopped", signal=self._stop_signals[-1].name, reason="a second signal")
            return 128 + self._stop_signals[-1]
        logs.event("stopped")
        return 0

    def _finished(self) -> bool:
        """Whether nothing is under way any more that was when the drain began, and nobody waits to be told."""
        return not self._parked and all(
            worker.report is None or worker.report.before == 0 for worker in self._workers()
        )


def _idle(place: _Place) -> int:
    """How many idle connections it has that it was not asked to close."""
    return place.worker.report.idle - place.asked if place.worker and place.worker.report else 0
