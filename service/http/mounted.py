"""BentoML's application behind ours: its routes, its page, and its errors where they say something."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from http.client import OK, TEMPORARY_REDIRECT

from pydantic_core import from_json
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from latentserve.service.errors import (
    DeadlineError,
    InvalidError,
    LatentserveError,
    MalformedError,
    MethodNotAllowedError,
    NotFoundError,
    NotReadyError,
    one_line,
)
from latentserve.service.http.body import JSON, media_of
from latentserve.service.http.call import Call, current
from latentserve.service.http.problems import failure, unforeseen
from latentserve.service.http.query import parameters
from latentserve.service.http.repeated import refuse_repeated
from latentserve.service.logs import request_id
from latentserve.service.sampling.fields import SHOWN

_PROBLEM = "application/problem+json"
_PICTURES = re.compile(rb"\[!\[[^\]]*\]\([^)]*\)\]\([^)]*\)(\\n)?|!\[[^\]]*\]\([^)]*\)")  # of Markdown, in JSON
# What its routes that ask for samples take: of a name that is none of these it would say nothing.
FIELDS: Mapping[str, frozenset[str]] = {
    "/sample": frozenset(("n", "seed", "label", "condition", "truncation", "model")),
    "/interpolate": frozenset(("ends", "frames", "curve", "loop", "label", "condition", "truncation", "model")),
    "/vary": frozenset(("seed", "row", "n", "strength", "variation_seed", "label", "condition", "truncation", "model")),
    "/score": frozenset(("samples", "label", "labels", "condition", "conditions", "model")),
}
# What else it has: a page, and what that asks for by itself.
_PAGES = frozenset(("/bento", "/docs.json", "/schema.json"))
_FILES = "/static_content/"
# A page loads nothing from elsewhere; BentoML's would load a tracker.
ITS_OWN_ONLY = (b"content-security-policy", b"default-src 'self' 'unsafe-inline' data:")


def is_page(path: str) -> bool:
    """Whether it is BentoML's page, or a part of it."""
    return path in _PAGES or path.startswith(_FILES)


def require_mounted(call: Call) -> None:
    """Raise NotFoundError for a path that it does not have: it would be imported to say so, for seconds."""
    if call.path not in FIELDS and not is_page(call.path):
        raise NotFoundError(f"{call.shown}: no such route")


def wants_value(call: Call) -> bool:
    """Whether it is another service of BentoML's on this machine that asks, one that depends on this one: it is sent
    the value itself. From clients such a body is refused before anybody looks at it."""
    return b"pickle" in call.headers.get(b"content-type", b"").lower()


def require_json(call: Call) -> None:
    """Raise UnsupportedMediaError for a body that is none of JSON, which it would try to understand: what pages may
    send unasked, for one; and InvalidError for fields in the query, which it would pass by."""
    media_of(call, (JSON,))
    for name, _ in parameters(call.scope.get("query_string", b"")):
        raise InvalidError(name[:SHOWN], "is in the query; every field is in the body")


def require_known(body: bytes, known: Collection[str]) -> None:
    """Raise InvalidError for a name that it would pass by, and for one that comes twice; MalformedError: no JSON."""
    try:
        fields = from_json(body or b"{}")
    except ValueError as error:
        raise MalformedError(f"the body is not JSON: {one_line(error)}") from None
    if isinstance(fields, dict):
        for name in fields.keys() - known:
            raise InvalidError(name[:SHOWN], "unknown field")
        refuse_repeated(body, len(fields))


async def content_of(response: Response, call: Call) -> bytes:
    """What a response would send."""
    content = bytearray()

    async def send(message: Message) -> None:
        content.extend(message.get("body", b""))

    await response(call.scope, call.receive, send)
    return bytes(content)


async def without_pictures(response: Response, call: Call) -> Response:
    """BentoML's document, which its page shows, without pictures of other hosts: the page may not load them."""
    content = _PICTURES.sub(b"", await content_of(response, call))
    name, policy = ITS_OWN_ONLY
    headers = {name.decode(): policy.decode()}
    media = "application/json" if response.status_code == OK else _PROBLEM
    return Response(content, response.status_code, headers, media)


class MountedResponse(Response):
    """What BentoML's application answers to a call with this body.

    Problems that our own code answers there pass as they are. What it answers itself to a path or a method that it does
    not know, and to an error, becomes a problem.
    """

    def __init__(self, app: ASGIApp, call: Call, body: bytes, root_path: str, path: str | None = None) -> None:
        """`path`: as BentoML's routes know it, where that is another than the call's."""
        self.status_code = 500  # until it has begun
        self.raw_headers = [ITS_OWN_ONLY]
        self._app = app
        self._call = call
        self._unread: list[Message] = [{"type": "http.request", "body": body}]
        self._root_path = root_path
        self._path = call.path if path is None else path
        self._instead: Response | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer it. Raises what BentoML's application raises once it has begun."""
        begun = False

        async def receive_again() -> Message:
            return self._unread.pop() if self._unread else await receive()

        async def send_own(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                self.status_code = message["status"]
                if (error := self._error(message)) is not None:
                    await self._answer_instead(error, scope, receive, send)
                    return
                message["headers"] = [*message["headers"], *self.raw_headers]
            if self._instead is None:
                await send(message)

        current.set(self._call)
        request_id.set(self._call.id.decode())
        inner = {
            **scope,
            "root_path": self._root_path,
            "path": self._root_path + self._path,
            # The body is decoded already.
            "headers": [pair for pair in scope["headers"] if pair[0] not in (b"content-encoding", b"content-length")],
        }
        try:
            await self._app(inner, receive_again, send_own)
        except Exception as error:
            if self._instead is not None:
                self._call.error = error  # why it was answered so
            elif begun:
                raise
            else:
                await self._answer_instead(error, scope, receive, send)

    async def _answer_instead(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        self._instead = failure(self._call, error, self.raw_headers)
        self.status_code = self._instead.status_code
        await self._instead(scope, receive, send)

    def _error(self, start: Message) -> LatentserveError | None:
        """What is answered instead."""
        headers = Headers(raw=start["headers"])
        status = start["status"]
        if headers.get("content-type", "").startswith(_PROBLEM):
            return None
        if status in (NotFoundError.status, TEMPORARY_REDIRECT):  # to a path without its last slash, by whatever name
            return NotFoundError(f"{self._call.shown}: no such route")
        if status == MethodNotAllowedError.status:
            return MethodNotAllowedError(self._call.shown, headers.get("allow", ""))
        if status == NotReadyError.status:
            return NotReadyError("BentoML's part of the server takes no requests")
        if status == DeadlineError.status:
            return DeadlineError("BentoML's part of the server did not answer in time")
        if status >= LatentserveError.status:
            return unforeseen(self._call)
        return None
