"""What the host answers itself, before an application hears of a request: RFC 9457 problem details."""

from __future__ import annotations

import re
from http import HTTPStatus

import orjson

from latentserve.service.request_ids import request_id

NOT_READY = "not-ready"
KINDS = (
    "malformed-request",
    "header-timeout",
    "body-timeout",
    "uri-too-long",
    "expectation",
    "header-too-large",
    "internal",
    "not-implemented",
    "http-version",
    NOT_READY,
)
_STATED_ID = re.compile(rb"\r\nx-request-id:[ \t]*([^\s]+)[ \t]*\r\n", re.IGNORECASE)


class Refused(Exception):  # noqa: N818 - an answer, not a failure
    """A request that is not handed on.

    Attributes:
        status: of the answer.
        kind: one of KINDS: it counts, and names the problem's type.
        id: the answer's `X-Request-ID`.
    """

    def __init__(self, status: int, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.kind = status, kind
        self.id = request_id()

    def of(self, head: bytes) -> Refused:
        """The same, with the id that a head states, as far as it was read."""
        if (stated := _STATED_ID.search(head)) is not None:
            self.id = request_id(stated[1])
        return self

    def answer(self, date: bytes) -> bytes:
        """The whole answer, after which the connection is closed; `date`: its line in the header."""
        phrase = HTTPStatus(self.status).phrase
        problem = {
            "type": f"urn:problem-type:latentserve:{self.kind}",
            "title": phrase,
            "status": self.status,
            "detail": str(self),
        }
        body = orjson.dumps(problem)
        retry = b"retry-after: 1\r\n" if self.status == HTTPStatus.SERVICE_UNAVAILABLE else b""
        return (
            b"HTTP/1.1 %d %b\r\n%b\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\n"
            b"x-request-id: %b\r\n%bconnection: close\r\n\r\n%b"
        ) % (self.status, phrase.encode(), date, len(body), self.id, retry, body)


def malformed(detail: str) -> Refused:
    """400: not HTTP/1.1, or HTTP that two readers could understand in two ways."""
    return Refused(HTTPStatus.BAD_REQUEST, "malformed-request", detail)
