"""The document: of every route, true, and as it was promised."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from latentserve.service.host.group import Group
from latentserve.service.http.openapi import answers
from latentserve.service.http.routes import Routes
from latentserve.service.serving import Serving
from latentserve.service.settings import Settings
from tests.server import Server

RELEASED = Path(__file__).with_name("released.json")  # of the last release; a newer document promises no less

# The models of JSON answers, by path.
ANSWERS = {
    "/v1/samples": answers.SamplesAnswer,
    "/v1/interpolations": answers.SamplesAnswer,
    "/v1/variations": answers.SamplesAnswer,
    "/v1/models": answers.ModelsAnswer,
    "/v1/models/{model}": answers.OneModelAnswer,
    "/v1/drift": answers.DriftAnswer,
}


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_it_is_valid(document: dict[str, Any]) -> None:
    from openapi_spec_validator import OpenAPIV31SpecValidator  # takes a second, which no other test needs

    OpenAPIV31SpecValidator(document).validate()
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)


def test_every_route_of_v1_is_in_it() -> None:
    routes = Routes(Serving(Settings()), Group())
    ours = {
        (route.template, method) for route in routes for method in route.handlers if route.template.startswith("/v1")
    }
    described = {(route.template, method) for route in routes for method in route.operations}
    assert ours == {pair for pair in described if pair[0].startswith("/v1")}
    assert len(ours) > 3


def test_its_examples_are_answered(document: dict[str, Any], alone: Server) -> None:
    tried = 0
    for path, method, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {})
        for example in content.get("application/json", {}).get("examples", {}).values():
            answer = alone.http.request(method, path, json=example["value"])
            assert answer.status_code == 200, answer.text
            if path in ANSWERS:
                ANSWERS[path].model_validate_json(answer.content)
            tried += 1
    assert tried >= 3


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/{model}", "/v1/drift"])
def test_answers_are_what_it_says(path: str, alone: Server) -> None:
    answer = alone.http.get(path.format(model="toy"))
    ANSWERS[path].model_validate_json(answer.content)


def test_other_methods_are_told_which_there_are(document: dict[str, Any], alone: Server) -> None:
    for path, methods in document["paths"].items():
        for method in {"get", "post", "put", "patch", "delete"} - set(methods):
            answer = alone.http.request(method, path.format(model="toy", version="1", seed=7))
            assert answer.status_code == 405, path
            assert {one.strip().lower() for one in answer.headers["Allow"].split(",")} >= set(methods)


def test_a_page_of_it_needs_no_other_host(alone: Server) -> None:
    page = alone.http.get("/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert "//" not in page.text.replace("</", "")
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js"):
        assert f"static_content/{asset}" in page.text
        assert len(alone.http.get(f"/static_content/{asset}").content) > 10_000


def resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
        return found
    return schema


def broken(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """What a client of the old document may rely on and the new one does not promise."""
    for path, method, was in operations(old):
        place = f"{method.upper()} {path}"
        now = new["paths"].get(path, {}).get(method)
        if now is None:
            yield place
            continue
        parameters = {(one["name"], one["in"]): one for one in now.get("parameters", ())}
        known = {(one["name"], one["in"]) for one in was.get("parameters", ())}
        yield from (f"{place}: parameter {name}" for name, where in sorted(known - parameters.keys()))
        yield from (
            f"{place}: needs {name}"
            for (name, where), one in parameters.items()
            if one.get("required") and (name, where) not in known
        )
        yield from (
            f"{place}: {status} {media}"
            for status, answer in was["responses"].items()
            for media in answer.get("content", {})
            if media not in now["responses"].get(status, {}).get("content", {})
        )
        for media, body in was.get("requestBody", {}).get("content", {}).items():
            taken = now.get("requestBody", {}).get("content", {}).get(media)
            if taken is None:
                yield f"{place}: a body of {media}"
                continue
            before, after = resolved(body["schema"], old), resolved(taken["schema"], new)
            for name, field in before.get("properties", {}).items():
                if kinds(field) - kinds(after.get("properties", {}).get(name, {})):
                    yield f"{place}: field {name}"
            yield from (
                f"{place}: needs {name}" for name in set(after.get("required", ())) - set(before.get("required", ()))
            )
        for media, content in was["responses"].get("200", {}).get("content", {}).items():
            told = now["responses"].get("200", {}).get("content", {}).get(media)
            if told is not None:
                before, after = resolved(content["schema"], old), resolved(told["schema"], new)
                yield from (
                    f"{place}: no longer tells {name}"
                    for name in set(before.get("required", ())) - set(after.get("required", ()))
                )


def required(schema: dict[str, Any]) -> set[str]:
    """Members that are always there."""
    return set(schema.get("required", ()))


def kinds(schema: dict[str, Any]) -> set[str]:
    """Types that a schema takes."""
    return {str(one.get("type")) for one in schema.get("anyOf", [schema]) if "type" in one}


def test_what_was_released_is_kept(document: dict[str, Any]) -> None:
    assert list(broken(json.loads(RELEASED.read_text()), document)) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda document: document["paths"].pop("/v1/drift"), "GET /v1/drift"),
        (lambda document: document["components"]["schemas"]["SamplesBody"]["properties"].pop("seed"), "field seed"),
        (
            lambda document: document["components"]["schemas"]["SamplesBody"].update(required=["n"]),
            "POST /v1/samples: needs n",
        ),
        (
            lambda document: document["paths"]["/v1/samples"]["post"]["responses"]["200"]["content"].pop("image/png"),
            "200 image/png",
        ),
        (
            lambda document: document["components"]["schemas"]["SamplesAnswer"]["required"].remove("version"),
            "no longer tells version",
        ),
    ],
)
def test_a_broken_promise_is_found(change: Any, found: str, document: dict[str, Any]) -> None:
    changed = json.loads(json.dumps(document))
    change(changed)
    assert any(found in one for one in broken(document, changed))
