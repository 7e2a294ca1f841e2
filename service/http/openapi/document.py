"""Routes -> an OpenAPI 3.1 document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from latentserve import __version__
from latentserve.service.errors import (
    BadRequestError,
    ClosedError,
    EngineError,
    ForbiddenError,
    LatentserveError,
    MisdirectedError,
    NotReadyError,
    UnauthorizedError,
)
from latentserve.service.http.openapi.answers import ProblemAnswer
from latentserve.service.http.openapi.operation import Operation
from latentserve.service.http.route import Route

_PROBLEM = "application/problem+json"
_EVERYWHERE: Sequence[type[LatentserveError]] = (
    BadRequestError,
    UnauthorizedError,
    ForbiddenError,
    ClosedError,
    MisdirectedError,
    NotReadyError,
    EngineError,
)
# What the host answers itself, to any request that is such, by the kinds of `service/host/refusal.py`.
_OF_THE_HOST = {
    HTTPStatus.REQUEST_URI_TOO_LONG: "uri-too-long",
    HTTPStatus.EXPECTATION_FAILED: "expectation",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "header-too-large",
}
# Where keys are on; the last: where they are off.
_SECURITY: Sequence[Mapping[str, Sequence[str]]] = ({"bearer": []}, {"header": []}, {})
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_REF = "#/components/schemas/{model}"
_RETRY = {"Retry-After": {"description": "Seconds until it is worth another try.", "schema": {"type": "integer"}}}


def describe(routes: Iterable[Route], root_path: str = "") -> bytes:
    """The document, as JSON, of those routes that say of themselves what they are."""
    described = [route for route in routes if route.operations]
    models = sorted(_models(described), key=lambda model: model.__name__)
    named, schemas = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    references = {model: named[model, "validation"] for model in models}
    return orjson.dumps(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "latentserve",
                "version": __version__,
                "summary": "Samples of trained generators, by seed.",
                "description": "Row `i` of seed `s` is the same sample always. Errors are problem details (RFC 9457).",
            },
            "servers": [{"url": root_path or "/"}],
            "security": _SECURITY,
            "paths": {
                route.template: {
                    method.lower(): _operation(route, method, operation, references)
                    for method, operation in route.operations.items()
                }
                for route in described
            },
            "components": {"schemas": schemas["$defs"], "securitySchemes": _SCHEMES},
        }
    )


def _models(routes: Iterable[Route]) -> set[type[BaseModel]]:
    found: set[type[BaseModel]] = {ProblemAnswer}
    for route in routes:
        for operation in route.operations.values():
            found.update(model for model in (*operation.body.values(), *operation.answers.values()) if model)
    return found


def _operation(
    route: Route, method: str, operation: Operation, references: Mapping[type[BaseModel], Any]
) -> dict[str, Any]:
    words = [word.strip("{}") for word in route.template.split("/") if word]
    content = {media: _content(model, references) for media, model in operation.answers.items()}
    described: dict[str, Any] = {
        "operationId": "_".join([method.lower(), *(word.replace(".", "_") for word in words)]),
        "summary": operation.summary,
        "parameters": [*_path(route), *_query(operation)],
        "responses": {"200": {"description": "As asked.", "content": content}} | _errors(operation.errors, references),
    }
    if operation.parts:
        bytes_of_it = {media: _content(None, references) for media in operation.answers}
        described["responses"]["206"] = {"description": "The `Range` of it that was asked for.", "content": bytes_of_it}
    if operation.description:
        described["description"] = operation.description
    if operation.body:
        bodies = {media: _content(model, references) for media, model in operation.body.items()}
        if operation.examples:
            examples = {name: {"value": value} for name, value in operation.examples.items()}
            bodies["application/json"] = bodies["application/json"] | {"examples": examples}
        described["requestBody"] = {"content": bodies}
    return described


def _content(model: type[BaseModel] | None, references: Mapping[type[BaseModel], Any]) -> dict[str, Any]:
    return {"schema": {"type": "string", "format": "binary"} if model is None else references[model]}


def _path(route: Route) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in route.template.split("/") if part.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query(operation: Operation) -> list[dict[str, Any]]:
    return [{"name": name, "in": "query", "schema": _in_query(schema)} for name, schema in operation.query.items()]


def _in_query(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Of a field of a body: in a query there is no null, and what is not given is not there."""
    kept = {key: value for key, value in schema.items() if key not in ("anyOf", "title", "default")}
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    return kept | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})


def _errors(errors: Sequence[type[LatentserveError]], references: Mapping[type[BaseModel], Any]) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {
        status.value: [f"{status.phrase} (`{kind}`)."] for status, kind in _OF_THE_HOST.items()
    }
    for error in (*_EVERYWHERE, *errors):
        by_status.setdefault(error.status, []).append(f"{error.title} (`{error.slug}`).")
    content = {_PROBLEM: {"schema": references[ProblemAnswer]}}
    answers: dict[str, Any] = {}
    for status, titles in sorted(by_status.items()):
        answers[str(status)] = {"description": " ".join(titles), "content": content}
        if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            answers[str(status)]["headers"] = _RETRY
    return answers
