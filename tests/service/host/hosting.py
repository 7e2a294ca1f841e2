"""A host in this process, on a thread of its own, and a client that speaks to it in bytes."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import uvloop

from latentserve.service.host.connections import Connections
from latentserve.service.host.limits import Limits
from latentserve.service.host.listening import bind_port

App = Callable[[dict[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]

SWEEP_SECONDS = 0.02  # in place of half a second


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers with the request line and the body that came."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    line = f"{scope['method']} {scope['path']} {scope['query_string'].decode()} ".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": line + body})


class Host:
    """Serves an application on a free port until the block ends."""

    def __init__(self, app: App = echo, tls: ssl.SSLContext | None = None, uv: bool = True, **limits: Any) -> None:
        self.refused: list[str] = []
        self.failed: list[Exception] = []
        self.given: list[socket.socket] = []
        self._app, self._limits, self._tls = app, Limits(**limits), tls
        [self._listening] = bind_port("127.0.0.1", 0)
        self._listening.listen(2048)
        self._listening.setblocking(False)
        self.port: int = self._listening.getsockname()[1]
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(uvloop.new_event_loop if uv else None,))

    def _run(self, loop_factory: Any) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self.connections = Connections(
            self._app,
            self._limits,
            tls=self._tls,
            given=self.given.append,
            refused=lambda refused, _: self.refused.append(refused.kind),
            failed=self.failed.append,
        )
        accepting = self.loop.create_task(self._accept())
        sweeping = self.loop.create_task(self._sweep())
        self._up.set()
        await self._over.wait()
        accepting.cancel()
        sweeping.cancel()
        self.connections.abort()
        await asyncio.sleep(0)

    async def _accept(self) -> None:
        adopting = set()
        while True:
            sock, _ = await self.loop.sock_accept(self._listening)
            task = self.loop.create_task(self.connections.adopt(sock))
            adopting.add(task)
            task.add_done_callback(adopting.discard)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.connections.sweep()

    def __enter__(self) -> Self:
        self._thread.start()
        self._up.wait()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._listening.close()
        for sock in self.given:
            sock.close()

    def on_loop(self, call: Callable[[], Any]) -> Any:
        """What a call returns that is made on the host's event loop."""

        async def made() -> Any:
            return call()

        return asyncio.run_coroutine_threadsafe(made(), self.loop).result(10)

    def connect(self) -> socket.socket:
        """A connection to it."""
        line = socket.create_connection(("127.0.0.1", self.port))
        line.settimeout(10)
        return line

    def ask(self, *parts: bytes, half_close: bool = False) -> bytes:
        """All that comes until the host closes, after these bytes were sent."""
        with self.connect() as line:
            for part in parts:
                line.sendall(part)
                time.sleep(0.001)
            if half_close:
                line.shutdown(socket.SHUT_WR)
            return read_all(line)


def read_all(line: socket.socket) -> bytes:
    """All bytes until the end."""
    parts = []
    while part := line.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def statuses(answers: bytes) -> list[int]:
    """The statuses of answers that follow one another, none of whose bodies looks like an answer."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]
