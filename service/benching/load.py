"""An HTTP load generator that costs little: prepared requests over keep-alive connections, answers counted.

*Closed loop*: each connection sends its next request when the last answer is whole, so the server sets the pace.
*Open loop*: requests leave by a schedule that knows nothing of the answers, and latency counts from the scheduled
time, so a server that stalls is charged for everybody who would have waited.
"""

from __future__ import annotations

import asyncio
import itertools
import selectors
import signal
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Literal

import httptools
import numpy as np
import uvloop
from numpy.typing import NDArray

from latentserve.service.benching.requests import Address, Requests

Spacing = Literal["even", "poisson"]

_GRACE = 30.0  # seconds that answers may take after the last request was sent
_OPEN_CONNECTIONS = 128
_numbers = itertools.count(1)  # never the same request twice, so that nobody can answer from a cache


@dataclass(frozen=True)
class Load:
    """What came back, from the first request sent to the last answer received."""

    answers: int  # whole, with status 200
    failed: int  # another status, a lost connection, or no answer in time
    seconds: float
    p50_ms: float
    p99_ms: float
    megabytes: float  # received, heads included
    client_cpu: float  # cores that this load generator took
    late_ms: float = 0.0  # open loop: 99th percentile of sending later than scheduled, which latency includes
    beside_megabytes: float = 0.0  # received by the connection beside

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds if self.answers else 0.0


def arrivals(rate: float, seconds: float, spacing: Spacing) -> NDArray[np.float64]:
    """Times in [0, seconds) at which requests are due, `rate` a second, the first at 0; the same ones at each call."""
    if spacing == "even":
        return np.arange(max(1, int(rate * seconds))) / rate
    gaps = np.random.default_rng(0).exponential(1 / rate, size=int(rate * seconds * 1.5) + 100)
    times: NDArray[np.float64] = np.cumsum(gaps) - gaps[0]
    return times[: np.searchsorted(times, seconds)]


def closed_loop(
    address: Address, requests: Requests, connections: int, seconds: float, beside: bytes | None = None
) -> Load:
    """Send for `seconds`, then wait for what is under way. `beside` is asked for again and again on one more line."""
    return _run(uvloop.new_event_loop, _closed_loop(address, requests, connections, seconds, beside))


def open_loop(address: Address, requests: Requests, rate: float, seconds: float, spacing: Spacing) -> Load:
    """`rate` requests a second, whatever the answers do, over as many connections as are free."""
    # asyncio's timers are as fine as its selector's: select() takes microseconds, epoll and uvloop milliseconds.
    schedule = arrivals(rate, seconds, spacing)
    return _run(lambda: asyncio.SelectorEventLoop(selectors.SelectSelector()), _open_loop(address, requests, schedule))


def _run(make_loop: Callable[[], asyncio.AbstractEventLoop], main: Coroutine[object, object, Load]) -> Load:
    """Run it; on SIGTERM or SIGHUP cancel it first, as asyncio does on SIGINT, and only then do what was to be done.

    A handler that raises in the middle of a connection's callback would be taken for a failure of that connection.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
    received: list[int] = []

    def cancel(number: int, _frame: object) -> None:
        received.append(number)
        for task in asyncio.all_tasks(loop):
            loop.call_soon_threadsafe(task.cancel)

    with asyncio.Runner(loop_factory=make_loop) as runner:
        loop = runner.get_loop()
        for number in handlers:
            signal.signal(number, cancel)
        try:
            return runner.run(main)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            if received:
                signal.raise_signal(received[0])


async def _closed_loop(
    address: Address, requests: Requests, connections: int, seconds: float, beside: bytes | None
) -> Load:
    tally = _Tally(expected=connections)

    def answered(connection: _Connection, status: int) -> None:
        now = tally.count(connection, status)
        if now < end and status:
            connection.send(requests(next(_numbers)), now)
        else:
            tally.finish()

    lines = [await _connect(address, answered) for _ in range(connections)]
    companion = None
    if beside is not None:
        companion = await _connect(address, lambda connection, status: connection.send(beside, 0.0) if status else None)
        companion.send(beside, 0.0)
        await asyncio.sleep(1.0)  # until it is in full flow
        companion.received = 0
    tally.start()
    end = tally.began + seconds
    for line in lines:
        line.send(requests(next(_numbers)), time.perf_counter())
    await tally.wait(seconds + _GRACE)
    beside_bytes = companion.received if companion else 0
    for line in [*lines, *([companion] if companion else [])]:
        line.close()
    return tally.load(lines, beside_bytes=beside_bytes)


async def _open_loop(address: Address, requests: Requests, schedule: NDArray[np.float64]) -> Load:
    tally = _Tally(expected=len(schedule))
    waiting: deque[float] = deque()
    late: list[float] = []

    def answered(connection: _Connection, status: int) -> None:
        tally.count(connection, status)
        tally.finish()
        if status and waiting:
            connection.send(requests(next(_numbers)), waiting.popleft())
        elif status:
            idle.append(connection)

    lines = [await _connect(address, answered) for _ in range(_OPEN_CONNECTIONS)]
    idle = deque(lines)
    tally.start()
    for due in (tally.began + schedule).tolist():
        if (delay := due - time.perf_counter()) > 0:
            await asyncio.sleep(delay)
        late.append(time.perf_counter() - due)
        if idle:
            idle.popleft().send(requests(next(_numbers)), due)
        else:
            waiting.append(due)
    await tally.wait(_GRACE)
    for line in lines:
        line.close()
    return tally.load(lines, late_ms=float(np.quantile(late, 0.99)) * 1e3)


class _Tally:
    """Latencies and failures of one run, and when it is over."""

    def __init__(self, expected: int) -> None:
        self._latencies: list[float] = []
        self._failed = 0
        self._left = expected
        self._over = asyncio.get_running_loop().create_future()

    def start(self) -> None:
        self.began = self._ended = time.perf_counter()
        self._cpu = time.process_time()

    def count(self, connection: _Connection, status: int) -> float:
        """Count an answer; the time it came."""
        self._ended = time.perf_counter()
        if status == 200:
            self._latencies.append(self._ended - connection.since)
        else:
            self._failed += 1
        return self._ended

    def finish(self) -> None:
        """One of the expected has ended."""
        self._left -= 1
        if self._left == 0 and not self._over.done():
            self._over.set_result(None)

    async def wait(self, seconds: float) -> None:
        """Until all have ended; those that do not in so many seconds have failed."""
        try:
            await asyncio.wait_for(self._over, seconds)
        except TimeoutError:
            self._failed += self._left

    def load(self, lines: list[_Connection], late_ms: float = 0.0, beside_bytes: int = 0) -> Load:
        p50, p99 = np.quantile(self._latencies, [0.5, 0.99]) * 1e3 if self._latencies else (np.nan, np.nan)
        seconds = self._ended - self.began
        return Load(
            answers=len(self._latencies),
            failed=self._failed,
            seconds=seconds,
            p50_ms=float(p50),
            p99_ms=float(p99),
            megabytes=sum(line.received for line in lines) / 1e6,
            client_cpu=(time.process_time() - self._cpu) / max(seconds, 1e-9),
            late_ms=late_ms,
            beside_megabytes=beside_bytes / 1e6,
        )


async def _connect(address: Address, answered: Callable[[_Connection, int], object]) -> _Connection:
    loop = asyncio.get_running_loop()

    def make() -> _Connection:
        return _Connection(answered)

    if address.path is not None:
        name = address.host if address.tls else None
        return (await loop.create_unix_connection(make, address.path, ssl=address.tls, server_hostname=name))[1]
    return (await loop.create_connection(make, address.host, address.port, ssl=address.tls))[1]


class _Connection(asyncio.Protocol):
    """One connection, one request at a time. Calls `answered(self, status)`; status 0: the connection is lost."""

    def __init__(self, answered: Callable[[_Connection, int], object]) -> None:
        self._answered = answered
        self._parser = httptools.HttpResponseParser(self)
        self._busy = False
        self.since = 0.0  # time.perf_counter() that the latency of the request under way counts from
        self.received = 0  # bytes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def send(self, request: bytes, since: float) -> None:
        self.since = since
        self._busy = True
        self._transport.write(request)  # type: ignore[attr-defined]

    def close(self) -> None:
        self._busy = False
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._busy = False
        self._answered(self, self._parser.get_status_code())

    def connection_lost(self, _error: Exception | None) -> None:
        if self._busy:
            self._busy = False
            self._answered(self, 0)
