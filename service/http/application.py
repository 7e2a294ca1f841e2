"""The application: the outermost of what answers, with BentoML's behind it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable
from functools import partial
from typing import Any

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from latentserve.service import logs
from latentserve.service.errors import (
    BodyTimeoutError,
    LatentserveError,
    NotFoundError,
    NotReadyError,
    QuotaError,
    UnsupportedMediaError,
    is_shortage,
    one_line,
)
from latentserve.service.host.group import Group
from latentserve.service.host.refusal import KINDS, NOT_READY, Refused
from latentserve.service.http.body import read_body
from latentserve.service.http.call import Call
from latentserve.service.http.forwarded import TrustedProxies
from latentserve.service.http.gate import Gate, needs_mounted
from latentserve.service.http.mounted import (
    FIELDS,
    MountedResponse,
    require_json,
    require_known,
    require_mounted,
    wants_value,
    without_pictures,
)
from latentserve.service.http.problems import CLIENT_GONE, failure
from latentserve.service.http.routes import Routes
from latentserve.service.serving import Serving
from latentserve.service.watching import metrics

_OWN = ("Model", "Version", "Seed", "Offset", "Rows", "Labels", "Conditions", "Scores", "Shape", "Dtype")
_EXPOSED = (
    *(f"Latentserve-{name}" for name in (*_OWN, "Looked-At", "Next-Offset")),
    "ETag",
    "Inference-Header-Content-Length",
)
# What browsers are to make of any answer: its bytes are of the type that it says, no page frames it, and where it was
# asked from is nobody's business.
_SAFE = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
_LATER = ("RateLimit", "RateLimit-Policy", "Retry-After")
_DRAIN_RETRY_SECONDS = 1  # another server, or the next one here
_BENTOML_PAGE = "/bento"  # at / it would stand where ours does
_BENTOML_DOCUMENT = "/docs.json"
_BENTOML_BODY_BYTES = 1 << 16  # of which BentoML reads all on the event loop
_CLIENT_ERROR, _SERVER_ERROR = 400, 500
_REASONS = {
    401: "unauthorized",
    403: "forbidden",
    413: "too_large",
    422: "invalid",
    429: "queue_full",
    503: "not_ready",
    504: "deadline",
}


class Application:
    """An ASGI application; also a middleware of BentoML's, where its process is a group of its own.

    Attributes:
        serving: what this process serves, and what ails it.
    """

    def __init__(self, app: ASGIApp, serving: Serving, group: Group | None = None) -> None:
        """`app` is BentoML's."""
        self.serving = serving
        self._app = app
        self._hosted = group is not None
        self._group = group or Group()
        self._group.examine = serving.health
        self._group.refused = self._count_refused
        self._group.turned_away = partial(metrics.count_refused, NOT_READY, NotReadyError.status)
        for kind in KINDS if self._hosted else ():
            metrics.REFUSED.labels(kind=kind)
        serving.group = self._group
        self._routes = Routes(serving, self._group)
        settings = serving.settings
        self._settings = settings
        self._root = settings.root_path
        self._gate = Gate(settings)
        self._proxies = TrustedProxies(settings.trusted_proxies) if settings.trusted_proxies else None
        self._cors = _cors(settings.cors_origins) if settings.cors_origins else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever becomes of it: one answer, one count, and a line of the log if it is worth one.

        Or live for as long as the process does.
        """
        if scope["type"] != "http":
            await self._live(scope, receive, send)
            return
        path = scope["path"]
        if self._root and path.startswith(f"{self._root}/"):
            path = path[len(self._root) :]
        call = Call(scope, receive if self._hosted else _in_time(receive, self._settings.body_seconds), path)
        if (telemetry := self.serving.telemetry) is not None:
            call.trace = telemetry.begin(call.traceparent)
        if self._proxies is not None:
            self._proxies.believe(scope, call.headers)
        if self._cors is not None:
            send = partial(self._cors.send, send=send, request_headers=Headers(scope=scope))
        try:
            response = await self._respond(call)
        except Exception as error:
            response = failure(call, error)
        response.raw_headers += (*_SAFE, (b"x-request-id", call.id))
        if call.grant is not None and call.samples:
            response.raw_headers += call.grant.quota.headers
        if call.traceparent is not None:
            response.raw_headers.append((b"traceparent", call.traceparent))
        if self._group.draining:
            response.raw_headers.append((b"connection", b"close"))
        status = 0
        try:
            await response(scope, receive, send)
            status = response.status_code
        except (ClientDisconnect, OSError):  # it has gone, or took too long
            status = CLIENT_GONE
            if call.sent is not None:
                call.sent.broke()
        except Exception as error:  # the connection ends with half of an answer
            call.error, status = error, error.status if isinstance(error, LatentserveError) else _SERVER_ERROR
        finally:
            self._finish(call, status or _SERVER_ERROR)
            call.error = None  # its frames hold the call, and all that was read of it, until somebody looks for circles

    def _respond(self, call: Call) -> Awaitable[Response]:
        """The answer to a call, on its way. Raises LatentserveError."""
        route = self._routes.find(call)
        if self._is_metrics_port(call.scope) and (route is None or not route.of_operators):
            raise NotFoundError(f"{call.shown}: no such route on the port of the metrics")
        if route is not None:
            call.route, call.samples, call.members = route.template, route.samples, route.members
        if self._group.draining and (route is None or not route.while_draining):
            raise NotReadyError("the server is draining", _DRAIN_RETRY_SECONDS)
        if self._cors is not None and call.method == "OPTIONS" and b"access-control-request-method" in call.headers:
            return self._preflight(self._cors, call)  # browsers send no key with it; nothing is told but who may ask
        if route is None:
            self._gate.admit(call, needs_mounted(call.path))
            return self._mounted(call)
        self._gate.admit(call, route.needs, for_strangers=route.for_strangers)
        return route.answer(call)

    def _is_metrics_port(self, scope: Scope) -> bool:
        """Whether a request came on the port that only answers who runs the server."""
        port = self._settings.metrics_port
        return port != 0 and self._hosted and (scope.get("server") or ("", None))[1] == port

    async def _preflight(self, cors: CORSMiddleware, call: Call) -> Response:
        return cors.preflight_response(Headers(scope=call.scope))

    async def _mounted(self, call: Call) -> Response:
        require_mounted(call)
        if call.path in FIELDS:  # those are counted by their paths
            call.route, call.samples = call.path, True
        if self._hosted and wants_value(call):
            raise UnsupportedMediaError("Content-Type: what is pickled is taken from nobody")
        known = FIELDS.get(call.path) if call.method == "POST" and not wants_value(call) else None
        if known is not None:
            require_json(call)
        body = await read_body(call, min(_BENTOML_BODY_BYTES, self._settings.max_body_bytes))
        if known is not None:
            require_known(body, known)
        path = "/" if call.path == _BENTOML_PAGE else call.path
        response = MountedResponse(self._app, call, body, self._root, path)
        return await without_pictures(response, call) if path == _BENTOML_DOCUMENT else response

    def _finish(self, call: Call, status: int) -> None:
        """Count the call, and say of it what somebody should read."""
        seconds = time.perf_counter() - call.began
        if call.model is not None:
            call.model.metrics.count_request(call.route, status, seconds)
        else:
            metrics.count_unrouted(call.route, status)
        reason = "quota" if isinstance(call.error, QuotaError) else _REASONS.get(status)
        if call.samples and reason is not None:
            metrics.REJECTED.labels(reason=reason).inc()
        if status >= _CLIENT_ERROR or self._settings.access_log:
            self._log(call, status, seconds)
        if call.trace is not None and self.serving.telemetry is not None:
            about: dict[str, str | int] = {"http.request.method": call.method, "http.route": call.route}
            about["latentserve.request_id"] = call.id.decode()
            if call.model is not None:
                about |= {"latentserve.model": call.model.name, "latentserve.version": call.model.version}
            name = f"{call.method} {call.route}"
            self.serving.telemetry.end(call.trace, call.traceparent, name, call.began, status, about)

    def _count_refused(self, refused: Refused, client: str | None) -> None:
        """Count what the host has answered itself: no call came of it."""
        metrics.count_refused(refused.kind, refused.status)
        logs.event(
            "refused",
            logging.WARNING,
            kind=f"refused {refused.kind}",
            status=refused.status,
            reason=refused.kind,
            client=client,
            request_id=refused.id.decode(),
            detail=str(refused),
        )

    def _log(self, call: Call, status: int, seconds: float) -> None:
        error = call.error
        client = call.scope.get("client")
        told: dict[str, Any] = {
            "status": status,
            "method": call.method,
            "path": call.path,
            "client": client[0] if client else None,
            "seconds": round(seconds, 6),
            "request_id": call.id.decode(),
            "traceparent": call.traceparent and call.traceparent.decode(),
            "detail": error and one_line(error),
            "key": call.grant and call.grant.key.id,
        }
        if status >= _SERVER_ERROR:
            foreseen = isinstance(error, LatentserveError)
            kind = f"failed {status} {type(error).__name__}"
            trace = None if foreseen else error
            logs.event("failed", logging.ERROR, trace, kind, logs.FAILURES_A_MINUTE, **told)
        elif self._settings.access_log:
            logs.event("answered", **told)
        else:
            logs.event("refused", logging.WARNING, kind=f"refused {status}", **told)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """BentoML's life within that of the models; it says itself that there are no websockets."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        started: list[Message] = [await receive()]
        try:
            await asyncio.to_thread(self.serving.load)
            if self._hosted:  # another worker would be no better
                self.serving.require_ready()
        except Exception as error:
            if not isinstance(error, LatentserveError) and not is_shortage(error):
                logs.event("load-failed", logging.ERROR, error)
            await send({"type": "lifespan.startup.failed", "message": one_line(error)})
            return

        async def receive_again() -> Message:
            return started.pop() if started else await receive()

        async def send_between(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self.serving.start()
                if not self._hosted:  # nobody else says so
                    logs.event("ready", pid=os.getpid())
            elif message["type"].startswith("lifespan.shutdown."):
                self.serving.stop()
                if not self._hosted:
                    logs.event("stopped", pid=os.getpid())
            await send(message)

        await self._app(scope, receive_again, send_between)


def _in_time(receive: Receive, seconds: float) -> Receive:
    """`receive`, of a server that waits for a body for ever. Raises BodyTimeoutError."""
    until = asyncio.get_running_loop().time() + seconds
    whole = False

    async def receive_in_time() -> Message:
        nonlocal whole
        if whole:
            return await receive()
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError:
            raise BodyTimeoutError(f"the body took longer than {seconds:g} s") from None
        whole = not message.get("more_body", False)
        return message

    return receive_in_time


def _cors(origins: tuple[str, ...]) -> CORSMiddleware:
    async def nothing(scope: Scope, receive: Receive, send: Send) -> None: ...

    return CORSMiddleware(
        nothing,  # its parts are called one by one
        allow_origins=origins,
        allow_methods=("GET", "HEAD", "POST"),
        allow_headers=("*",),
        expose_headers=(*_EXPOSED, *_LATER, "WWW-Authenticate", "X-Request-ID"),
    )
