"""The schema of a manifest: the columns of a table."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from latentserve.service.bundle import Column, SampleSpec


def test_a_column_of_which_only_the_name_is_known_is_that_name() -> None:
    spec = SampleSpec.model_validate({"kind": "table", "shape": [2], "columns": ["a", {"name": "b", "type": "int64"}]})
    assert spec.columns == [Column(name="a"), Column(name="b", type="int64")]
    assert spec.model_dump(mode="json")["columns"] == ["a", {"name": "b", "type": "int64"}]
    assert SampleSpec.model_validate(spec.model_dump()) == spec
    assert SampleSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    "column",
    [
        Column(name="x", type="string", categories=["1", "True", "", None]),
        Column(name="x", type="int64", categories=[0, 1, None]),
        Column(name="x", type="bool", categories=[True, False]),
        Column(name="x", categories=[0.5, 1]),
        Column(name="x", type="float64", decimals=0, missing=-1),
    ],
)
def test_a_column_survives_being_written(column: Column) -> None:
    again = Column.model_validate_json(column.model_dump_json())
    assert again == column
    assert [type(value) for value in again.categories or []] == [type(value) for value in column.categories or []]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"type": "string"}, "a column of type string needs categories"),
        ({"type": "datetime64"}, "type"),
        ({"type": "int64", "categories": ["a"]}, "categories must be values of type int64"),
        ({"type": "int64", "categories": [True]}, "categories must be values of type int64"),
        ({"type": "string", "categories": []}, "at least 1 item"),
        ({"type": "string", "categories": ["a", "a"]}, "categories must be different"),
        ({"type": "string", "categories": ["a"], "missing": 0}, "neither decimals nor a number"),
        ({"missing": float("nan")}, "finite"),
    ],
)
def test_a_column_that_contradicts_itself_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Column.model_validate({"name": "x", **fields})
