"""`/readyz` and `/livez`: of all workers of the server, whichever of them answers."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.responses import PlainTextResponse, Response

from latentserve.service.errors import NotReadyError
from latentserve.service.host.group import Group
from latentserve.service.serving import Serving


def readiness(serving: Serving, group: Group) -> Response:
    """`GET /readyz`: whether some worker takes requests. Raises NotReadyError, which says why."""
    if group.draining:
        raise NotReadyError("the server is draining")
    return _well(() if group.ready else serving.faults())


def liveness(serving: Serving) -> Response:
    """`GET /livez`. Raises NotReadyError, which says why."""
    return _well(serving.hung())


def _well(faults: Iterable[str] = ()) -> Response:
    if found := "; ".join(faults):
        raise NotReadyError(found)
    return PlainTextResponse("ok\n")
