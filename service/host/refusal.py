"""What the host answers itself, before an application hears of a request: RFC 9457 problem details."""

from __future__ import annotations

from http import HTTPStatus

import orjson


class Refused(Exception):  # noqa: N818 - an answer, not a failure
    """A request that is not handed on. `kind` is one of a few words: it counts, and names the problem's type."""

    def __init__(self, status: int, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.kind = status, kind

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
            b"HTTP/1.1 %d %b\r\n%bcontent-type: application/problem+json\r\ncontent-length: %d\r\n"
            b"%bconnection: close\r\n\r\n%b"
        ) % (self.status, phrase.encode(), date, len(body), retry, body)


def malformed(detail: str) -> Refused:
    """400: not HTTP/1.1, or HTTP that two readers could understand in two ways."""
    return Refused(HTTPStatus.BAD_REQUEST, "malformed-request", detail)
