"""One request on its way through the application: what was asked, by whom, and what became of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar

from starlette.types import Receive, Scope

from latentserve.service.access.grants import Grant
from latentserve.service.auditing.account import Sent
from latentserve.service.errors import LatentserveError
from latentserve.service.models import Model
from latentserve.service.request_ids import request_id
from latentserve.service.trace import Trace

Members = Callable[[LatentserveError], Mapping[str, object]]

# `version-trace_id-parent_id-flags` (W3C Trace Context, section 3.2); later versions may have more behind it.
_TRACE = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


class Call:
    """A request.

    Attributes:
        method: in upper case.
        headers: by their names in lower case; of a name that came several times one list (RFC 9110, section 5.3).
        path: as the routes know it, without what a proxy in front has put before it.
        id: the client's `X-Request-ID`, or a new one.
        traceparent: the client's, or None.
        route: the template that it is counted under.
        parameters: what its path has in the places of the template.
        samples: it asks for samples.
        grant: what its key lets it have; None: it needed none.
        members: what its protocol wants of an error, or None.
        model: that it was for, where that is known.
        sent: its answer, where that is in an account.
        trace: what is noted of it; None: it is not traced.
        began: when it arrived, as `time.perf_counter` has it.
        error: why it was not answered as asked, or None.
    """

    __slots__ = (
        "began",
        "error",
        "grant",
        "headers",
        "id",
        "members",
        "method",
        "model",
        "parameters",
        "path",
        "receive",
        "route",
        "samples",
        "scope",
        "sent",
        "trace",
        "traceparent",
    )

    def __init__(self, scope: Scope, receive: Receive, path: str) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.receive = receive
        self.path = path
        self.began = time.perf_counter()
        raw = scope["headers"]
        headers = dict(raw)
        self.headers = headers if len(headers) == len(raw) else join(raw)
        self.id = request_id(self.headers.get(b"x-request-id"))
        trace = self.headers.get(b"traceparent")
        self.traceparent = trace if trace is not None and is_traceparent(trace) else None
        self.route = "other"
        self.parameters: Mapping[str, str] = {}
        self.samples = False
        self.grant: Grant | None = None
        self.members: Members | None = None
        self.model: Model | None = None
        self.sent: Sent | None = None
        self.trace: Trace | None = None
        self.error: Exception | None = None

    @property
    def shown(self) -> str:
        """Method and path, for a sentence."""
        return f"{self.method} {self.path[:200]}"


# The call that BentoML's application is answering.
current: ContextVar[Call] = ContextVar("call")


def join(raw: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name; of a name that comes several times its values, with commas between them."""
    joined: dict[bytes, bytes] = {}
    for name, value in raw:
        joined[name] = b"%b, %b" % (joined[name], value) if name in joined else value
    return joined


def is_traceparent(value: bytes) -> bool:
    """Whether this is a valid `traceparent`."""
    found = _TRACE.fullmatch(value)
    return found is not None and not (found[1] == b"00" and found[3])
