"""`/readyz` and `/livez`: of all workers of the server, whichever of them answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from starlette.responses import PlainTextResponse, Response

from latentserve.service.errors import NotReadyError
from latentserve.service.serving import Serving


class Group(Protocol):
    """All workers of a server, as each of them knows it."""

    @property
    def ready(self) -> bool:
        """Whether every worker may serve."""

    @property
    def draining(self) -> bool:
        """Whether the server is being stopped."""


def readiness(serving: Serving, group: Group | None) -> Response:
    """`GET /readyz`. Raises NotReadyError, which says why."""
    faults = list(serving.faults())
    if group is not None:
        if group.draining:
            raise NotReadyError("the server is draining")
        if group.ready:
            return _well()
        faults = faults or ["another worker is not ready"]
    return _well(faults)


def liveness(serving: Serving) -> Response:
    """`GET /livez`. Raises NotReadyError, which says why."""
    return _well(serving.hung())


def _well(faults: Iterable[str] = ()) -> Response:
    if found := "; ".join(faults):
        raise NotReadyError(found)
    return PlainTextResponse("ok\n")
