"""`/v2/...`: which paths the protocol has, and who answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.responses import Response

from latentserve.service.access.needs import Needs
from latentserve.service.errors import LatentserveError
from latentserve.service.host.group import Group
from latentserve.service.http.body import read_body
from latentserve.service.http.call import Call
from latentserve.service.http.health import liveness, readiness
from latentserve.service.http.inference.catalogue import (
    describe_configuration,
    describe_server,
    describe_tensors,
    list_states,
)
from latentserve.service.http.inference.infer import Infer
from latentserve.service.http.inference.statistics import describe_statistics
from latentserve.service.http.route import Handler, Route
from latentserve.service.models import Model
from latentserve.service.serving import Serving
from latentserve.service.upkeep import update_metrics
from latentserve.service.watching.exposition import Exposition

_ROOT = "/v2"
_INDEX_BYTES = 1 << 10  # of the body that asks for the index
_NEEDS: Mapping[str, Needs] = {"/infer": "sample", "/stats": "metrics"}  # by the end of a path; others are metadata


def inference_routes(serving: Serving, group: Group, exposition: Exposition) -> Sequence[Route]:
    """The routes. `exposition` is what `/metrics` says."""
    return _Inference(serving, group, exposition).routes()


def error_member(error: LatentserveError) -> Mapping[str, object]:
    """What the protocol wants of an error."""
    return {"error": str(error)}


UNKNOWN = Route("other", {}, needs="nothing", members=error_member)


class _Inference:
    def __init__(self, serving: Serving, group: Group, exposition: Exposition) -> None:
        self._serving = serving
        self._exposition = exposition
        self._group = group
        self._infer = Infer(serving.handler, serving.settings)

    def routes(self) -> Sequence[Route]:
        of_model: dict[str, Mapping[str, Handler]] = {
            "/infer": {"POST": self._infer},
            "/ready": {"GET": self._model_ready},
            "/config": {"GET": self._configuration},
            "/stats": {"GET": self._statistics},
            "": {"GET": self._model},
        }
        return (
            *(
                Route(
                    f"{_ROOT}/models/{{model}}{version}{end}",
                    handlers,
                    samples=end == "/infer",
                    needs=_NEEDS.get(end, "metadata"),
                    members=error_member,
                )
                for end, handlers in of_model.items()
                for version in ("", "/versions/{version}")
            ),
            Route(f"{_ROOT}/models/stats", {"GET": self._statistics}, needs="metrics", members=error_member),
            Route(_ROOT, {"GET": self._server}, needs="metadata", members=error_member),
            Route(
                f"{_ROOT}/repository/index",
                {"GET": self._index, "POST": self._index},
                needs="metadata",
                members=error_member,
            ),
            *(
                Route(
                    f"{_ROOT}/health/{end}",
                    {"GET": handler},
                    needs="nothing",
                    members=error_member,
                    while_draining=True,
                    for_strangers=True,
                )
                for end, handler in (("live", self._live), ("ready", self._ready))
            ),
        )

    async def _server(self, _call: Call) -> Response:
        return _as_json(describe_server())

    async def _live(self, _call: Call) -> Response:
        liveness(self._serving)
        return _as_json(b'{"live":true}')

    async def _ready(self, _call: Call) -> Response:
        readiness(self._serving, self._group)
        return _as_json(b'{"ready":true}')

    async def _model(self, call: Call) -> Response:
        return _as_json(describe_tensors(self._find(call)))

    async def _model_ready(self, call: Call) -> Response:
        model = self._find(call)
        model.require_ready()
        return _as_json(b'{"name":"%b","ready":true}' % model.name.encode())

    async def _configuration(self, call: Call) -> Response:
        return _as_json(describe_configuration(self._find(call), self._serving.settings.max_n))

    async def _statistics(self, call: Call) -> Response:
        handler = self._serving.handler
        models = [self._find(call)] if "model" in call.parameters else list(handler.models)
        update_metrics(handler, self._group)
        return _as_json(describe_statistics(models, (await self._exposition.text()).decode()))

    async def _index(self, call: Call) -> Response:
        return _as_json(list_states(self._serving.handler.models, await read_body(call, _INDEX_BYTES)))

    def _find(self, call: Call) -> Model:
        """The model of a path. Raises NotFoundError."""
        return self._serving.handler.models.find(call.parameters["model"], call.parameters.get("version"))


def _as_json(content: bytes) -> Response:
    return Response(content, media_type="application/json")
