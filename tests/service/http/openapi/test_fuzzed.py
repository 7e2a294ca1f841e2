"""What a server answers to whatever its document allows and forbids, by schemathesis."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.server import Server


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("cases", [30, pytest.param(10_000, marks=pytest.mark.full)])
@pytest.mark.parametrize("generated", ["positive", "negative"])
def test_nothing_is_found(alone: Server, document: dict[str, Any], generated: str, cases: int) -> None:
    # They take seconds, which no other test needs.
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.generation import GenerationMode
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    checks = [
        not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    ]  # fmt: skip
    mode = GenerationMode(generated)
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=alone.url)
    operations = [found.ok() for found in schema.get_all_operations()]
    taking = [operation for operation in operations if operation.body or operation.query]
    # What takes nothing cannot be asked wrongly, and there is one case of it.
    for operation in operations if mode is GenerationMode.POSITIVE else taking:
        most = cases // len(taking) if operation in taking else 1

        @settings(
            max_examples=most, deadline=None, database=None, derandomize=cases < 100, phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy(mode))
        def ask(case: Any) -> None:
            case.call_and_validate(checks=checks)

        ask()
