"""Tables in files: what the columns are taken for, what comes back, and what is refused in one line."""

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latentserve.service.bundle import Column, SampleSpec
from latentserve.service.encoding.tables import rows
from latentserve.training.data import Dataset, load
from latentserve.training.errors import DataError

PEOPLE = """age,work class,income,member,code,class
39,State-gov,77.5,True,007,<=50K
?,Private,83.25,False,008,>50K
38,,215,True,009,<=50K
"""


def of_csv(folder: Path, text: str, **options: Any) -> Dataset:
    path = folder / "people.csv"
    path.write_text(text)
    return load("files", path, **options)


def values(dataset: Dataset) -> list[list[Any]]:
    """The rows as they are served."""
    columns = dataset.columns or []
    spec = SampleSpec(kind="table", shape=[len(columns)], columns=columns)
    return [list(row) for row in rows(dataset.samples, spec)]


def test_a_table_comes_back_with_its_own_types_and_names(tmp_path: Path) -> None:
    dataset = of_csv(tmp_path, PEOPLE)
    assert dataset.kind == "table"
    assert dataset.name == "people"
    assert [(column.name, column.type) for column in dataset.columns or []] == [
        ("age", "int64"),
        ("work class", "string"),
        ("income", "float64"),
        ("member", "bool"),
        ("code", "string"),
        ("class", "string"),
    ]
    assert values(dataset) == [
        [39, "State-gov", 77.5, True, "007", "<=50K"],
        [None, "Private", 83.25, False, "008", ">50K"],
        [38, None, 215.0, True, "009", "<=50K"],
    ]
    assert np.isfinite(dataset.samples).all()


def test_a_label_is_a_column_and_stays_one(tmp_path: Path) -> None:
    dataset = of_csv(tmp_path, PEOPLE, label="class")
    assert dataset.label_names == ["<=50K", ">50K"]
    assert dataset.labels.tolist() == [0, 1, 0]
    assert dataset.description.label_counts == [2, 1]
    assert (dataset.columns or [])[-1].name == "class"
    assert of_csv(tmp_path, PEOPLE, label="member").label_names == ["False", "True"]


def test_few_numbers_are_categories_and_a_constant_is_one(tmp_path: Path) -> None:
    text = "wheels,size,always\n" + "".join(f"{2 + 2 * (at % 2)},{at},7\n" for at in range(40))
    columns = of_csv(tmp_path, text).columns
    assert columns == [
        Column(name="wheels", type="int64", categories=[2, 4]),
        Column(name="size", type="int64", decimals=0),
        Column(name="always", type="int64", categories=[7]),
    ]


def test_gzip_and_parquet_hold_the_same_table(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs latentserve[tables]")
    parquet = pytest.importorskip("pyarrow.parquet")
    plain = of_csv(tmp_path, PEOPLE)
    (tmp_path / "people.csv.gz").write_bytes(gzip.compress(PEOPLE.encode()))
    assert load("files", tmp_path / "people.csv.gz").description == plain.description
    names = [column.name for column in plain.columns or []]
    arrays = [pa.array(list(column)) for column in zip(*values(plain), strict=True)]
    parquet.write_table(pa.table(arrays, names=names), tmp_path / "people.parquet")
    assert load("files", tmp_path / "people.parquet").description == plain.description


def test_parquet_keeps_the_types_it_has(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs latentserve[tables]")
    parquet = pytest.importorskip("pyarrow.parquet")
    held = pa.table(
        {
            "small": pa.array([1, 2, None], pa.int8()),
            "single": pa.array([0.5, float("nan"), 2.25], pa.float32()),
            "kind": pa.array(["a", "b", "a"]).dictionary_encode(),
            "flag": pa.array([True, None, False]),
        }
    )
    parquet.write_table(held, tmp_path / "t.parquet")
    dataset = load("files", tmp_path / "t.parquet")
    assert [column.type for column in dataset.columns or []] == ["int8", "float32", "string", "bool"]
    assert values(dataset) == [[1, 0.5, "a", True], [2, None, "b", None], [None, 2.25, "a", False]]
    parquet.write_table(pa.table({"when": pa.array([0, 1], pa.duration("s"))}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t\.parquet: column `when` is of type duration"):
        load("files", tmp_path / "t.parquet")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match=r"t\.parquet: cannot be read"):
        load("files", tmp_path / "t.parquet")


numbers = st.integers(-9999, 9999) | st.none()
prices = st.integers(-99999, 99999).map(lambda cents: cents / 100) | st.none()
words = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r\n", exclude_categories=["Z", "C"]), max_size=6)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=st.lists(st.tuples(numbers, prices, words.map(lambda word: f"w{word}")), min_size=2, max_size=17))
def test_what_is_written_is_read_and_served_again(tmp_path: Path, table: list[tuple[Any, ...]]) -> None:
    table = [(3, 1.25, "wx"), (4, 0.5, "wy"), *table]
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([["number", "price", "word"], *table])
    dataset = of_csv(tmp_path, buffer.getvalue())
    assert values(dataset) == [list(row) for row in table]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no line that names columns"),
        ("a,b\n", "no rows"),
        ("a,b\n1,2\n3\n", "line 3: fields: 1, columns: 2"),
        ("a,b\n1,2\n3,4,5\n", "line 3: fields: 3, columns: 2"),
        ("a,b\n1,2\n", "one sample"),
        ("a,b\n,\n,\n", "no rows"),
        ("a\n" + "".join(f"{at}e300\n" for at in range(1, 30)), "column `a` has 2.9e.301, which is no finite float32"),
        ("a,b\n" + "".join(f"text {at // 2},1\n" for at in range(2002)), "column `a` has 1,001 different texts"),
        ("a,b\nx,1\n" + "y" * 300 + ",2\n", "column `a` has a text of 300 characters"),
        ('a,b\n1,2\n"3"x,4\n', "after line 2"),
    ],
)
def test_a_table_that_cannot_be_learned_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        of_csv(tmp_path, text)
    assert "people.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_that_mean_nothing_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column `target`, which `label` names; there are age, work class"):
        of_csv(tmp_path, PEOPLE, label="target")
    with pytest.raises(DataError, match="column `work class` is the label and has missing values"):
        of_csv(tmp_path, PEOPLE, label="work class")
    with pytest.raises(DataError, match="3 rows; `size` asks for windows of 8"):
        of_csv(tmp_path, PEOPLE, size=8)
    with pytest.raises(DataError, match="no held-out part"):
        of_csv(tmp_path, PEOPLE, split="test")
    (tmp_path / "bytes.csv.gz").write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(DataError, match=r"bytes\.csv\.gz: cannot be read"):
        load("files", tmp_path / "bytes.csv.gz")


def test_adult_itself(mnist_folder: Path) -> None:
    path = mnist_folder.parent / "adult" / "adult.csv.gz"
    if not path.is_file():
        pytest.skip(f"no {path}")
    dataset = load("files", path, label="class")
    assert dataset.samples.shape == (32_561, 15)
    assert dataset.label_names == ["<=50K", ">50K"]
    assert [column.name for column in dataset.columns or [] if column.categories is None] == [
        "age",
        "fnlwgt",
        "education-num",
        "capital-gain",
        "capital-loss",
        "hours-per-week",
    ]
    with gzip.open(path, "rt", newline="") as file:
        lines = list(csv.reader(file))[1:]
    assert [[str(value) for value in row] for row in values(dataset)] == lines
