"""A route: a path, or many of one form; what methods it takes, and who answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from starlette.responses import Response

from latentserve.service.access.needs import Needs
from latentserve.service.errors import MethodNotAllowedError, NotFoundError
from latentserve.service.http.call import Call, Members
from latentserve.service.http.openapi.operation import Operation

Handler = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """A path, or many of one form.

    Attributes:
        template: what it is counted under. `{name}` stands for a part of the path without slashes, which the call then
            has in `parameters`.
        handlers: by method. Who answers GET answers HEAD.
        samples: it is asked for samples.
        needs: what a client needs for it, where keys are on.
        operations: what is said of it, by method.
        members: what its protocol wants of an error, beside the members of a problem.
        while_draining: it is answered while the server drains, too.
        of_operators: it is answered on the metrics port, too, where nothing else is.
        for_strangers: it is answered to other machines, whether they are allowed or not.
    """

    template: str
    handlers: Mapping[str, Handler]
    samples: bool = False
    needs: Needs = "sample"
    operations: Mapping[str, Operation] = field(default_factory=dict)
    members: Members | None = None
    while_draining: bool = False
    of_operators: bool = False
    for_strangers: bool = False

    def answer(self, call: Call) -> Awaitable[Response]:
        """The answer to a call, on its way."""
        method = call.method
        handler = self.handlers.get("GET" if method == "HEAD" else method)
        return self._others(call) if handler is None else handler(call)

    async def _others(self, call: Call) -> Response:
        """The answer to another method. Raises MethodNotAllowedError, NotFoundError."""
        if not self.handlers:
            raise NotFoundError(f"{call.shown}: no such route")
        allowed = ", ".join([*self.handlers, *(["HEAD"] if "GET" in self.handlers else []), "OPTIONS"])
        if call.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": allowed})
        raise MethodNotAllowedError(call.shown, allowed)
