"""A closed-loop HTTP client that costs little: prepared requests over keep-alive connections, answers counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import httptools
import numpy as np
import uvloop


@dataclass(frozen=True)
class Load:
    """What came back: answers with status 200 a second, and latency quantiles in milliseconds."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    failed: int


def post(path: str, body: bytes, accept: str) -> bytes:
    """The bytes of a POST request with a JSON body."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Accept: {accept}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def closed_loop(port: int, request: Callable[[int], bytes], connections: int, warm_up: float, seconds: float) -> Load:
    """Each connection sends its next request when the last answer is whole; `request(i)` gives the bytes of the i-th."""
    return uvloop.run(_closed_loop(port, request, connections, warm_up, seconds))


async def _closed_loop(
    port: int, request: Callable[[int], bytes], connections: int, warm_up: float, seconds: float
) -> Load:
    latencies: list[float] = []
    failed = 0
    sent = 0
    start = time.perf_counter() + warm_up
    end = start + seconds

    async def connection() -> None:
        nonlocal failed, sent
        loop = asyncio.get_running_loop()
        transport, client = await loop.create_connection(_Client, "127.0.0.1", port)
        while (began := time.perf_counter()) < end:
            sent += 1
            status = await client.ask(request(sent))
            if start <= began and time.perf_counter() <= end:
                if status == 200:
                    latencies.append(time.perf_counter() - began)
                else:
                    failed += 1
        transport.close()

    await asyncio.gather(*(connection() for _ in range(connections)))
    p50, p99 = np.quantile(latencies, [0.5, 0.99]) * 1e3 if latencies else (float("nan"), float("nan"))
    return Load(len(latencies) / seconds, float(p50), float(p99), failed)


class _Client(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._parser = httptools.HttpResponseParser(self)

    def ask(self, request: bytes) -> asyncio.Future[int]:
        self._answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._transport.write(request)  # type: ignore[attr-defined]
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._answer.set_result(self._parser.get_status_code())
        self._parser = httptools.HttpResponseParser(self)

    def connection_lost(self, _error: Exception | None) -> None:
        if not self._answer.done():
            self._answer.set_result(0)
