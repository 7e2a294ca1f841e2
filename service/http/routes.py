"""Our routes, in front of BentoML's: what is ours never enters BentoML's router, request contexts and schemas."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import orjson
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from latentserve.service.errors import (
    LatentserveError,
    MethodNotAllowedError,
    NotFoundError,
    TooLargeError,
)
from latentserve.service.http.body import read_body, read_fields
from latentserve.service.http.catalogue import describe_drift, describe_model, list_models
from latentserve.service.http.health import Group, liveness, readiness
from latentserve.service.http.problems import problem
from latentserve.service.serving import Serving
from latentserve.service.upkeep import update_metrics
from latentserve.service.watching import metrics

_SAMPLES, _MODELS, _DRIFT, _METRICS = "/v1/samples", "/v1/models", "/v1/drift", "/metrics"
_READY, _LIVE = "/readyz", "/livez"
# BentoML's page would load a tracker from elsewhere.
_ITS_OWN_ONLY = (b"content-security-policy", b"default-src 'self' 'unsafe-inline' data:")
_NOT_FOUND, _NOT_ALLOWED = 404, 405


class Routes:
    """ASGI middleware: answers `/v1/...` and `/metrics`, and passes everything else on to BentoML."""

    def __init__(self, app: ASGIApp, serving: Serving, group: Group | None) -> None:
        self._app = app
        self._serving = serving
        self._group = group
        self._handler = serving.handler
        self._max_body_bytes = serving.settings.max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope["path"] if scope["type"] == "http" else ""
        if path == _SAMPLES and scope["method"] == "POST":
            headers = dict(scope["headers"])
            accept = headers.get(b"accept", b"").decode("latin-1")
            response = await self._handler.respond(
                _SAMPLES, lambda share: read_fields(headers, receive, self._max_body_bytes, share), accept, receive
            )
        elif path == _METRICS:
            response = await self._guarded(_METRICS, scope, self._exposition)
        elif path == _READY:
            response = await self._guarded(_READY, scope, self._ready)
        elif path == _LIVE:
            response = await self._guarded(_LIVE, scope, self._live)
        elif path == _DRIFT:
            response = await self._guarded(_DRIFT, scope, self._drift)
        elif path == _MODELS:
            response = await self._guarded(_MODELS, scope, self._list)
        elif path.startswith(f"{_MODELS}/"):
            response = await self._guarded(f"{_MODELS}/{{model}}", scope, self._describe)
        elif path.startswith("/v1/"):
            response = await self._guarded("/v1/", scope, self._nothing)
        else:
            await self._pass_on(scope, receive, send)
            return
        await response(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """BentoML's answer, but for what it does not know, and a body that is too large: a problem like any other."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        unknown = False
        try:
            content = await read_body(dict(scope["headers"]), receive, self._max_body_bytes)
        except ClientDisconnect:
            return
        except TooLargeError as error:
            metrics.REJECTED.labels(reason="too_large").inc()
            metrics.count_unrouted("other", error.status)
            await problem(error)(scope, receive, send)
            return
        unread: list[Message] = [{"type": "http.request", "body": content}]

        async def receive_again() -> Message:
            return unread.pop() if unread else await receive()

        async def send_unless_unknown(message: Message) -> None:
            nonlocal unknown
            if message["type"] == "http.response.start" and message["status"] in (_NOT_FOUND, _NOT_ALLOWED):
                unknown = True
                error: LatentserveError = NotFoundError(f"{_shown(scope)}: no such route")
                if message["status"] == _NOT_ALLOWED:
                    error = MethodNotAllowedError(_shown(scope), Headers(raw=message["headers"]).get("allow", ""))
                metrics.count_unrouted("other", error.status)
                await problem(error)(scope, receive, send)
            elif not unknown:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], _ITS_OWN_ONLY]
                await send(message)

        await self._app(scope, receive_again, send_unless_unknown)

    async def _guarded(self, route: str, scope: Scope, handler: Callable[[Scope], Awaitable[Response]]) -> Response:
        """Answer, whatever becomes of it, and count it under `route`."""
        try:
            if scope["method"] not in ("GET", "HEAD") and handler != self._nothing:
                raise MethodNotAllowedError(_shown(scope), "GET")
            response = await handler(scope)
        except LatentserveError as error:
            response = problem(error)
        metrics.count_unrouted(route, response.status_code)
        return response

    async def _drift(self, _scope: Scope) -> Response:
        return _as_json(describe_drift(self._handler.models))

    async def _list(self, _scope: Scope) -> Response:
        return _as_json(list_models(self._handler.models))

    async def _describe(self, scope: Scope) -> Response:
        return _as_json(describe_model(self._handler.models, scope["path"].removeprefix(f"{_MODELS}/")))

    async def _exposition(self, _scope: Scope) -> Response:
        update_metrics(self._handler)
        content = await asyncio.get_running_loop().run_in_executor(None, metrics.exposition)
        return Response(content, headers={"Content-Type": metrics.CONTENT_TYPE})

    async def _ready(self, _scope: Scope) -> Response:
        return readiness(self._serving, self._group)

    async def _live(self, _scope: Scope) -> Response:
        return liveness(self._serving)

    async def _nothing(self, scope: Scope) -> Response:
        if scope["path"] == _SAMPLES:
            raise MethodNotAllowedError(_shown(scope), "POST")
        raise NotFoundError(f"{_shown(scope)}: no such route")


def _shown(scope: Scope) -> str:
    return f"{scope['method']} {scope['path'][:200]}"


def _as_json(content: object) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
