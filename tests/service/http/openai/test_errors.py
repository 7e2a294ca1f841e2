"""Errors as OpenAI's clients read them."""

from __future__ import annotations

import pytest

from latentserve.service.errors import (
    DeadlineError,
    InvalidError,
    LatentserveError,
    MethodNotAllowedError,
    NotFoundError,
    NotReadyError,
    QueueFullError,
    TooLargeError,
)
from latentserve.service.http.openai.errors import openai_error


@pytest.mark.parametrize(
    ("error", "kind", "param", "code"),
    [
        (InvalidError("prompt", "is none"), "invalid_request_error", "prompt", "invalid_field"),
        (NotFoundError("model: 'x' is not served"), "invalid_request_error", "model", "model_not_found"),
        (NotFoundError("GET /v1/x: no such route"), "invalid_request_error", None, "not_found"),
        (TooLargeError("n: 10 rows were asked for"), "invalid_request_error", "n", "too_large"),
        (MethodNotAllowedError("GET /v1/x", "POST"), "invalid_request_error", None, "method_not_allowed"),
        (QueueFullError("9 rows wait", 2), "rate_limit_error", None, "rate_limit_exceeded"),
        (NotReadyError("the server is draining"), "server_error", None, "not_ready"),
        (DeadlineError("too late"), "server_error", None, "deadline_exceeded"),
    ],
)
def test_a_member_of_the_problem(error: LatentserveError, kind: str, param: str | None, code: str) -> None:
    told = {"message": str(error), "type": kind, "param": param, "code": code}
    assert openai_error(error) == {"error": told}
