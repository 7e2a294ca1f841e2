"""Errors as OpenAI's clients read them: a member `error`, beside those of a problem."""

from __future__ import annotations

from collections.abc import Mapping

from latentserve.service.errors import (
    InvalidError,
    LatentserveError,
    NotFoundError,
    QueueFullError,
    QuotaError,
    UnauthorizedError,
)

_SERVER_ERROR = 500
_FIELDS = ("model", "version", "n")  # that other errors begin with, too


def openai_error(error: LatentserveError) -> Mapping[str, object]:
    """The member: `message`, `type`, `code`, and `param`, the field that is wrong, where there is one."""
    message = str(error)
    if isinstance(error, InvalidError):
        param: str | None = error.field
    else:
        param = next((field for field in _FIELDS if message.startswith(f"{field}: ")), None)
    kind, code = "invalid_request_error", error.slug.replace("-", "_")
    if isinstance(error, QueueFullError | QuotaError):
        kind, code = "rate_limit_error", "rate_limit_exceeded"
    elif isinstance(error, NotFoundError) and param == "model":
        code = "model_not_found"
    elif isinstance(error, UnauthorizedError):
        code = "invalid_api_key"
    elif error.status >= _SERVER_ERROR:
        kind = "server_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
