"""Our routes: which paths there are, what methods each takes, and who answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.responses import Response

from latentserve.service.errors import MethodNotAllowedError, NotFoundError
from latentserve.service.host.group import Group
from latentserve.service.http.call import Call
from latentserve.service.http.catalogue import describe_drift, describe_model, list_models
from latentserve.service.http.health import liveness, readiness
from latentserve.service.http.negotiation import accepts_gzip
from latentserve.service.serving import Serving
from latentserve.service.upkeep import update_metrics
from latentserve.service.watching.exposition import CONTENT_TYPE, Exposition

Handler = Callable[[Call], Awaitable[Response]]

SAMPLES = "/v1/samples"
_OURS = "/v1/"
_MODELS = "/v1/models/"


@dataclass(frozen=True, slots=True)
class Route:
    """A path, or many of one form.

    Attributes:
        template: what it is counted under.
        handlers: by method. Who answers GET answers HEAD.
        while_draining: it is answered while the server drains, too.
        for_strangers: it is answered to other machines, whether they are allowed or not.
    """

    template: str
    handlers: Mapping[str, Handler]
    while_draining: bool = False
    for_strangers: bool = False

    def answer(self, call: Call) -> Awaitable[Response]:
        """The answer to a call, on its way."""
        method = call.method
        handler = self.handlers.get("GET" if method == "HEAD" else method)
        return self._others(call) if handler is None else handler(call)

    async def _others(self, call: Call) -> Response:
        """The answer to another method. Raises MethodNotAllowedError."""
        allowed = ", ".join([*self.handlers, *(["HEAD"] if "GET" in self.handlers else []), "OPTIONS"])
        if call.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": allowed})
        raise MethodNotAllowedError(call.shown, allowed)


class Routes:
    """What `/v1/...`, `/metrics`, `/livez` and `/readyz` answer; everything else is BentoML's."""

    def __init__(self, serving: Serving, group: Group) -> None:
        self._serving = serving
        self._group = group
        self._handler = serving.handler
        self._metrics = Exposition(serving.settings.workers)
        self._routes = {
            SAMPLES: Route(SAMPLES, {"POST": self._samples}),
            "/v1/models": Route("/v1/models", {"GET": self._list}),
            "/v1/drift": Route("/v1/drift", {"GET": self._drift}),
            "/metrics": Route("/metrics", {"GET": self._exposition}, while_draining=True),
            "/readyz": Route("/readyz", {"GET": self._ready}, while_draining=True, for_strangers=True),
            "/livez": Route("/livez", {"GET": self._live}, while_draining=True, for_strangers=True),
        }
        self._routes["*"] = Route("*", {})
        self._model = Route(f"{_MODELS}{{model}}", {"GET": self._describe})

    def find(self, path: str) -> Route | None:
        """The route of a path, or None where it is not ours."""
        route = self._routes.get(path)
        if route is not None or not path.startswith(_OURS):
            return route
        return self._model if path.startswith(_MODELS) else _UNKNOWN

    def _samples(self, call: Call) -> Awaitable[Response]:
        accept = call.headers.get(b"accept", b"").decode("latin-1")
        return self._handler.respond(call, lambda share: self._handler.read(call, share), accept)

    async def _drift(self, _call: Call) -> Response:
        return _as_json(describe_drift(self._handler.models))

    async def _list(self, _call: Call) -> Response:
        return _as_json(list_models(self._handler.models))

    async def _describe(self, call: Call) -> Response:
        return _as_json(describe_model(self._handler.models, call.path.removeprefix(_MODELS)))

    async def _exposition(self, call: Call) -> Response:
        update_metrics(self._handler, self._group)
        zipped = accepts_gzip(call.headers.get(b"accept-encoding", b"").decode("latin-1"))
        headers = {"Content-Type": CONTENT_TYPE, "Vary": "Accept-Encoding"}
        if zipped:
            headers["Content-Encoding"] = "gzip"
        return Response(await self._metrics.text(zipped), headers=headers)

    async def _ready(self, _call: Call) -> Response:
        return readiness(self._serving, self._group)

    async def _live(self, _call: Call) -> Response:
        return liveness(self._serving)


class _Unknown(Route):
    async def _others(self, call: Call) -> Response:
        raise NotFoundError(f"{call.shown}: no such route")


_UNKNOWN = _Unknown(_OURS, {})  # whatever the method


def _as_json(content: bytes) -> Response:
    return Response(content, media_type="application/json")
