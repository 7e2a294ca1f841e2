"""Tables: the numbers of a sample as values of the columns' own types, in JSON, CSV and Arrow."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from latentserve.service.bundle import Column, SampleSpec, typed
from latentserve.service.encoding.document import ARROW, CSV, JSON
from latentserve.service.encoding.documents import make_document, media_types
from latentserve.service.encoding.json_documents import Json
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.rows import Rows
from latentserve.service.encoding.tables import Csv

SPEC = SampleSpec(
    kind="table",
    shape=[6],
    columns=[
        Column(name="age", type="int64", decimals=0, missing=-1),
        Column(name="price", type="float64", decimals=2),
        Column(name="work, class", type="string", categories=["Private", 'said "so"', None]),
        Column(name="member", type="bool", categories=[False, True]),
        Column(name="wheels", type="int32", categories=[2, 4]),
        Column(name="plain"),
    ],
)
SAMPLES = np.array([[38.6, 12.99, 1, 1, 1, 0.1], [-1, 1e6, 2, 0, 0, -3], [np.nan, 0, -5, 9, 0, np.inf]], np.float32)
ROWS = [
    [39, 12.99, 'said "so"', True, 4, 0.1],
    [None, 1000000.0, None, False, 2, -3.0],
    [None, 0.0, "Private", True, 2, None],
]
MADE_BY = Provenance("toy", "0123456789ab", 7, 0)


def written(document: Any, slices: int = 2) -> bytes:
    """A document of the samples, in slices."""
    parts = [b"".join(document.rows(Rows(part))) for part in np.array_split(SAMPLES, slices)]
    return b"".join([document.opening(), *parts, *document.closing()])


def test_json_has_rows_of_the_columns_own_types() -> None:
    answer = orjson.loads(written(Json(3, SPEC, MADE_BY)))
    assert answer["columns"] == ["age", "price", "work, class", "member", "wheels", "plain"]
    assert answer["samples"] == ROWS
    kinds = [[type(value) for value in row] for row in answer["samples"]]
    assert kinds == [[type(value) for value in row] for row in ROWS]


def test_csv_is_read_back() -> None:
    lines = list(csv.reader(io.StringIO(written(Csv(3, SPEC)).decode(), newline="")))
    assert lines[0] == [column.name for column in SPEC.columns or []]
    assert lines[1:] == [["" if value is None else str(value) for value in row] for row in ROWS]


@pytest.mark.parametrize("document", [lambda: Csv(3, SPEC), lambda: Json(3, SPEC, MADE_BY)], ids=["csv", "json"])
def test_a_row_is_written_the_same_whatever_else_is_in_its_slice(document: Callable[[], Any]) -> None:
    """A missing value makes objects of its column, and must not give the others other digits."""
    assert written(document(), 1) == written(document(), 2) == written(document(), 3)


def test_arrow_has_the_columns_own_types() -> None:
    pa = pytest.importorskip("pyarrow", reason="needs latentserve[tables]")
    table = pa.ipc.open_stream(written(make_document(ARROW, 3, SPEC, MADE_BY))).read_all()
    assert [str(kind) for kind in table.schema.types] == ["int64", "double", "string", "bool", "int32", "float"]
    assert table.num_rows == 3
    for column, expected in zip(table.column_names, zip(*ROWS, strict=True), strict=True):
        values = table[column].to_pylist()
        assert values == ([pytest.approx(0.1), -3.0, None] if column == "plain" else list(expected))


def test_tables_alone_are_answered_as_tables() -> None:
    assert media_types(SPEC)[:2] == (JSON, CSV)
    assert CSV not in media_types(SampleSpec(kind="array", shape=[6]))


@given(values=arrays.arrays(np.float32, st.integers(0, 20), elements=st.floats(width=32)))
@pytest.mark.parametrize("kind", ["int8", "uint8", "int64", "uint64", "float32", "float64"])
def test_whatever_a_generator_gives_is_a_value_of_the_type(kind: Any, values: np.ndarray) -> None:
    got = typed(values, Column(name="x", type=kind))
    finite = np.isfinite(values)
    assert [value is None for value in got] == (~finite).tolist()
    kept = np.array([value for value in got if value is not None], kind)
    if kind.startswith("float"):
        assert np.array_equal(kept.astype(np.float32), values[finite])
        return
    limits = np.iinfo(kind)
    for value, number in zip(kept.tolist(), values[finite].tolist(), strict=True):
        slack = 1 if limits.bits < 64 else 2**11
        assert abs(value - min(max(number, limits.min), limits.max)) <= slack


@given(
    categories=st.lists(st.none() | st.text(max_size=5), min_size=1, max_size=5, unique=True),
    values=arrays.arrays(np.float32, 10, elements=st.floats(width=32)),
)
def test_whatever_a_generator_gives_is_a_category(categories: list[Any], values: np.ndarray) -> None:
    got = typed(values, Column(name="x", type="string", categories=categories))
    assert set(got) <= {*categories, None}


def test_whole_places_are_their_categories() -> None:
    column = Column(name="x", type="string", categories=["a", None, "c"])
    assert typed(np.array([2, 1, 0], np.float32), column).tolist() == ["c", None, "a"]
