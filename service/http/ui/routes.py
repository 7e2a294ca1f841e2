"""Routes of the page: `/ui`, its files, and the documents that only it asks for."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
from starlette.responses import Response

from latentserve.service.host.group import Group
from latentserve.service.http.call import Call
from latentserve.service.http.negotiation import accepts_gzip
from latentserve.service.http.route import Route
from latentserve.service.http.ui.documents import card_of, models_document, picture_of
from latentserve.service.http.ui.files import SAFE, Content, Files
from latentserve.service.http.ui.markdown import to_html
from latentserve.service.http.ui.runbooks import runbook, runbook_names
from latentserve.service.serving import Serving
from latentserve.service.state import state_folder
from latentserve.service.upkeep import update_metrics
from latentserve.service.watching.exposition import Exposition
from latentserve.service.watching.overview import overview
from latentserve.service.watching.shared_text import SharedText

_JSON = "application/json"


class UiRoutes:
    """What `/`, `/ui` and what is under it answer."""

    def __init__(self, serving: Serving, group: Group, exposition: Exposition) -> None:
        self._handler, self._settings, self._group = serving.handler, serving.settings, group
        self._exposition = exposition
        self._files = Files()
        self._health = SharedText(state_folder() / "overview", self._overview, exposition.thread)

    def __iter__(self) -> Iterator[Route]:
        """All of them."""
        yield Route("/", {"GET": self._lead}, needs="nothing")
        yield Route("/ui", {"GET": self._page}, needs="nothing")
        yield Route("/ui/models.json", {"GET": self._models}, needs="metadata")
        yield Route("/ui/health.json", {"GET": self._healths}, needs="metadata")
        yield Route("/ui/runbooks.json", {"GET": self._runbooks}, needs="nothing")
        yield Route("/ui/{file}", {"GET": self._file}, needs="nothing")
        yield Route("/ui/runbooks/{name}", {"GET": self._runbook}, needs="nothing")
        yield Route("/ui/cards/{model}", {"GET": self._card}, needs="metadata")
        yield Route("/ui/pictures/{model}/{name}", {"GET": self._picture}, needs="metadata")

    async def _lead(self, _call: Call) -> Response:
        # Relative where nobody says under which path a proxy shows the server: `/anything/` leads to `/anything/ui`.
        root = self._settings.root_path
        return Response(status_code=307, headers={"Location": f"{root}/ui" if root else "ui"})

    async def _page(self, call: Call) -> Response:
        return self._files.answer(call, "index.html")

    async def _file(self, call: Call) -> Response:
        if not (name := call.parameters["file"]):  # `/ui/`: what the page names is relative to `/ui`
            return Response(status_code=307, headers={"Location": "../ui"})
        return self._files.answer(call, name)

    async def _models(self, _call: Call) -> Response:
        return _fresh(models_document(self._handler.models, self._settings), _JSON)

    async def _healths(self, call: Call) -> Response:
        update_metrics(self._handler, self._group)
        zipped = accepts_gzip(call.headers.get(b"accept-encoding", b"").decode("latin-1"))
        response = _fresh(await self._health.get(zipped), _JSON)
        if zipped:
            response.headers["Content-Encoding"] = "gzip"
        return response

    def _overview(self) -> bytes:
        judges = {(model.name, model.version): model.judge for model in self._handler.models}
        return overview(self._exposition.registry, judges)

    async def _runbooks(self, call: Call) -> Response:
        return Content(orjson.dumps(runbook_names()), _JSON).answer(call)

    async def _runbook(self, call: Call) -> Response:
        return runbook(call.parameters["name"]).answer(call)

    async def _card(self, call: Call) -> Response:
        html = to_html(card_of(self._handler.models.find(call.parameters["model"], None)))
        return _fresh(html.encode(), "text/html; charset=utf-8")

    async def _picture(self, call: Call) -> Response:
        model = self._handler.models.find(call.parameters["model"], None)
        content, media = picture_of(model, call.parameters["name"])
        return Content(content, media).answer(call)


def _fresh(content: bytes, media: str) -> Response:
    """What is another the next time."""
    return Response(content, media_type=media, headers={**SAFE, "Cache-Control": "no-store", "Vary": "Accept-Encoding"})
