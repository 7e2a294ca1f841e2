"""Tables in files of every kind, and in several: what is read of each is the same table."""

import bz2
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from latentserve.training.data import load, summary
from latentserve.training.errors import DataError, NoHeldOutError
from tests.training.data.test_tables import values

ROWS = [
    {"age": 20 + at * 7 % 50, "x": at * 37 % 101 / 4, "kind": ("red", "green", "dark blue")[at % 3]} for at in range(40)
]
CSV = "age,x,kind\n" + "".join(f"{row['age']},{row['x']},{row['kind']}\n" for row in ROWS)
COLUMNS = {name: [row[name] for row in ROWS] for name in ROWS[0]}


def arrow(written: str) -> bytes:
    """The table in a file of Arrow's, or of one that it writes."""
    pa = pytest.importorskip("pyarrow", reason="needs latentserve[tables]")
    table, buffer = pa.table(COLUMNS), io.BytesIO()
    if written == "parquet":
        pytest.importorskip("pyarrow.parquet").write_table(table, buffer)
    elif written == "orc":
        pytest.importorskip("pyarrow.orc").write_table(table, buffer)
    elif written == "feather":
        pytest.importorskip("pyarrow.feather").write_feather(table, buffer)
    else:
        with (pa.ipc.new_file if written == "file" else pa.ipc.new_stream)(buffer, table.schema) as writer:
            writer.write_table(table)
    return buffer.getvalue()


def archive(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as into:
        for name, text in files.items():
            into.writestr(f"data/{name}.csv", text)
    return buffer.getvalue()


ARFF = (
    "% of May\n@RELATION things\n@ATTRIBUTE age NUMERIC\n@attribute 'x' real\n@ATTRIBUTE kind {red,green,'dark blue'}\n"
    "@DATA\n" + "".join(f"{row['age']},{row['x']},'{row['kind']}'\n" for row in ROWS)
)
FILES: dict[str, Callable[[], bytes]] = {
    "t.csv.bz2": lambda: bz2.compress(CSV.encode()),
    "t.csv.xz": lambda: lzma.compress(CSV.encode()),
    "t.csv.zst": lambda: bytes(pytest.importorskip("pyarrow").compress(CSV.encode(), "zstd", asbytes=True)),
    "t.zip": lambda: archive(people=CSV),
    "t.csv.zip": lambda: archive(people=CSV),
    "t.arff": lambda: ARFF.encode(),
    "records.json": lambda: json.dumps(ROWS).encode(),
    "pretty.json": lambda: json.dumps(ROWS, indent=2).encode(),
    "wrapped.json": lambda: json.dumps({"count": 40, "rows": ROWS}).encode(),
    "columns.json": lambda: json.dumps(COLUMNS).encode(),
    "pandas.json": lambda: json.dumps({name: dict(enumerate(of)) for name, of in COLUMNS.items()}).encode(),
    "split.json": lambda: json.dumps({"columns": [*COLUMNS], "data": [[*row.values()] for row in ROWS]}).encode(),
    "named.json": lambda: json.dumps({f"row {at}": row for at, row in enumerate(ROWS)}).encode(),
    "lines.json": lambda: "\n".join(map(json.dumps, ROWS)).encode(),
    "list.jsonl": lambda: json.dumps(ROWS).encode(),
    "t.parquet": lambda: arrow("parquet"),
    "t.orc": lambda: arrow("orc"),
    "t.feather": lambda: arrow("feather"),
    "file.arrow": lambda: arrow("file"),
    "stream.arrow": lambda: arrow("stream"),
}


@pytest.mark.parametrize("name", FILES)
def test_each_file_holds_the_same_table(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name]())
    (tmp_path / "t.csv").write_text(CSV)
    dataset, plain = load("files", tmp_path / name), load("files", tmp_path / "t.csv")
    assert values(dataset) == values(plain) == [[*row.values()] for row in ROWS]
    assert dataset.columns == plain.columns


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("t.json", b'{"a": 1}', "no table in it|one sample"),
        ("t.json", b"[1, 2, 3]", "row 1: no object of names and values"),
        ("t.json", b'[{"a": 1},\n {"a": 2', "line 2: no JSON"),
        ("t.arff", b"@relation t\n@attribute a numeric\n@data\n{0 1}\n", "sparse rows are not read"),
        ("t.arff", b"@relation t\n@attribute a relational\n@data\n", "line 2: rows within rows"),
        ("t.arff", b"a,b\n1,2\n", "no line `@data`"),
        ("t.txt", b"1 1:0.5 3:7\n0 2:1.5\n", "sparse rows, as LIBSVM has them"),
        ("t.feather", b"nothing of the kind", "cannot be read"),
        ("t.orc", b"nothing of the kind", "cannot be read"),
    ],
)
def test_what_is_no_table_of_its_kind_is_told(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=told) as caught:
        load("files", tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_of_the_same_columns_are_one_table(tmp_path: Path) -> None:
    (tmp_path / "2020-01.csv").write_text(CSV)
    (tmp_path / "2020-02.csv").write_text("kind,age,x\nred,1,0.5\ngreen,2,12.25\n")
    (tmp_path / "README.txt").write_text("two months, each a file")
    dataset = load("files", tmp_path)
    assert values(dataset)[-2:] == [[1, 0.5, "red"], [2, 12.25, "green"]]
    assert len(dataset) == 42
    assert "2 files of the same columns, one after the other" in dataset.notes
    (tmp_path / "2020-02.csv").write_text("age,x,colour\n1,0.5,red\n")
    with pytest.raises(DataError, match=r"2020-02\.csv: has a column `colour`, which 2020-01\.csv has not: join them"):
        load("files", tmp_path)


def test_what_lies_beside_tables_is_told(tmp_path: Path) -> None:
    for name in ("adult.data", "adult.test", "README.md"):
        (tmp_path / name).write_text("".join(f"{at % 40}, {'xy'[at % 2]}, {at / 4}\n" for at in range(40)))
    dataset = load("files", tmp_path)
    assert len(dataset) == 40
    assert "left out: 1 .test" in dataset.notes


def test_folders_may_be_columns(tmp_path: Path) -> None:
    for year in (2019, 2020):
        (tmp_path / f"year={year}").mkdir()
        (tmp_path / f"year={year}" / "a.csv").write_text(CSV)
        (tmp_path / f"year={year}" / "b.csv").write_text(CSV)
    dataset = load("files", tmp_path)
    assert [column.name for column in dataset.columns or []] == ["age", "x", "kind", "year"]
    assert [row[3] for row in values(dataset)] == [2019] * 80 + [2020] * 80


def test_parts_of_other_types_are_joined_or_refused(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs latentserve[tables]")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table({"x": pa.array(range(30))}), tmp_path / "train-0.parquet")
    parquet.write_table(pa.table({"x": pa.array([0.5, None])}), tmp_path / "train-1.parquet")
    dataset = load("files", tmp_path)
    assert values(dataset)[-3:] == [[29.0], [0.5], [None]]
    assert (dataset.columns or [])[0].type == "float64"
    parquet.write_table(pa.table({"x": pa.array(["a", "b"])}), tmp_path / "train-1.parquet")
    with pytest.raises(DataError, match=r"train-1.parquet: column `x` is of type string, in train-0.parquet of int64"):
        load("files", tmp_path)


def test_parquet_holds_what_it_says(tmp_path: Path) -> None:
    """Zones of times, texts that are dates, texts of digits, no values, pandas' index; what float32 cannot hold."""
    pa = pytest.importorskip("pyarrow", reason="needs latentserve[tables]")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = range(30)
    held = {
        "when": pa.array(
            [datetime(2024, 1, 1, 12, at, tzinfo=UTC) for at in rows], pa.timestamp("us", "Europe/Berlin")
        ),
        "day": pa.array([f"2024-01-{at % 28 + 1:02d}" for at in rows]),
        "zip": pa.array([f"1011{at % 7}" for at in rows]),
        "price": pa.array([f"{at}.50" for at in rows]),
        "empty": pa.nulls(30),
        "__index_level_0__": pa.array([at * 7 % 30 for at in rows]),
    }
    parquet.write_table(pa.table(held), tmp_path / "t.parquet")
    dataset = load("files", tmp_path / "t.parquet")
    assert values(dataset)[1] == ["2024-01-01 12:01:00+00:00", "2024-01-02", "10111", 1.5]
    told = "\n".join(summary(dataset))
    assert "left out: `__index_level_0__`, the index of a frame of pandas" in told
    assert "left out: `empty`, which has no values" in told
    parquet.write_table(
        pa.table({"x": pa.array([2**63 + 977 * at for at in rows], pa.uint64())}), tmp_path / "t.parquet"
    )
    with pytest.raises(DataError, match="which single floats cannot tell apart; --drop x"):
        load("files", tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("split", ("train", "test")),
        ("Set", ("Training", "Test")),
        ("is_train", ("1", "0")),
        ("is_test", ("False", "True")),
    ],
)
def test_a_column_may_say_what_is_held_out(tmp_path: Path, name: str, said: tuple[str, str]) -> None:
    lines = [f"{line},{said[at % 4 == 3]}" for at, line in enumerate(CSV.splitlines()[1:])]
    (tmp_path / "t.csv").write_text("\n".join([f"age,x,kind,{name}", *lines]))
    dataset, held_out = (load("files", tmp_path / "t.csv", split) for split in ("train", "test"))
    assert values(held_out) == [[*row.values()] for row in ROWS[3::4]]
    assert (len(dataset), held_out.columns) == (30, dataset.columns)
    assert f"`{name}` says which rows are held out: train 30, test 10" in dataset.notes


def test_a_column_of_parts_that_are_none_is_a_column(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\n".join(["x,set", *(f"{at},{'AB'[at % 2]}" for at in range(40))]))
    assert [column.name for column in load("files", tmp_path / "t.csv").columns or []] == ["x", "set"]
    with pytest.raises(NoHeldOutError):
        load("files", tmp_path / "t.csv", "test")


def test_a_folder_of_plain_texts(tmp_path: Path) -> None:
    """As UCI has them."""
    (tmp_path / "things.data").write_text(CSV.partition("\n")[2])
    (tmp_path / "things.names").write_text("1. Title: Things")
    (tmp_path / "README.txt").write_text("hello")
    assert np.shape(values(load("files", tmp_path))) == (40, 3)


def test_an_archive_may_have_two_parts(tmp_path: Path) -> None:
    (tmp_path / "t.zip").write_bytes(archive(train=CSV, test=CSV, sample_submission="id,kind\n1,red\n"))
    dataset, held_out = (load("files", tmp_path / "t.zip", split) for split in ("train", "test"))
    assert len(dataset) == len(held_out) == 40
    assert "left out: 1 tables, which are of no split" in dataset.notes
