"""Errors as answers: RFC 9457 problem details."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from latentserve.service.errors import (
    BadRequestError,
    BodyTimeoutError,
    BudgetError,
    ForbiddenError,
    InvalidError,
    LatentserveError,
    MethodNotAllowedError,
    NotReadyError,
    QueueFullError,
    QuotaError,
    RangeError,
    UnauthorizedError,
    UnsupportedEncodingError,
)
from latentserve.service.host.limits import RequestError
from latentserve.service.http.call import Call, Members

CLIENT_GONE = 499  # nobody reads it; it is counted

_CHALLENGE = 'Bearer realm="latentserve"'  # RFC 6750, section 3


def problem(error: LatentserveError, members: Members | None = None) -> Response:
    """The answer to a request that failed, with the `members` that its protocol wants more."""
    body: dict[str, object] = {
        "type": error.type,
        "title": error.title,
        "status": error.status,
        "detail": str(error),
    }
    if members is not None:
        body |= members(error)
    headers = {}
    if isinstance(error, InvalidError):
        body["field"] = error.field
    if isinstance(error, BudgetError):
        body |= {"looked_at": error.looked_at, "passed": error.passed}
    if isinstance(error, QueueFullError | QuotaError | NotReadyError):
        body["retry_after"] = error.retry_after
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, MethodNotAllowedError):
        headers["Allow"] = error.allowed
    if isinstance(error, RangeError):
        headers["Content-Range"] = f"bytes */{error.length}"
    if isinstance(error, UnsupportedEncodingError):
        headers["Accept-Encoding"] = error.accepted
    if isinstance(error, UnauthorizedError):
        headers["WWW-Authenticate"] = f'{_CHALLENGE}, error="invalid_token"' if error.given else _CHALLENGE
    if isinstance(error, ForbiddenError):
        headers["WWW-Authenticate"] = f'{_CHALLENGE}, error="insufficient_scope", scope="{error.scope}"'
    return Response(orjson.dumps(body), error.status, headers, "application/problem+json")


def failure(call: Call, error: Exception, headers: Sequence[tuple[bytes, bytes]] = ()) -> Response:
    """The answer to a call that failed, whatever the error is, with these headers more. The call keeps the error."""
    call.error = error
    if isinstance(error, ClientDisconnect):
        return Response(status_code=CLIENT_GONE)
    told: LatentserveError
    if isinstance(error, LatentserveError):
        told = error
    elif isinstance(error, RequestError):
        told = BodyTimeoutError(str(error)) if error.status == BodyTimeoutError.status else BadRequestError(str(error))
    else:
        told = unforeseen(call)
    answer = problem(told, call.members)
    answer.raw_headers += headers
    return answer


def unforeseen(call: Call) -> LatentserveError:
    """What a client is told of an error that is none of ours."""
    return LatentserveError(f"an unexpected error; the server's log tells of it under {call.id.decode()}")
