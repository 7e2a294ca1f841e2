"""One connection of a client that looks at its answers, one request at a time."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from dataclasses import dataclass, field

import httptools


class LostError(Exception):
    """No whole answer came.

    Attributes:
        begun: bytes of an answer had come.
        reset: the connection was reset, not closed.
    """

    def __init__(self, begun: bool, reset: bool) -> None:
        self.begun, self.reset = begun, reset
        super().__init__(f"{'reset' if reset else 'closed'} {'within' if begun else 'before'} the answer")


@dataclass
class Answer:
    """A whole one. Names of headers are in lower case."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Line(asyncio.Protocol):
    """A connection. `asked` requests were answered on it; `port` is its own side's."""

    def __init__(self) -> None:
        self.asked = 0
        self._parser = httptools.HttpResponseParser(self)
        self._waiting: asyncio.Future[Answer] | None = None
        self._answer, self._body = Answer(), bytearray()
        self._begun = self._lost = self._last = False

    @classmethod
    async def connect(cls, port: int) -> Line:
        """Raises OSError."""
        return (await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port))[1]

    async def ask(self, request: bytes, seconds: float) -> Answer:
        """Send a request, and take its answer. Raises LostError, and TimeoutError."""
        self._waiting = asyncio.get_running_loop().create_future()
        self._answer, self._body, self._begun = Answer(), bytearray(), False
        if self._lost:
            raise LostError(False, False)
        self._transport.write(request)
        async with asyncio.timeout(seconds):
            answer = await self._waiting
        self.asked += 1
        return answer

    @property
    def is_open(self) -> bool:
        """Whether the server has neither closed it nor sent what nobody asked for; as of now, not of the last event."""
        if self._lost or self._transport.is_closing() or self._last:
            return False
        with suppress(OSError), socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno())) as own:
            own.setblocking(False)
            try:
                own.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                return True
        return False

    def close(self) -> None:
        """Close it."""
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.port: int = transport.get_extra_info("sockname")[1]

    def data_received(self, data: bytes) -> None:
        self._begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._last = not self._parser.should_keep_alive()  # afterwards the parser knows it no longer
        self._answer.status, self._answer.body = self._parser.get_status_code(), bytes(self._body)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(self._answer)

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(LostError(self._begun, error is not None))
