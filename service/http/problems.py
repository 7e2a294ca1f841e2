"""Errors as answers: RFC 9457 problem details."""

from __future__ import annotations

import orjson
from starlette.responses import Response

from latentserve.service.errors import (
    InvalidError,
    LatentserveError,
    MethodNotAllowedError,
    NotReadyError,
    QueueFullError,
)


def problem(error: LatentserveError) -> Response:
    """The answer to a request that failed."""
    body: dict[str, object] = {
        "type": error.type,
        "title": error.title,
        "status": error.status,
        "detail": str(error),
    }
    headers = {}
    if isinstance(error, InvalidError):
        body["field"] = error.field
    if isinstance(error, QueueFullError | NotReadyError):
        body["retry_after"] = error.retry_after
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, MethodNotAllowedError):
        headers["Allow"] = error.allowed
    return Response(orjson.dumps(body), error.status, headers, "application/problem+json")
