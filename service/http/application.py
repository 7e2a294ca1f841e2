"""The application: the outermost of what answers, with BentoML's behind it."""

from __future__ import annotations

import asyncio
import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from latentserve.service.errors import LatentserveError, one_line
from latentserve.service.http.health import Group
from latentserve.service.http.loopback import Loopback
from latentserve.service.http.routes import Routes
from latentserve.service.serving import Serving

log = logging.getLogger(__name__)


class Application:
    """An ASGI application; also a middleware of BentoML's, where `group` is None and it speaks for itself alone.

    Attributes:
        serving: what this process serves, and what ails it.
    """

    def __init__(self, app: ASGIApp, serving: Serving, group: Group | None = None) -> None:
        """`app` is BentoML's."""
        self.serving = serving
        self._app = app
        self._group = group
        settings = serving.settings
        answer: ASGIApp = Routes(app, serving, group)
        self._answer = answer if settings.allow_open else Loopback(answer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or live for as long as the process does."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """BentoML's life within that of the models."""
        started: list[Message] = [await receive()]
        try:
            await asyncio.to_thread(self.serving.load)
        except Exception as error:
            if not isinstance(error, LatentserveError):
                log.exception("the models could not be loaded")
            await send({"type": "lifespan.startup.failed", "message": one_line(error)})
            return

        async def receive_again() -> Message:
            return started.pop() if started else await receive()

        async def send_between(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self.serving.start()
            elif message["type"].startswith("lifespan.shutdown."):
                self.serving.stop()
            await send(message)

        await self._app(scope, receive_again, send_between)
