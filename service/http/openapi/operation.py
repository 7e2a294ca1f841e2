"""What is said of one method of one route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel

from latentserve.service.errors import (
    BodyTimeoutError,
    DeadlineError,
    InvalidError,
    LatentserveError,
    MalformedArraysError,
    MalformedError,
    NotAcceptableError,
    NotFoundError,
    QueueFullError,
    QuotaError,
    TooLargeError,
    UnsupportedEncodingError,
    UnsupportedMediaError,
)

# What whoever asks for samples may meet.
SAMPLING_ERRORS: Sequence[type[LatentserveError]] = (
    MalformedError, MalformedArraysError, NotFoundError, NotAcceptableError, BodyTimeoutError, TooLargeError,
    UnsupportedMediaError, UnsupportedEncodingError, InvalidError, QueueFullError, QuotaError, DeadlineError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of a route.

    Attributes:
        summary: a line.
        description: Markdown.
        query: parameters, by name, each as a JSON schema.
        body: by media type. An object is what its model parses; None: bytes.
        examples: of a JSON body, by name. Each is answered with 200 by a server of any model.
        answers: by media type, of 200, likewise.
        errors: what it raises of its own, beside what every operation may meet.
        parts: a `Range` of an answer may be asked for, and is 206.
    """

    summary: str
    description: str = ""
    query: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    body: Mapping[str, type[BaseModel] | None] = field(default_factory=dict)
    examples: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    answers: Mapping[str, type[BaseModel] | None] = field(default_factory=dict)
    errors: Sequence[type[LatentserveError]] = ()
    parts: bool = False
