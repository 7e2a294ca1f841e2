"""Our routes: which paths there are, what methods each takes, and who answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property

from starlette.responses import Response

from latentserve.service.encoding.document import JSON
from latentserve.service.errors import NotAcceptableError, NotFoundError
from latentserve.service.host.group import Group
from latentserve.service.http.addressed import addressed_routes
from latentserve.service.http.call import Call
from latentserve.service.http.catalogue import describe_drift, describe_model, list_models
from latentserve.service.http.health import liveness, readiness
from latentserve.service.http.inference import routes as inference
from latentserve.service.http.interpolations import interpolations_route, variations_route
from latentserve.service.http.mounted import ITS_OWN_ONLY
from latentserve.service.http.negotiation import accepts_gzip, negotiate
from latentserve.service.http.openai.errors import openai_error
from latentserve.service.http.openai.images import images_route
from latentserve.service.http.openai.speech import speech_route
from latentserve.service.http.openapi.answers import DriftAnswer, ModelsAnswer, OneModelAnswer
from latentserve.service.http.openapi.document import describe
from latentserve.service.http.openapi.operation import Operation
from latentserve.service.http.openapi.page import PAGE
from latentserve.service.http.route import Route
from latentserve.service.http.samples import samples_route
from latentserve.service.http.scores import scores_route
from latentserve.service.http.ui.routes import UiRoutes
from latentserve.service.http.verify import verify_route
from latentserve.service.serving import Serving
from latentserve.service.upkeep import update_metrics
from latentserve.service.watching.exposition import CONTENT_TYPES, TEXT, Exposition

# Who answers what no route is there for, by the beginning of the path.
_UNKNOWN = {"/v1/": Route("other", {}, needs="nothing", members=openai_error), "/v2/": inference.UNKNOWN}

_LIST = Operation("What is served.", answers={JSON: ModelsAnswer})
_DESCRIBE = Operation("One model, with its manifest.", answers={JSON: OneModelAnswer}, errors=(NotFoundError,))
_DRIFT = Operation(
    "Whether what is served is what was exported.",
    "The same answer from every worker, at most 8 s old.",
    answers={JSON: DriftAnswer},
)


class Routes:
    """What `/v1/...`, `/v2/...`, `/ui`, `/metrics`, `/livez` and `/readyz` answer; everything else is BentoML's."""

    def __init__(self, serving: Serving, group: Group) -> None:
        self._serving = serving
        self._group = group
        self._handler = serving.handler
        self._metrics = Exposition(serving.settings.workers)
        routes = (
            samples_route(serving.handler, serving.settings),
            *addressed_routes(serving.handler, serving.settings),
            interpolations_route(serving.handler, serving.settings),
            variations_route(serving.handler, serving.settings),
            scores_route(serving.handler, serving.settings),
            verify_route(serving.handler, serving.settings),
            images_route(serving.handler, serving.settings),
            speech_route(serving.handler, serving.settings),
            *inference.inference_routes(serving, group, self._metrics),
            *self._about(),
            *UiRoutes(serving, group, self._metrics),
            Route("/openapi.json", {"GET": self._openapi}, needs="nothing"),
            Route("/docs", {"GET": self._page}, needs="nothing"),
            Route("/metrics", {"GET": self._exposition}, needs="metrics", while_draining=True, of_operators=True),
            *(
                Route(
                    path,
                    {"GET": handler},
                    needs="nothing",
                    while_draining=True,
                    of_operators=True,
                    for_strangers=True,
                )
                for path, handler in (("/readyz", self._ready), ("/livez", self._live), ("/healthz", self._live))
            ),
            Route("*", {"OPTIONS": self._options}, needs="nothing"),
        )
        self._all = routes
        self._plain = {route.template: route for route in routes if "{" not in route.template}
        self._patterns: dict[int, list[tuple[list[str], Route]]] = {}  # by the number of their parts
        for route in routes:
            if "{" in route.template:
                pattern = route.template.split("/")
                self._patterns.setdefault(len(pattern), []).append((pattern, route))

    def _about(self) -> Iterator[Route]:
        """What is served, and how it does."""
        listed, described = {"GET": _LIST}, {"GET": _DESCRIBE}
        yield Route("/v1/models", {"GET": self._list}, needs="metadata", members=openai_error, operations=listed)
        yield Route(
            "/v1/models/{model}", {"GET": self._describe}, needs="metadata", members=openai_error, operations=described
        )
        yield Route("/v1/drift", {"GET": self._drift}, needs="metadata", operations={"GET": _DRIFT})

    def __iter__(self) -> Iterator[Route]:
        """All of them."""
        return iter(self._all)

    def find(self, call: Call) -> Route | None:
        """The route of a call, which is told its parameters; None where it is not ours."""
        path = call.path
        route = self._plain.get(path)
        if route is not None:
            return route
        parts = path.split("/")
        for pattern, route in self._patterns.get(len(parts), ()):
            if (parameters := _match(pattern, parts)) is not None:
                call.parameters = parameters
                return route
        return next((route for start, route in _UNKNOWN.items() if path.startswith(start)), None)

    async def _openapi(self, _call: Call) -> Response:
        return _as_json(self._document)

    @cached_property
    def _document(self) -> bytes:
        return describe(self, self._serving.settings.root_path)

    async def _page(self, _call: Call) -> Response:
        return Response(PAGE, headers={ITS_OWN_ONLY[0].decode(): ITS_OWN_ONLY[1].decode()}, media_type="text/html")

    async def _drift(self, _call: Call) -> Response:
        return _as_json(describe_drift(self._handler.models))

    async def _list(self, _call: Call) -> Response:
        return _as_json(list_models(self._handler.models))

    async def _describe(self, call: Call) -> Response:
        return _as_json(describe_model(self._handler.models, call.parameters["model"]))

    async def _exposition(self, call: Call) -> Response:
        update_metrics(self._handler, self._group)
        zipped = accepts_gzip(call.headers.get(b"accept-encoding", b"").decode("latin-1"))
        media = TEXT
        with suppress(NotAcceptableError):  # then text is better than nothing
            media = negotiate(call.headers.get(b"accept", b"").decode("latin-1"), list(CONTENT_TYPES))
        headers = {"Content-Type": CONTENT_TYPES[media], "Vary": "Accept, Accept-Encoding"}
        if zipped:
            headers["Content-Encoding"] = "gzip"
        return Response(await self._metrics.text(media, zipped), headers=headers)

    async def _options(self, _call: Call) -> Response:
        """Of the server as a whole (RFC 9110, section 9.3.7)."""
        return Response(status_code=204, headers={"Allow": "GET, HEAD, POST, OPTIONS"})

    async def _ready(self, _call: Call) -> Response:
        return readiness(self._serving, self._group)

    async def _live(self, _call: Call) -> Response:
        return liveness(self._serving)


def _match(pattern: list[str], parts: list[str]) -> dict[str, str] | None:
    """What stands in a pattern's places, or None where a path of as many parts has another form."""
    found = {}
    for wanted, part in zip(pattern, parts, strict=True):
        if wanted.startswith("{"):
            found[wanted[1:-1]] = part
        elif wanted != part:
            return None
    return found


def _as_json(content: bytes) -> Response:
    return Response(content, media_type="application/json")
