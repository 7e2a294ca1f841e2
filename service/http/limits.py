"""What every route is protected from: other machines, where nobody allowed them, and bodies that are too large."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from latentserve.service.errors import ClosedError, TooLargeError
from latentserve.service.http.problems import problem
from latentserve.service.settings import is_loopback
from latentserve.service.watching import metrics

_OPEN = ("/livez", "/readyz")


class Loopback:
    """ASGI middleware: without keys, answers what reaches the server on a loopback address, and nothing else.

    `latentserve serve` refuses to listen elsewhere; other ways to start the service do not.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        address = (scope.get("server") or ("localhost", None))[0]  # None: a socket of this machine's file system
        if scope["type"] == "http" and scope["path"] not in _OPEN and not is_loopback(address):
            error = ClosedError("set LATENTSERVE_ALLOW_OPEN=true to answer other machines without keys")
            await problem(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)


class BodyLimit:
    """ASGI middleware: answers 413 to a body of more than `max_bytes`, without reading the rest of it."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        if stated.isdigit() and int(stated) > self._max_bytes:
            await self._refuse(scope, receive, send)
            return
        read = 0
        answered = refused = False

        async def counted_receive() -> Message:
            nonlocal read, refused
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_bytes and not answered:
                refused = True
                await self._refuse(scope, receive, send)
                return {"type": "http.disconnect"}
            return message

        async def guarded_send(message: Message) -> None:
            nonlocal answered
            answered = True
            if not refused:
                await send(message)

        await self._app(scope, counted_receive, guarded_send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        metrics.REJECTED.labels(reason="too_large").inc()
        error = TooLargeError(f"the body has more than the {self._max_bytes} bytes that are taken")
        await problem(error)(scope, receive, send)
