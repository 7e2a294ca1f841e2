"""Tests of samples are those that a client makes of the values that it reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from latentserve.service.bundle import Column, Condition, Manifest, read_bundle
from latentserve.service.errors import InvalidError
from latentserve.service.sampling.choosing.intervals import numbers_of
from latentserve.service.sampling.choosing.where import MOST_VALUES, where_steps
from latentserve.service.sampling.pieces import at_once
from latentserve.service.sampling.samples import Samples
from tests.service.sampling.choosing.tables import COLUMNS, NAMES, SPEC, passes, values_of

NUMBERS = st.one_of(
    st.floats(width=32),
    st.sampled_from([0.1, -1.0, 0.5, 1.5, 2.5, 29.5, 30.0, 254.5, 255.5, -0.0, 2.0**53, 3e38, 1e-45]).map(np.float32),
    st.integers(-3, 40).map(float),
)
SAMPLES = arrays(np.float32, st.tuples(st.integers(1, 20), st.just(len(COLUMNS))), elements=NUMBERS)


@pytest.fixture(scope="module")
def table(bundle: Path) -> Manifest:
    """Of a model of the table, with labels, conditions and a critic."""
    conditions = [Condition(name="angle", range=(-0.7, 0.7)), Condition(name="beam.energy", range=(0.1, 100))]
    return read_bundle(bundle).manifest.model_copy(update={"sample": SPEC, "conditions": conditions})


def condition(draw: st.DrawFn, rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """On a column, with bounds that are values of rows, beside them, or anywhere."""
    column = COLUMNS[NAMES.index(name)]
    there = [row[name] for row in rows if row[name] is not None]
    if column.categories is not None:
        there = [one for one in column.categories if one is not None]
    asked: dict[str, Any] = {}
    ordered = column.categories is None or column.type == "int32"
    if ordered and draw(st.booleans()):
        near = st.sampled_from(there) if there else st.just(0)
        anywhere = st.one_of(
            near, near.map(lambda value: value + 1e-3), near.map(lambda value: value - 1), st.integers(-99, 99)
        )
        low, high = draw(anywhere), draw(anywhere)
        ends = {"min": min(low, high), "max": max(low, high)}
        for end in draw(st.lists(st.sampled_from(["min", "max"]), unique=True)):
            asked[end] = ends[end]
    if there and draw(st.booleans()):
        asked["in"] = draw(st.lists(st.sampled_from(there), min_size=1, max_size=5))
    if not asked or draw(st.booleans()):
        asked["missing"] = draw(st.booleans())
    return asked


@given(samples=SAMPLES, data=st.data())
def test_what_passes_is_what_a_client_would_keep(table: Manifest, samples: Any, data: st.DataObject) -> None:
    rows = values_of(samples)
    names = data.draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    where = data.draw(st.composite(lambda draw: {name: condition(draw, rows, name) for name in names})())
    kept = [place for place, row in enumerate(rows) if passes(row, where)]
    try:
        test = at_once(where_steps(where, table))
    except InvalidError as error:  # a range between two values
        if "no value of the column is such" not in error.reason:
            raise
        assert kept == [] or any(asked.get("missing") for asked in where.values())
        return
    assert test.passing(Samples(samples, None, None)).tolist() == kept


@pytest.mark.parametrize("column", COLUMNS, ids=NAMES)
def test_ends_are_the_last_numbers_that_are_served_so(column: Column) -> None:
    if column.categories is not None:
        ends = at_once(numbers_of(column, np.array([1.0]), np.array([1.0])))
        below_two = np.finfo(np.float32).max if len(column.categories) == 2 else np.nextafter(np.float32(1.5), 0)
        assert (ends.lows[0], ends.highs[0]) == (np.nextafter(np.float32(0.5), np.float32(1)), below_two)
        return
    ends = at_once(numbers_of(column, np.array([-np.inf, 30.0]), np.array([np.inf, 30.0])))
    assert (ends.lows[0], ends.highs[0]) == (np.finfo(np.float32).min, np.finfo(np.float32).max)
    if column.type in ("int64", "uint8"):
        assert (ends.lows[1], ends.highs[1]) == (29.5, 30.5)  # half to even
    elif column.decimals is None:
        assert ends.lows[1] == ends.highs[1] == 30


def test_labels_by_name_and_by_index(table: Manifest) -> None:
    test = at_once(where_steps({"$label": {"in": ["digit 3", 5]}, "age": {"min": 1}}, table))
    samples = np.ones((10, len(COLUMNS)), np.float32)
    assert test.passing(Samples(samples, np.arange(10), None)).tolist() == [3, 5]
    assert test.passing_drawn(Samples(samples[:, :0], np.arange(10), None)).tolist() == [3, 5]


def test_conditions_by_name(table: Manifest) -> None:
    rows = Samples(np.ones((5, len(COLUMNS)), np.float32), None, np.array([[0.1], [0.7]], np.float32).repeat(5, 1).T)
    assert rows.conditions is not None
    rows.conditions[:, 0] = [-0.7, 0.1, 0.2, 0.3, 0.7]
    rows.conditions[:, 1] = [0.1, 1, 10, 50, 100]
    asked: list[tuple[dict[str, Any], list[int]]] = [
        ({"$condition.angle": {"min": 0.1}}, [1, 2, 3, 4]),
        ({"$condition.angle": {"max": 0.2}, "$condition.beam.energy": {"min": 1}}, [1, 2]),
        ({"$condition.angle": {"min": -3, "max": -0.7}}, [0]),
        ({"$condition.angle": {"in": [0.7, 0.3]}}, [3, 4]),
        ({"$condition.angle": {"in": [0.7, 0.3], "max": 0.5}, "age": {"max": 1}}, [3]),
        ({"$condition.angle": {"min": 0.1}, "age": {"min": 2}}, []),
    ]
    for where, places in asked:
        assert at_once(where_steps(where, table)).passing(rows).tolist() == places


def test_scores_are_of_the_critic(table: Manifest) -> None:
    test = at_once(where_steps({"$score": {"min": 0.1, "max": 0.3}}, table))
    assert test.columns == []
    assert test.score is not None
    assert test.score.passes(np.array([0.1, 0.2, 0.3, 0.4, np.nan], np.float32)).tolist() == [True] * 3 + [False] * 2


REFUSED: list[tuple[Any, str, str]] = [
    ({}, "where", "is empty"),
    ({"nope": {"min": 1}}, "where.nope", "no such column; there are share"),
    ({"age": {}}, "where.age", "an object with min"),
    ({"age": 3}, "where.age", "an object with min"),
    ({"age": None}, "where.age", "an object with min"),
    ({"age": {"least": 3}}, "where.age.least", "unknown field"),
    ({"age": {"min": "3"}}, "where.age.min", "a number is needed"),
    ({"age": {"min": True}}, "where.age.min", "a number is needed"),
    ({"age": {"min": None}}, "where.age.min", "is null"),
    ({"age": {"min": float("nan")}}, "where.age.min", "finite"),
    ({"age": {"max": float("inf")}}, "where.age.max", "finite"),
    ({"age": {"max": 10**400}}, "where.age.max", "finite"),
    ({"age": {"min": 4, "max": 3}}, "where.age.min", "is 4, above max, 3"),
    ({"age": {"min": 3.2, "max": 3.8}}, "where.age", "no value of the column is such"),
    ({"small": {"min": 256}}, "where.small", "no value of the column is such"),
    ({"age": {"in": []}}, "where.age.in", "a list of values is needed"),
    ({"age": {"in": 3}}, "where.age.in", "a list of values is needed"),
    ({"age": {"in": [3, 3.5]}}, "where.age.in", "no value of the column is 3.5"),
    ({"age": {"in": [3, "4"]}}, "where.age.in[1]", "a number is needed"),
    ({"age": {"in": [3, None]}}, "where.age.in[1]", "`missing`"),
    ({"age": {"in": [2**60 + 1]}}, "where.age.in[0]", "no value of the column is"),
    ({"age": {"in": [10**5000]}}, "where.age.in[0]", "finite"),
    ({"age": {"in": [3], "min": 4}}, "where.age", "no value of the column is such"),
    ({"age": {"in": list(range(MOST_VALUES + 1))}}, "where.age.in", f"at most {MOST_VALUES}"),
    ({"age": {"missing": 1}}, "where.age.missing", "true or false"),
    ({"word": {"min": "A"}}, "where.word.min", "a number is needed"),
    ({"word": {"min": 1}}, "where.word.min", "no order"),
    ({"word": {"in": ["Private", "private"]}}, "where.word.in[1]", "no value of the column is 'private'"),
    ({"word": {"in": [["Private"]]}}, "where.word.in[0]", "no value of the column is"),
    ({"member": {"in": [1]}}, "where.member.in[0]", "no value of the column is 1"),
    ({"wheels": {"in": [10**5000]}}, "where.wheels.in[0]", "no value of the column is"),
    ({"wheels": {"min": 5}}, "where.wheels", "no value of the column is such"),
    ({"$label": {"in": ["digit 33"]}}, "where.$label.in[0]", "no label has the name"),
    ({"$label": {"in": [True]}}, "where.$label.in[0]", "an index or a name"),
    ({"$label": {"min": 3}}, "where.$label.min", "is not taken of labels"),
    ({"$score": {"above": 3}}, "where.$score.above", "unknown field"),
    ({"$condition.mass": {"min": 3}}, "where.$condition.mass", "no such condition; it has angle, beam.energy"),
    ({"$condition.": {"min": 3}}, "where.$condition.", "no such condition"),
    ({"$condition": {"min": 3}}, "where.$condition", "no such column"),
    ({"$condition.angle": {}}, "where.$condition.angle", "an object with min"),
    ({"$condition.angle": {"min": "3"}}, "where.$condition.angle.min", "a number is needed"),
    ({"$condition.angle": {"min": 0.8}}, "where.$condition.angle", "no value of the condition is such; its range"),
    ({"$condition.angle": {"in": [1, 2]}}, "where.$condition.angle", "no value of the condition is such"),
    ({"$condition.angle": {"missing": True}}, "where.$condition.angle.missing", "is not taken of conditions"),
]  # fmt: skip


@pytest.mark.parametrize(("where", "field", "reason"), REFUSED, ids=[f"{f} {r}" for _, f, r in REFUSED])
def test_what_is_refused(table: Manifest, where: Any, field: str, reason: str) -> None:
    with pytest.raises(InvalidError) as refused:
        at_once(where_steps(where, table))
    assert refused.value.field == field
    assert reason in refused.value.reason
    assert len(str(refused.value)) < 1000


def test_what_a_model_does_not_have(plain_bundle: Path) -> None:
    manifest = read_bundle(plain_bundle).manifest
    for name, reason in (
        ("$label", "takes no labels"),
        ("$condition.energy", "takes no conditions"),
        ("$score", "has no critic"),
        ("age", r"have no columns; there are \$label, \$condition.NAME and \$score"),
    ):
        with pytest.raises(InvalidError, match=reason):
            at_once(where_steps({name: {"in": [1]}}, manifest))
