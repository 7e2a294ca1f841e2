"""Tables as strangers have them: each is learnt rightly, with its values given back as they were written, or refused in
words."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest

from latentserve.service.bundle import SampleSpec, numbers_of
from latentserve.service.encoding.tables import rows
from latentserve.training.data import Dataset, load, summary
from latentserve.training.errors import DataError


def values(dataset: Dataset) -> list[list[Any]]:
    """The rows as they are served."""
    columns = dataset.columns or []
    spec = SampleSpec(kind="table", shape=[len(columns)], columns=columns)
    return [list(row) for row in rows(dataset.samples, spec)]


class Expected(NamedTuple):
    """What a table is understood as.

    Attributes:
        columns: names of those that are learnt, in order.
        first: the first row as it is served.
        told: words that the summary must hold.
        options: how it is read.
        numbers: those of the columns that are numbers or times.
    """

    columns: str
    first: list[Any]
    told: tuple[str, ...] = ()
    options: Mapping[str, Any] = MappingProxyType({})
    numbers: str = ""


class Table(NamedTuple):
    """A file, and what it is to be understood as, or the words it is refused in."""

    content: bytes
    expected: Expected | str
    suffix: str = ".csv"
    options: Mapping[str, Any] = MappingProxyType({})


ROWS = 30


def lines(head: str, row: Callable[[int], str], count: int = ROWS, end: str = "\n") -> str:
    return head + end + end.join(row(at) for at in range(count)) + end


def plain(head: str, row: Callable[[int], str], expected: Expected | str, **more: Any) -> Table:
    return Table(lines(head, row).encode(), expected, **more)


def day(at: int) -> datetime:
    return datetime(2024, 1, 9) + timedelta(days=11 * at, hours=5 * at, minutes=at)


AB = Expected("a,b", [0, 0.25], numbers="a,b")
PEOPLE = Expected("name,age", ["Zoë", 20], numbers="age")
NAMES = ("Zoë", "Øre", "naïve", "Größe", "señor")

TABLES: dict[str, Table] = {
    # How files are written.
    "commas": plain("a,b", lambda at: f"{at},{at + 0.25}", AB),
    "semicolons": plain("a;b", lambda at: f"{at};{at + 0.25}", AB._replace(told=("parted by semicolons",))),
    "tabs": plain("a\tb", lambda at: f"{at}\t{at + 0.25}", AB._replace(told=("parted by tabs",))),
    "tsv": plain("a\tb", lambda at: f"{at}\t{at + 0.25}", AB, suffix=".tsv"),
    "bars": plain("a|b", lambda at: f"{at}|{at + 0.25}", AB._replace(told=("parted by bars",))),
    "carriage returns": Table(lines("a,b", lambda at: f"{at},{at + 0.25}", end="\r\n").encode(), AB),
    "decimal commas": plain("a;b", lambda at: f"{at};{at},25", Expected("a,b", [0, "0,25"], numbers="a,b")),
    "decimal commas between tabs": plain(
        "a\tb", lambda at: f"{at}\t{at},25", Expected("a,b", [0, "0,25"], numbers="a,b")
    ),
    "quoted decimal commas": plain('a,b', lambda at: f'{at},"{at},25"', Expected("a,b", [0, "0,25"], numbers="a,b")),
    "quotes around all": plain('"a","b"', lambda at: f'"{at}","{at + 0.25}"', AB),
    "line breaks in quotes": plain(
        "a,note",
        lambda at: f'{at},"one\n{"two" if at % 2 else "three"}"',
        Expected("a,note", [0, "one\nthree"], numbers="a"),
    ),
    "line breaks and commas in quotes": plain(
        "a,place", lambda at: f'{at},"Street {at % 2}\nTown, Land"',
        Expected("a,place", [0, "Street 0\nTown, Land"], numbers="a"),
    ),
    "numbers of a usage": plain(
        "a,disk_usage", lambda at: f"{at},{at % 3}", Expected("a,disk_usage", [0, 0], ("3 categories",), numbers="a")
    ),
    "a byte order mark": Table(("\ufeff" + lines("a,b", lambda at: f"{at},{at + 0.25}")).encode(), AB),
    "utf-16": Table(lines("a,b", lambda at: f"{at},{at + 0.25}").encode("utf-16"), AB._replace(told=("utf-16",))),
    "latin-1": Table(
        lines("name,age", lambda at: f"{NAMES[at % 5]},{20 + at}").encode("cp1252"), PEOPLE._replace(told=("cp1252",))
    ),
    "no header": Table(
        lines("7,0.5", lambda at: f"{at},{at + 0.25}").encode(),
        Expected("column_1,column_2", [7, 0.5], ("the first line is taken for a row",), numbers="column_1,column_2"),
    ),
    "gzip": Table(gzip.compress(lines("a,b", lambda at: f"{at},{at + 0.25}").encode()), AB, ".csv.gz"),
    "lines of json": Table(
        "\n".join(json.dumps({"a": at, "b": at + 0.25, "tags": [1]}) for at in range(ROWS)).encode(),
        AB._replace(told=("left out: `tags`, whose values are lists",)),
        ".jsonl",
    ),
    # What columns hold.
    "an index without a name": plain(
        ",a,b", lambda at: f"{at},{2 * at},{at + 0.25}", AB._replace(told=("column 1, which has no name",))
    ),
    "ids": plain(
        "id,a,b", lambda at: f"x{at * 7919 % 1000:04d},{at},{at + 0.25}", AB._replace(told=("left out: `id`, texts",))
    ),
    "numbers of rows": plain(
        "user_id,a,b",
        lambda at: f"{9000 - at * 17},{at},{at + 0.25}",
        AB._replace(told=("left out: `user_id`, which",)),
    ),
    "dates": plain(
        "a,when", lambda at: f"{at},{day(at):%Y-%m-%d}",
        Expected("a,when", [0, "2024-01-09"], ("times from 2024-01-09",), numbers="a,when"),
    ),
    "dates of the continent": plain(
        "a;when", lambda at: f"{at};{day(at):%d.%m.%Y}", Expected("a,when", [0, "09.01.2024"], numbers="a,when")
    ),
    "dates of america": plain(
        "a,when", lambda at: f"{at},{day(at).month}/{day(at).day}/{day(at).year}",
        Expected("a,when", [0, "1/9/2024"], numbers="a,when"),
    ),
    "days or months": plain(
        "a,when",
        lambda at: f"{at},{at % 12 + 1:02d}/{at % 11 + 1:02d}/2024",
        "column `when` has dates such as 01/01/2024",
    ),
    "days or months, as told": plain(
        "a,when", lambda at: f"{at},{at % 12 + 1:02d}/{at % 11 + 1:02d}/2024",
        Expected("a,when", [0, "01/01/2024"], options={"types": ("when=%m/%d/%Y",)}, numbers="a,when"),
    ),
    "time stamps": plain(
        "when,a", lambda at: f"{day(at).isoformat()}Z,{at}",
        Expected("when,a", ["2024-01-09T00:00:00Z", 0], numbers="when,a"),
    ),
    "times of day": plain(
        "at,a", lambda at: f"{at % 24:02d}:{at:02d},{at}", Expected("at,a", ["00:00", 0], numbers="at,a")
    ),
    "unix time": plain(
        "ts,a", lambda at: f"{1_700_000_001 + 977 * at},{at}", Expected("ts,a", [1_700_000_001, 0], numbers="ts,a")
    ),
    "money": plain(
        "price,a", lambda at: f'"${1640 + 37 * at:,}.11",{at}', Expected("price,a", ["$1,640.11", 0], numbers="price,a")
    ),
    "money in the red": plain(
        "price,a", lambda at: f"{'-' if at % 2 else ''}{3 * at}.50 €,{at}",
        Expected("price,a", ["0.50 €", 0], numbers="price,a"),
    ),
    "money in cents": plain(
        "cents,a", lambda at: f"{100_000_000 + 1999 * at},{at}",
        Expected("cents,a", [100_000_000, 0], numbers="cents,a"),
    ),
    "percentages": plain("share,a", lambda at: f"{at + 60}%,{at}", Expected("share,a", ["60%", 0], numbers="share,a")),
    "thousands": plain(
        "size,a", lambda at: f'"{1559 + 41 * at:,}",{at}', Expected("size,a", ["1,559", 0], numbers="size,a")
    ),
    "units": plain(
        "mass,a", lambda at: f"{at + 1.5} kg,{at}", Expected("mass,a", ["1.5 kg", 0], numbers="mass,a")
    ),
    "phone numbers": plain(
        "phone,a",
        lambda at: f"{4_917_012_345_678 + at * at * 91_234_567 + at},{at}",
        "column `phone` has whole numbers such as",
    ),
    "phone numbers left out": plain(
        "phone,a", lambda at: f"{4_917_012_345_678 + at * at * 91_234_567 + at},{at}",
        Expected("a", [0], ("left out: `phone`, as told",), {"drop": ("phone",)}, "a"),
    ),
    "codes with zeros before them": plain(
        "zip,a", lambda at: f"{at % 5:05d},{at}", Expected("zip,a", ["00000", 0], numbers="a")
    ),
    "a word among numbers": Table(
        lines("a,b", lambda at: f"{'unknown' if at == 3 else at},{at + 0.25}", 60).encode(),
        AB._replace(told=("`unknown` in 1 rows is no number and taken as missing",)),
    ),
    "numbers that are kinds": plain(
        "a,kind", lambda at: f"{at},{at % 3}", Expected("a,kind", [0, 0], ("3 categories",), numbers="a")
    ),
    "numbers that are said to be kinds": plain(
        "a,kind", lambda at: f"{at},{at % 20}",
        Expected("a,kind", [0, "0"], ("20 categories",), {"types": ("kind=category",)}, "a"),
    ),
    "control characters": plain(
        "a,text", lambda at: f"{at},{'x' if at % 2 else chr(7)}", Expected("a,text", [0, "\a"], (r"\x07",), numbers="a")
    ),
    "missing in every way": plain(
        "a,b", lambda at: f"{at},{('', '-', 'NA', 'n/a', 'null')[at // 2 % 5] if at % 2 else at + 0.25}", AB
    ),
    "unix time of years": plain(
        "ts,a", lambda at: f"{1_000_000_007 + 22_222_223 * at + at * at},{at}",
        Expected("ts,a", [1_000_000_020, 0], ("times are kept to 60 seconds",), numbers="ts,a"),
    ),
    "unix time in milliseconds": plain(
        "created_at,a", lambda at: f"{1_600_000_000_000 + 604_800_007 * at + at * at},{at}",
        Expected("created_at,a", [1_600_000_020_000, 0], ("times are kept to 60 seconds",), numbers="created_at,a"),
    ),
    "points between thousands": plain(
        "a;b", lambda at: f"{at};{f'{700 + 41 * at:,}'.replace(',', '.')}", Expected("a,b", [0, "700"], numbers="a,b")
    ),
    "lines in quotes": Table(
        ('"a,b,c"\n' + "".join(f'"{at},{at + 0.25},""x, {at % 2}"""\n' for at in range(ROWS))).encode(),
        Expected("a,b,c", [0, 0.25, "x, 0"], ("lines are in quotes as a whole",), numbers="a,b"),
    ),
    "objects in lines of json": Table(
        "\n".join(
            json.dumps({"a": at, "who": {"b": at + 0.25, "at": {"c": "xy"[at % 2]}}}) for at in range(ROWS)
        ).encode(),
        Expected("a,who.b,who.at.c", [0, 0.25, "x"], numbers="a,who.b"), ".jsonl",
    ),
    "geojson": Table(
        json.dumps({"type": "FeatureCollection", "bbox": [0, 1], "features": [
            {"properties": {"a": at, "b": at + 0.25}, "geometry": {"coordinates": [at, 1]}} for at in range(ROWS)
        ]}).encode(),
        Expected(
            "properties.a,properties.b", [0, 0.25], ("whose values are lists",), numbers="properties.a,properties.b"
        ),
        ".geojson",
    ),
    "few letters of latin-1": Table(
        lines("name,age", lambda at: f"{('Zoë', 'José', 'Müller')[at % 3]},{20 + at}").encode("cp1252"),
        PEOPLE._replace(told=("cp1252",)),
    ),
    "a column of no values": plain(
        "a,b,c", lambda at: f"{at},{at + 0.25},NA", AB._replace(told=("left out: `c`, which has no values",))
    ),
    "dates as names of columns": plain(
        "place,Lat,1/22/20,1/23/20,1/24/20", lambda at: f"{'xy'[at % 2]},{at}.5,{at},{at + 1},{at + 2}",
        Expected("place,Lat,1/22/20,1/23/20,1/24/20", ["x", 0.5, 0, 1, 2], numbers="Lat,1/22/20,1/23/20,1/24/20"),
    ),
    "series in rows": plain(
        ",".join(["kind", *(f"t{step}" for step in range(24))]),
        lambda at: ",".join(["ab"[at % 2], *(f"{np.sin(step / 4 + at):.3f}" for step in range(24))]),
        Expected(
            ",".join(["kind", *(f"t{step}" for step in range(24))]),
            ["a", *(round(float(f"{np.sin(step / 4):.3f}"), 3) for step in range(24))],
            ("`t0` to `t23` look like steps of a series",), numbers=",".join(f"t{step}" for step in range(24)),
        ),
    ),
    "cyrillic": Table(
        lines("имя,age", lambda at: f"{('Москва', 'Омск')[at % 2]},{20 + at}").encode("cp1251"),
        Expected("имя,age", ["Москва", 20], numbers="age"),
    ),
    "a title of two lines": Table(
        ("Sales\n\nof 2024\n" + lines("a,b", lambda at: f"{at},{at + 0.25}")).encode(),
        AB._replace(told=("left out: the first 2 lines",)),
    ),
    "several characters between fields": Table(
        lines('1::It\'s "A", a: film (1900)::Y', lambda at: f"{at + 2}::It's \"B\", a: film (1910)::X|Y").encode(),
        Expected(
            "column_2,column_3", ['It\'s "A", a: film (1900)', "Y"],
            ("fields are parted by '::'", "left out: `column_1`, which numbers the rows"),
        ),
        ".dat",
    ),
    "texts that hardly come again": Table(
        lines("a,ticket", lambda at: f"{at % 40}.5,PC {at * 7919 % 60}", 100).encode(),
        Expected("a", [0.5], ("left out: `ticket`, 60 different texts in 100 rows",), numbers="a"),
    ),
    "texts that hardly come again, as told": Table(
        lines("a,ticket", lambda at: f"{at % 40}.5,PC {at * 7919 % 60}", 100).encode(),
        Expected("a,ticket", [0.5, "PC 0"], ("60 categories",), {"types": ("ticket=category",)}, numbers="a"),
    ),
    "one-hot columns": plain(
        "v,kind_a,kind_b,kind_c,is_x,is_y,is_z,flag",
        lambda at: ",".join(
            [f"{at}.5", *(f"{at % 3 == k:d}" for k in range(3)), *(str(at % 3 == k) for k in range(3)), "1"]
        ),
        Expected(
            "v,kind_a,kind_b,kind_c,is_x,is_y,is_z,flag", [0.5, 1, 0, 0, True, False, False, 1],
            ("`kind_a` to `kind_c` are one-hot", "`is_x` to `is_z` are one-hot"), numbers="v",
        ),
    ),
    "columns of flags": plain(
        "v,x,y,z", lambda at: f"{at}.5,{at % 2},{at % 3 == 0:d},{at % 5 == 0:d}",
        Expected("v,x,y,z", [0.5, 0, 1, 1], numbers="v"),
    ),
    "cases of categories": plain(
        "v,city", lambda at: f"{at}.5,{('Rome', 'rome', 'Oslo')[at % 3]}",
        Expected("v,city", [0.5, "Rome"], ("that differ in case alone are kept apart: Rome, rome",), numbers="v"),
    ),
    "indices of two frames": plain(
        "Unnamed: 0.1,Unnamed: 0,v", lambda at: f"{at},{at},{at}.5",
        Expected("v", [0.5], ("`Unnamed: 0.1`, which numbers the rows",), numbers="v"),
    ),
    "an id in one word": plain(
        "PassengerId,CustomerID,v", lambda at: f"{at + 1},{at * 7919 % 997},{at}.5",
        Expected("v", [0.5], ("`PassengerId`, which numbers", "`CustomerID`, which numbers"), numbers="v"),
    ),
    "a series": Table(
        lines("x,y", lambda at: f"{at * at},{np.sin(at / 40):.4f}", 300).encode(),
        Expected("x,y", [0, 0], ("each row is close to the one before, as in one series",), numbers="x,y"),
    ),
    "numbers of a few rows": plain(
        "a,v", lambda at: f"{'' if at % 10 else at + 0.25},{at}.5", Expected("a,v", [0.25, 0.5], numbers="a,v")
    ),
    "a zero below zero": plain(
        "v,x",
        lambda at: f"{at}.5,{('-0.0', '0.0', '1.5')[at % 3]}",
        Expected("v,x", [0.5, 0.0], ("2 categories: 0.0, 1.5",), numbers="v"),
    ),
    # What is refused.
    "dates in two forms": plain(
        "a,when", lambda at: f"{at},{day(at):{'%Y-%m-%d' if at % 2 else '%d.%m.%Y'}}",
        "column `when` has dates that are not written in one way, such as `09.01.2024`, `2024-01-20`",
    ),
    "a fixed width": Table(
        lines("name          age  city", lambda at: f"Ann Lee       {at:3d}  {('New York', 'Oslo')[at % 2]}").encode(),
        "Columns of a fixed width are not read: save it as CSV", ".txt",
    ),
    "a database": Table(b"SQLite format 3\0" + bytes(99), "is a database of SQLite: save its table as CSV"),
    "one column of texts": plain("text", lambda at: f"words {at}", "one column of texts, `text`: no table to learn"),
    "a label of decimals": Table(
        lines("a,y", lambda at: f"{at % 7},{at * 7919 % 97 / 8}", 60).encode(),
        "column `y` is the label and has 60 different values in 60 rows: no classes; --set label=null",
        options={"label": "y"},
    ),
    "free texts": plain(
        "a,text", lambda at: f"{at},{'word ' * 80}{at % 7}", "column `text` has a text of 401 characters"
    ),
    "a row too short": Table(b"a,b\n1,2\n3\n4,5\n", "line 3: fields: 1, columns: 2"),
    "numbers that no float holds": plain(
        "a,b", lambda at: f"{at},{at + 1}e300", "column `b` has 3e.301, which is no finite float32"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_learnt_rightly_or_refused_in_words(tmp_path: Path, name: str) -> None:
    content, expected, suffix, options = TABLES[name]
    path = tmp_path / f"table{suffix}"
    path.write_bytes(content)
    if isinstance(expected, str):
        with pytest.raises(DataError, match=expected) as caught:
            load("files", path, **options)
        assert "\n" not in str(caught.value)
        return
    dataset = load("files", path, **expected.options)
    columns = dataset.columns or []
    assert ",".join(column.name for column in columns) == expected.columns
    assert ",".join(column.name for column in columns if column.categories is None) == expected.numbers
    served = values(dataset)
    assert served[0] == expected.first
    said = "\n".join(summary(dataset))
    for words in expected.told:
        assert words in said
    # What is served says which numbers it comes from, and is what was read.
    present = [row for row in served if None not in row]
    np.testing.assert_array_equal(
        numbers_of(present, columns), dataset.samples[[None not in row for row in served]].astype(np.float32)
    )
    if suffix == ".csv" and "utf-16" not in name and not expected.options:
        written = {str(value) for row in served for value in row if value is not None}
        read = {field.strip() for line in csv.reader(io.StringIO(content.decode(errors="replace"))) for field in line}
        assert name not in ("commas", "dates", "dates of america", "money", "percentages", "units") or written <= read


def test_there_are_forty_of_them() -> None:
    assert len(TABLES) >= 40


def test_a_held_out_file_is_read_as_the_other(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(lines("age,kind,label", lambda at: f"{at},{'ab'[at % 2]},{'xy'[at % 2]}"))
    (tmp_path / "test.csv").write_text("kind,age,label\nb,5,y\na,,x\nc,7,x\na,9,x\n")
    dataset, held_out = (load("files", tmp_path, split, label="label") for split in ("train", "test"))
    assert held_out.columns == dataset.columns
    assert values(held_out) == [[5, "b", "y"], [9, "a", "x"]]
    assert held_out.label_names == dataset.label_names
    assert "left out: 2 rows with values that the training part does not have" in held_out.notes
    assert "held out: 2 rows, 1 of which are among the others, too" in [*summary(dataset, held_out)]


def test_options_that_name_no_column_are_told(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    for options, words in (
        ({"drop": ("c",)}, "no column `c`, which `drop` names; there are a, b"),
        ({"types": ("c=number",)}, "no column `c`, which `types` names"),
        ({"types": ("a=colour",)}, "`types`: a=colour: expected COLUMN=number"),
        ({"drop": ("a", "b")}, "no column is left to learn"),
    ):
        with pytest.raises(DataError, match=words):
            load("files", path, **options)


def test_parquet_has_times_and_decimals(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs latentserve[tables]")
    parquet = pytest.importorskip("pyarrow.parquet")
    held = {
        "when": pa.array([day(at) for at in range(ROWS)], pa.timestamp("ns")),
        "day": pa.array([day(at).date() for at in range(ROWS)]),
        "price": pa.array([at * 100 + 5 for at in range(ROWS)], pa.int64()).cast(pa.decimal128(21, 2)),
        "lists": pa.array([[at] for at in range(ROWS)]),
    }
    parquet.write_table(pa.table(held), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"column `lists` is of type list.*--drop lists"):
        load("files", tmp_path / "t.parquet")
    dataset = load("files", tmp_path / "t.parquet", drop=("lists",))
    assert values(dataset)[1] == ["2024-01-20 05:01:00", "2024-01-20", 105.0]


def test_rows_that_follow_one_another_become_windows(tmp_path: Path) -> None:
    path = tmp_path / "sensors.csv"
    path.write_text(
        lines("time,site,heat,wind", lambda at: f"{day(at):%Y-%m-%d},roof,{at / 4},{'' if at == 9 else -at}")
    )
    dataset = load("files", path, size=8)
    assert (dataset.kind, dataset.samples.shape) == ("array", (2, 2, 8))
    np.testing.assert_array_equal(dataset.samples[1], [np.arange(16, 24) / 4, -np.arange(16, 24)])
    said = "\n".join(summary(dataset))
    for words in (
        "30 rows as windows of 8",
        "the last 6 rows are left out",
        "1 windows with missing",
        "left out: `site`",
    ):
        assert words in said
    path.write_text(lines("time,heat", lambda at: f"{day(at * 7 % 30):%Y-%m-%d},{at / 4}"))
    with pytest.raises(DataError, match="rows are not in the order of `time`"):
        load("files", path, size=8)
