"""The connections of one worker: their number, their deadlines, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Any

from starlette.types import ASGIApp

from latentserve.service.host.connection import HttpConnection
from latentserve.service.host.exchange import Exchange
from latentserve.service.host.head import Head
from latentserve.service.host.limits import DRAIN_IDLE_SECONDS, Limits
from latentserve.service.host.refusal import Refused, malformed

_ASGI = {"version": "3.0", "spec_version": "2.4"}
_TLS_SHUTDOWN_SECONDS = 2.0
_WISH_SECONDS = 1.0

log = logging.getLogger(__name__)


class Connections:
    """Serves an ASGI application over sockets that somebody else has accepted. Made on a running event loop."""

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        *,
        root_path: str = "",
        tls: ssl.SSLContext | None = None,
        state: dict[str, Any] | None = None,
        changed: Callable[[], None] = lambda: None,
        given: Callable[[socket.socket], None] | None = None,
        refused: Callable[[Refused, str | None], None] = lambda refused, client: None,
        failed: Callable[[Exception], None] = lambda error: log.error("the application failed", exc_info=error),
    ) -> None:
        """Serve `app` within `limits`.

        Args:
            root_path: under which a proxy shows the application; it may take it off, or leave it.
            tls: speak TLS.
            state: the lifespan's, of which each request has a shallow copy.
            changed: called when there are more or fewer connections.
            given: takes connections that `give_away` could not give at once.
            refused: told of each request that the host answered itself, and the client's address, where it has one.
            failed: told of what the application raised.
        """
        self.app, self.limits, self.tls = app, limits, tls
        self.loop = asyncio.get_running_loop()
        self.refused, self.failed = refused, failed
        self._root_path = root_path
        self._about = {"asgi": _ASGI, "scheme": "http" if tls is None else "https", "root_path": root_path}
        self._state = state
        self._changed, self._given = changed, given
        self._open: set[HttpConnection] = set()
        self.running: set[Exchange] = set()  # an event loop holds its tasks weakly
        self._draining = False
        self._before: set[HttpConnection] = set()  # those that there were when it began
        self._none: asyncio.Event = asyncio.Event()
        self._none.set()
        self.wanted = 0  # connections that should be given away when they are idle
        self._wanted_until = 0.0
        self.date = b""
        self._set_date()

    @property
    def count(self) -> int:
        """Open connections."""
        return len(self._open)

    @property
    def idle(self) -> int:
        """Those of them that wait for a request."""
        return sum(one.idle for one in self._open)

    @property
    def before(self) -> int | None:
        """Those of them that there were when the drain began; None: it has not."""
        return len(self._before) if self._draining else None

    async def adopt(self, sock: socket.socket) -> None:
        """Serve an accepted socket; returns when it is ours, with TLS when the handshake is over, however it ended."""
        sock.setblocking(False)
        connection = HttpConnection(self, sock)
        self._open.add(connection)
        self._none.clear()
        self._changed()
        tls = self.tls is not None
        plain = sock.dup() if tls else None  # a client that speaks no TLS is told so
        try:
            await self.loop.connect_accepted_socket(
                lambda: connection,
                sock,
                ssl=self.tls,
                ssl_handshake_timeout=self.limits.header_seconds if tls else None,
                ssl_shutdown_timeout=_TLS_SHUTDOWN_SECONDS if tls else None,
            )
        except OSError as error:  # the client has gone, or speaks no TLS
            if plain is not None and getattr(error, "reason", None) == "HTTP_REQUEST":
                self._refuse_plain(plain)
            sock.close()
            self.lost(connection)
        finally:
            if plain is not None:
                plain.close()

    def _refuse_plain(self, sock: socket.socket) -> None:
        refused = malformed("plain HTTP was spoken to a port of TLS: its URLs begin with https://")
        with contextlib.suppress(OSError):
            client = sock.getpeername()
            self.refused(refused, client[0] if sock.family != socket.AF_UNIX else None)
            sock.send(refused.answer(self.date))
            sock.shutdown(socket.SHUT_WR)

    def give_away(self, most: int) -> list[socket.socket]:
        """Sockets of up to `most` idle connections, no longer ours; `given` gets the missing ones within a second.

        Bytes that arrive meanwhile stay in the socket, for its next owner. With TLS, which cannot be moved, so many
        answers that begin within a second close their connections.
        """
        self._wanted_until = self.loop.time() + _WISH_SECONDS
        idle = [] if self.tls is not None else [one for one in self._open if one.idle]
        idle.sort(key=lambda one: one.read_by, reverse=True)  # those that were busy a moment ago
        given = [self._let_go(one) for one in idle[:most]]
        self.wanted = most - len(given) if self._given is not None or self.tls is not None else 0
        return given

    def close_idle(self, most: int) -> None:
        """Close up to so many idle connections, the longest idle ones first."""
        for connection in sorted((one for one in self._open if one.idle), key=lambda one: one.read_by)[:most]:
            connection.overdue(connection.read_by + 1)

    def drain(self) -> None:
        """Close what is idle, and what is under way after its answer, which says so."""
        if not self._draining:
            self._draining = True
            self._before = set(self._open)
        self.wanted = 0
        for connection in self._open:
            connection.drain(DRAIN_IDLE_SECONDS)

    async def closed(self) -> None:
        """Return when no connection is open."""
        await self._none.wait()

    def abort(self) -> None:
        """Close all, whatever is under way."""
        for connection in list(self._open):
            connection.abort()

    def sweep(self) -> None:
        """End what is overdue. To be called twice a second."""
        now = self.loop.time()
        self._set_date()
        if self.wanted and now > self._wanted_until:
            self.wanted = 0
        for connection in [one for one in self._open if one.read_by < now or one.taken_by < now]:
            connection.overdue(now)

    # What a connection calls.

    def start(self, exchange: Exchange, head: Head, about: Mapping[str, Any]) -> None:
        """Begin the application's turn; `about`: what the scope says of the connection."""
        scope = {**self._about, **about, **head.scope}
        scope["headers"] = list(head.headers)
        root = self._root_path
        if root and not (scope["path"] + "/").startswith(root + "/"):
            scope["path"] = root + scope["path"]
            scope["raw_path"] = root.encode() + scope["raw_path"]
        if self._state is not None:
            scope["state"] = self._state.copy()
        self.running.add(exchange)
        exchange.task = self.loop.create_task(exchange.run(scope))

    def last_answer(self) -> bool:
        """Whether the answer that begins now should be its connection's last."""
        if self._draining:
            return True
        if self.tls is not None and self.wanted:
            self.wanted -= 1
            return True
        return False

    @property
    def idle_seconds(self) -> float:
        """How long a connection may be idle."""
        return DRAIN_IDLE_SECONDS if self._draining else self.limits.keep_alive_seconds

    def offer(self, connection: HttpConnection) -> None:
        """One is idle now, and some are wanted."""
        if self._given is not None and self.tls is None and connection.idle:
            self.wanted -= 1
            with contextlib.suppress(OSError):  # no more files can be open: it stays
                self._given(self._let_go(connection))

    def lost(self, connection: HttpConnection) -> None:
        """One is no more."""
        if connection in self._open:
            self._open.remove(connection)
            self._before.discard(connection)
            if not self._open:
                self._none.set()
            self._changed()

    def _let_go(self, connection: HttpConnection) -> socket.socket:
        sock = connection.detach()
        self.lost(connection)
        return sock

    def _set_date(self) -> None:
        self.date = b"date: %b" % formatdate(usegmt=True).encode()
