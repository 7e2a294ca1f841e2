"""One request and its answer, as ASGI sees them: `scope`, `receive` and `send`."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.types import Message, Scope

from latentserve.service.host.head import Head
from latentserve.service.host.limits import PIECE_BYTES, ClientGone, RequestError
from latentserve.service.host.refusal import Refused
from latentserve.service.request_ids import request_id

if TYPE_CHECKING:
    from latentserve.service.host.connection import HttpConnection

_JOINED_BYTES = 64 << 10  # a head and so much of a body are one buffer; more is not copied
_OURS = frozenset((b"connection", b"content-length", b"date", b"transfer-encoding"))
_BODILESS = (204, 304)
_STATUS_LINES = {int(status): b"HTTP/1.1 %d %b" % (status, status.phrase.encode()) for status in HTTPStatus}


class Exchange:
    """A request under way. The connection feeds it the body; it writes the answer to the connection."""

    __slots__ = (
        "_begun",
        "_body_told",
        "_body_whole",
        "_chunked",
        "_close",
        "_connection",
        "_error",
        "_expected",
        "_head",
        "_left",
        "_news",
        "_over",
        "_start",
        "_unread",
        "task",
        "unread",
    )

    def __init__(self, connection: HttpConnection, head: Head) -> None:
        self._connection = connection
        self._head = head
        self.task: asyncio.Task[None] | None = None
        self._unread: list[bytes] = []
        self.unread = 0  # bytes of the body that the application has not taken
        self._expected = head.expects_continue
        self._body_whole = False
        self._body_told = False
        self._news: asyncio.Event | None = None  # something that `receive` may wait for has come
        self._error: RequestError | None = None
        self._over = False  # the answer is sent, or the client has gone
        self._begun = False  # something of the answer was written
        self._start: Message | None = None  # of the answer, held back until there is something to send with it
        self._left: int | None = None  # bytes of the answer that its Content-Length still announces
        self._chunked = False
        self._close = False

    @property
    def may_continue(self) -> bool:
        """Whether a `100 Continue` may still be sent before the answer."""
        return not self._begun and not self._head.old

    def feed(self, data: bytes) -> None:
        """More of the body."""
        self._unread.append(data)
        self.unread += len(data)
        self._tell()

    def end_body(self) -> None:
        """The body is whole."""
        self._body_whole = True
        self._expected = False
        self._tell()

    def fail(self, error: RequestError) -> None:
        """The body will never be whole, and the client is to blame."""
        self._error = error
        self._tell()

    def end(self) -> None:
        """The answer is sent, or nobody is there who would take it."""
        self._over = True
        self._tell()

    async def run(self, scope: Scope) -> None:
        """The application's turn; afterwards there is an answer, or no connection."""
        connection = self._connection
        try:
            await connection.owner.app(scope, self.receive, self.send)
        except ClientGone:
            pass  # it is told already
        except RequestError as error:
            if not self._over and not self._begun:
                self._refuse(Refused(error.status, error.kind, str(error)))
        except Exception as error:
            connection.owner.failed(error)
        finally:
            connection.owner.running.discard(self)
            if not self._over:
                if self._begun:
                    connection.abort()  # the client must not take half of an answer for a whole one
                else:
                    status = HTTPStatus.INTERNAL_SERVER_ERROR
                    self._refuse(Refused(status, "internal", "the server failed to answer"))

    def _refuse(self, refused: Refused) -> None:
        refused.id = request_id(dict(self._head.headers).get(b"x-request-id"))
        self._connection.refuse(refused)

    async def receive(self) -> Message:
        """The next part of the body, then the news that the client has gone or was answered. Raises RequestError."""
        if self._expected and not self._over:
            self._expected = False
            self._connection.go_on()
        while True:
            if self._unread or (self._body_whole and not self._body_told):
                pieces, self._unread, self.unread = self._unread, [], 0
                self._body_told = self._body_whole
                if not self._body_whole:
                    self._connection.read_on()
                body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                return {"type": "http.request", "body": body, "more_body": not self._body_whole}
            if self._over:
                return {"type": "http.disconnect"}
            if self._error is not None:
                raise self._error
            if self._news is None:
                self._news = asyncio.Event()
            self._news.clear()
            await self._news.wait()

    async def send(self, message: Message) -> None:
        """Take a part of the answer, and return when the client's side has it. Raises ClientGone."""
        kind = message["type"]
        if kind == "http.response.start":
            if self._start is not None:
                raise RuntimeError("an answer has one start")
            self._start = message
            if self._over:
                raise ClientGone("the client has closed the connection")
        elif kind == "http.response.body":
            await self._send_body(message.get("body", b""), message.get("more_body", False))
        else:
            raise RuntimeError(f"{kind} is not known here")

    async def _send_body(self, body: bytes | bytearray | memoryview, more: bool) -> None:
        if self._over:
            raise ClientGone("the client has closed the connection")
        if self._start is None:
            raise RuntimeError("an answer begins with its start")
        if isinstance(body, memoryview):
            body = body.cast("B")
        connection = self._connection
        head = b"" if self._begun else self._begin(self._start, None if more else len(body))
        if self._left == -1:  # there is a body that is not to be sent: HEAD
            body = b""
        elif self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise RuntimeError("the answer is not as long as its Content-Length")
        size = len(body)
        if size <= _JOINED_BYTES:
            if self._chunked:
                parts = [head, b"%x\r\n" % size, body, b"\r\n"] if size else [head]
                if not more:
                    parts.append(b"0\r\n\r\n")
                head = b"".join(parts)
            elif size:
                head = b"".join((head, body))
            if head:
                connection.write(head)
        else:
            view = memoryview(body)
            if self._chunked:
                head += b"%x\r\n" % size
            for at in range(0, size, PIECE_BYTES):
                pieces: list[bytes | memoryview] = [head, view[at : at + PIECE_BYTES]]
                head = b""
                if self._chunked and at + PIECE_BYTES >= size:
                    pieces.append(b"\r\n" if more else b"\r\n0\r\n\r\n")
                connection.writelines(pieces)
                if connection.unsent:
                    await connection.taken()
        if connection.unsent:
            await connection.taken()
        if not more and not self._over:
            self.end()
            connection.answered(self._close)

    def _begin(self, start: Message, size: int | None) -> bytes:
        """The head of the answer; `size`: of the body, where it is whole."""
        head, status = self._head, start["status"]
        length: bytes | None = None
        close = not (head.keep_alive and self._body_whole) or self._connection.owner.last_answer()
        date = self._connection.owner.date
        lines: list[bytes] = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status]
        for name, value in start.get("headers", ()):
            lower = name.lower()
            if lower not in _OURS:
                lines.append(b": ".join((name, value)))
            elif lower == b"content-length":
                length = value
            elif lower == b"date":
                date = b"date: " + value
            elif lower == b"connection" and b"close" in value.lower():
                close = True
        bodiless = status in _BODILESS
        if length is None and size is not None and not bodiless:
            length = b"%d" % size
        if length is not None and status != 204:
            lines.append(b"content-length: " + length)
        elif not bodiless:
            if head.old:
                close = True
            else:
                self._chunked = True
                lines.append(b"transfer-encoding: chunked")
        lines.append(date)
        if close:
            lines.append(b"connection: close")
        elif head.old:
            lines.append(b"connection: keep-alive")
        lines.append(b"\r\n")
        joined = b"\r\n".join(lines)
        if joined.count(b"\n") != len(lines) or joined.count(b"\r") != len(lines):
            raise ValueError("a header field of the answer holds a line break")
        if bodiless or head.bodiless:
            self._left, self._chunked = -1, False
        elif length is not None:
            self._left = int(length)
        self._close = close
        self._begun = True
        return joined

    def _tell(self) -> None:
        if self._news is not None:
            self._news.set()
