"""What every route is protected from: other machines, where nobody allowed them."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from latentserve.service.errors import ClosedError
from latentserve.service.http.problems import problem
from latentserve.service.settings import is_loopback

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
