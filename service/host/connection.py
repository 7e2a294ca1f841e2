"""One connection: bytes to requests, one after the other, and answers to bytes, within all limits of a client."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from latentserve.service.host.chunked import Chunked
from latentserve.service.host.exchange import Exchange
from latentserve.service.host.head import CHUNKED, Head, check_beginning, read_head
from latentserve.service.host.limits import (
    CLOSE_SECONDS,
    LINGER_QUIET_SECONDS,
    LINGER_SECONDS,
    PROBE_SECONDS,
    UNREAD_BYTES,
    AnswerTimeout,
    ClientGone,
    RequestError,
)
from latentserve.service.host.refusal import Refused, malformed

if TYPE_CHECKING:
    from latentserve.service.host.connections import Connections

_NEVER = math.inf
_TCP_CLOSE = 7  # of the kernel's states of a connection


class BodyTimeout(RequestError):  # noqa: N818 - as TimeoutError's kin is named in asyncio
    """The client took longer than `body_seconds` to send a body."""

    status, kind = 408, "body-timeout"


class HttpConnection(asyncio.Protocol):
    """A client. `Connections` owns it, and calls `overdue` when one of its two deadlines has passed."""

    __slots__ = (
        "_addresses",
        "_at",
        "_body_left",
        "_body_seconds",
        "_buffer",
        "_chunked",
        "_deaf",
        "_eof",
        "_exchange",
        "_gone",
        "_linger_until",
        "_lingering",
        "_loop",
        "_scanned",
        "_sock",
        "_taken",
        "_transport",
        "_why",
        "owner",
        "read_by",
        "taken_by",
        "unsent",
    )

    def __init__(self, owner: Connections, sock: socket.socket) -> None:
        self.owner = owner
        self._sock = sock
        self._loop = owner.loop
        self._buffer, self._at = b"", 0  # what was read and not looked at, from `_at` on
        self._scanned = 0  # no head ends before
        self._exchange: Exchange | None = None  # the request under way
        self._body_left = 0  # bytes of its body that have not come, where it said how many there are
        self._chunked: Chunked | None = None
        self._deaf = False  # what the client sends is thrown away
        self._eof = False  # the client sends nothing more
        self._gone = True  # not yet there, or no more
        self._why: ClientGone | None = None  # it is no more
        self._lingering = False
        self._linger_until = 0.0
        self._body_seconds: float | None = None  # that were left for a body when reading paused
        self._addresses: Mapping[str, Any] | None = None
        self._taken: asyncio.Future[None] | None = None
        self.unsent = False  # bytes wait here until the client takes some
        self.read_by = _NEVER  # when what is read next must have come
        self.taken_by = _NEVER  # when what was written must have gone

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is ours."""
        self._transport = cast(asyncio.Transport, transport)
        self._gone = False
        self._transport.set_write_buffer_limits(high=1, low=0)  # `unsent` is to be the truth
        self._wait_for_request()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._deaf:
            if self._lingering:
                self.read_by = min(self._linger_until, self._loop.time() + LINGER_QUIET_SECONDS)
            return
        if self._exchange is not None:
            if self._body_left or self._chunked is not None:
                data = self._take_body(data)
            if data:
                self._buffer += data
                if len(self._buffer) > UNREAD_BYTES:
                    self._transport.pause_reading()
            return
        self._buffer = self._buffer[self._at :] + data if self._buffer else data
        self._at = 0
        self._look()

    def eof_received(self) -> bool:
        """The client sends nothing more; it may still want its answer."""
        if self._exchange is None or (self._in_body and not self._deaf) or self.owner.tls is not None:
            return False
        self._eof = True
        self.read_by = self._loop.time() + PROBE_SECONDS
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """It is no more."""
        self._leave()
        self.read_by = self.taken_by = _NEVER
        self.owner.lost(self)

    def pause_writing(self) -> None:
        """Not all could be sent at once."""
        self.unsent = True
        self.taken_by = self._loop.time() + self.owner.limits.answer_seconds

    def resume_writing(self) -> None:
        """All is sent."""
        self.unsent = False
        self.taken_by = _NEVER
        if self._taken is not None and not self._taken.done():
            self._taken.set_result(None)

    # What an exchange calls.

    def write(self, data: bytes) -> None:
        """Send, or keep it as `unsent`. Raises ClientGone."""
        self._transport.write(data)
        if self._transport.is_closing():
            self._leave()
            raise _gone()

    def writelines(self, pieces: list[bytes | memoryview]) -> None:
        """Send, or keep it as `unsent`, without joining what is large. Raises ClientGone."""
        self._transport.writelines(pieces)
        if self._transport.is_closing():
            self._leave()
            raise _gone()

    async def taken(self) -> None:
        """Return when nothing is unsent. Raises ClientGone."""
        if not self._gone:
            if self._taken is None or self._taken.done():
                self._taken = self._loop.create_future()
            await asyncio.shield(self._taken)
        if self._gone:
            raise self._why or _gone()

    def go_on(self) -> None:
        """The application wants the body that the client holds back."""
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._start_body_clock(self.owner.limits.body_seconds)

    def read_on(self) -> None:
        """The application has taken what there was of a body."""
        if self._body_seconds is not None:
            self._start_body_clock(self._body_seconds)
            self._body_seconds = None
            self._transport.resume_reading()

    def answered(self, close: bool) -> None:
        """The answer is sent: what comes next?"""
        self._exchange = None
        if close or self._in_body:
            self._linger(LINGER_QUIET_SECONDS if self._in_body else CLOSE_SECONDS)
            return
        self._wait_for_request()
        if self._buffer:
            self._transport.resume_reading()
            self._look()
        elif self.owner.wanted:
            self.owner.offer(self)
        if self._eof and self._exchange is None:
            self._transport.close()

    def refuse(self, refused: Refused) -> None:
        """Answer in the application's place, and close."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.end()
        client = self._about["client"]
        self.owner.refused(refused, client and client[0])
        self._transport.write(refused.answer(self.owner.date))
        self._linger(LINGER_QUIET_SECONDS)

    def abort(self, why: ClientGone | None = None) -> None:
        """Close it, with whatever was not sent."""
        if not self._gone:
            self._leave(why)
            self._transport.abort()

    # What the owner calls.

    @property
    def idle(self) -> bool:
        """Whether it is between two requests, and nothing of the next was read."""
        return self._exchange is None and not (self._buffer or self._lingering or self._gone or self._eof)

    def overdue(self, now: float) -> None:
        """A deadline has passed."""
        if self.taken_by < now:
            self.abort(AnswerTimeout("the client takes nothing of its answer"))
        elif self._lingering:
            self._transport.abort()
        elif self._exchange is None:
            self.read_by = _NEVER
            if self._buffer:
                late = Refused(408, "header-timeout", "the header of a request took too long")
                self.refuse(late.of(self._buffer))
            elif self.owner.tls is not None or not self._asked():
                self._transport.close()
        elif self._eof:
            self._probe(now)
        else:
            self._fail_body(BodyTimeout("the body of the request took too long"))

    def drain(self, seconds: float) -> None:
        """Close it within so many seconds, if it is idle until then."""
        if self.idle:
            self.read_by = min(self.read_by, self._loop.time() + seconds)

    def detach(self) -> socket.socket:
        """Its socket, for somebody else to serve, who reads what comes next. Only while it is idle."""
        sock = self._sock.dup()
        self._transport.pause_reading()
        self._gone = True
        self._transport.close()
        return sock

    # Requests.

    def _wait_for_request(self) -> None:
        self.read_by = self._loop.time() + self.owner.idle_seconds

    def _look(self) -> None:
        """Begin the next request, if all of its head is there."""
        buffer, at = self._buffer, self._at
        while buffer.startswith(b"\r\n", at):  # to be ignored between requests (RFC 9112, section 2.2)
            at += 2
        end = buffer.find(b"\r\n\r\n", max(at, self._scanned - 3))
        limits = self.owner.limits
        try:
            if end < 0 or end - at > limits.header_bytes:
                if end >= 0 or len(buffer) - at > limits.header_bytes:
                    raise _head_too_large(buffer[at:], limits.header_bytes)
                self._buffer, self._at = buffer[at:], 0
                if not self._buffer:
                    self._scanned = 0
                    return
                if self._buffer != b"\r":
                    check_beginning(self._buffer, self._scanned)
                if not self._scanned:
                    self.read_by = self._loop.time() + limits.header_seconds
                self._scanned = len(self._buffer)
                return
            self._scanned = 0
            end += 4
            head = read_head(buffer[at:end], limits.headers)
            if not head.keep_alive and end < len(buffer) and head.unstated:
                raise malformed("a body needs a `Content-Length`, or is chunked: without them it would be lost")
        except Refused as refused:
            self.refuse(refused.of(buffer[at : end if end > 0 else len(buffer)]))
            return
        if end == len(buffer):
            self._buffer, self._at = b"", 0
        else:
            self._at = end
        self.read_by = _NEVER
        exchange = self._exchange = Exchange(self, head)
        if head.length:
            self._begin_body(head)
        else:
            exchange.end_body()
        self.owner.start(exchange, head, self._about)

    def _begin_body(self, head: Head) -> None:
        data, self._buffer, self._at = self._buffer[self._at :], b"", 0
        if head.length == CHUNKED:
            self._chunked = Chunked(self.owner.limits.header_bytes)
        else:
            self._body_left = head.length
        if data:
            self._buffer = self._take_body(data)
        if self._in_body and not head.expects_continue and not self._deaf:
            self._start_body_clock(self.owner.limits.body_seconds)

    def _take_body(self, data: bytes) -> bytes:
        """Give a body its part; what is behind it."""
        exchange = cast(Exchange, self._exchange)
        rest: bytes | None = None
        if self._chunked is not None:
            try:
                data, rest = self._chunked.feed(data)
            except RequestError as error:
                self._fail_body(error)
                return b""
            if rest is not None:
                self._chunked = None
        elif len(data) > self._body_left:
            data, rest = data[: self._body_left], data[self._body_left :]
            self._body_left = 0
        else:
            self._body_left -= len(data)
            if not self._body_left:
                rest = b""
        if data:
            exchange.feed(data)
        if rest is not None:
            self.read_by = _NEVER
            exchange.end_body()
            return rest
        if exchange.unread > UNREAD_BYTES:
            self._pause_body()
        return b""

    def _pause_body(self) -> None:
        """The client waits for the application; that is no fault of its own."""
        self._body_seconds = min(self.read_by - self._loop.time(), self.owner.limits.body_seconds)
        self.read_by = _NEVER
        self._transport.pause_reading()

    def _start_body_clock(self, seconds: float) -> None:
        self.read_by = self._loop.time() + seconds

    @property
    def _in_body(self) -> bool:
        return self._body_left > 0 or self._chunked is not None

    def _fail_body(self, error: RequestError) -> None:
        """Nothing that comes is looked at: who knows what it is?"""
        self._deaf = True
        self.read_by = _NEVER
        cast(Exchange, self._exchange).fail(error)

    @property
    def _about(self) -> Mapping[str, Any]:
        """Host and port of the client and of this side; a socket of the file system has no client, and a path."""
        if self._addresses is None:
            try:
                client, server = self._sock.getpeername(), self._sock.getsockname()
            except OSError:  # it has gone
                client, server = ("", 0), ("", 0)
            local = self._sock.family == socket.AF_UNIX
            self._addresses = {
                "client": None if local else _short(client),
                "server": (server, None) if local else _short(server),
            }
        return self._addresses

    # Endings.

    def _linger(self, quiet: float) -> None:
        """Close, but let the client read its answer first: closing over bytes that it still sends would reset it."""
        self._lingering = self._deaf = True
        self._buffer, self._at = b"", 0
        now = self._loop.time()
        self._linger_until = now + LINGER_SECONDS
        self.read_by = now + quiet
        if self._eof or self._transport.is_closing():
            self._transport.close()
            return
        self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self.read_by = self._linger_until
            self._transport.close()  # TLS has a farewell of its own, and reads until it is answered

    def _leave(self, why: ClientGone | None = None) -> None:
        """Tell whoever waits for the client."""
        self._gone, self._why = True, self._why or why
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.end()
        if self._taken is not None and not self._taken.done():
            self._taken.set_result(None)

    def _asked(self) -> bool:
        """Whether a request lies in the kernel, come too late for its deadline and still in time for us."""
        try:
            return bool(self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:
            return False

    def _probe(self, now: float) -> None:
        """Find out whether who sends nothing more has gone: a closed socket answers bytes with a reset.

        A client must understand any number of these (RFC 9110, section 15.2).
        """
        self.read_by = now + PROBE_SECONDS
        exchange = cast(Exchange, self._exchange)
        if self._sock.family != socket.AF_UNIX:
            state = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
            if state == _TCP_CLOSE:
                self.abort()
                return
        if exchange.may_continue:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _short(address: tuple[Any, ...]) -> tuple[str, int]:
    """Host and port; of who came by IPv4 to a socket of both kinds, the address as IPv4 has it."""
    host: str = address[0]
    return (host.removeprefix("::ffff:") if "." in host else host), address[1]


def _gone() -> ClientGone:
    return ClientGone("the client has closed the connection")


def _head_too_large(buffer: bytes, most: int) -> Refused:
    line = buffer.find(b"\r\n")
    if line < 0 or line > most:
        return Refused(414, "uri-too-long", "the request line is too long")
    return Refused(431, "header-too-large", f"the header of a request may have {most} bytes")
