"""CSV files that hold more than rows, or less: what names the columns, where rows begin and end."""

from pathlib import Path

import pytest

from latentserve.training.data import load, summary
from latentserve.training.errors import DataError
from tests.training.data.test_tables import values

KINDS = ("red", "green", "blue")


def rows(between: str = ",", count: int = 40, kind: str = "{}", end: str = "") -> str:
    return "".join(
        between.join((str(20 + at * 7 % 50), f"{at * 37 % 101 / 4}", kind.format(KINDS[at % 3]))) + end + "\n"
        for at in range(count)
    )


def numbered(text: str, name: str, between: str = ",") -> str:
    return "".join(f"{name.format(at)}{between}{line}\n" for at, line in enumerate(text.splitlines(), start=1))


HEAD = "age,x,kind\n"
FILES = {
    # As R writes them.
    "write.csv": ("csv", '"","age","x","kind"\n' + numbered(rows(), '"{}"'), "column 1, which has no name"),
    "names of rows": ("csv", '"","age","x","kind"\n' + numbered(rows(), '"Mazda RX{}"'), "column 1, which has no name"),
    "write.table": ("txt", '"age" "x" "kind"\n' + numbered(rows(" "), '"{}"', " "), "parted by spaces"),
    "write.table, commas": ("csv", '"age","x","kind"\n' + numbered(rows(), '"{}"'), "column 1, which has no name"),
    # As others do.
    "an index that does not count": ("csv", "," + HEAD + numbered(rows(), "7{}"), "column 1, which has no name"),
    "spaces": ("dat", "  age    x     kind\n" + rows("   ", kind="{}  "), "parted by spaces"),
    "spaces and tabs": ("txt", "age x kind\n" + rows(" \t", kind='"{}"'), "parted by spaces"),
    "sep=": ("csv", "sep=;\nage;x;kind\n" + rows(";"), "parted by semicolons"),
    "tildes": ("csv", "age~x~kind\n" + rows("~"), "parted by '~'"),
    "control characters": ("csv", "age\x01x\x01kind\n" + rows("\x01"), r"parted by '\x01'"),
    "spaces behind commas": ("csv", "age, x, kind\n" + rows(", ", kind='"{}, or so"'), "blue, or so"),
    "backslashes": ("csv", HEAD + rows(kind=r'"a \"{}\", it says"'), 'a "blue", it says'),
    "quotes within": ("csv", HEAD + rows(kind="\"['{}', 'x']\""), "['blue', 'x']"),
    "a table of Markdown": (
        "csv", "| age | x | kind |\n|---|---|---|\n" + "".join(f"|{line}|\n" for line in rows("|").splitlines()),
        "left out: line 2, which is no row but units or a second heading: `---, ---, ---`",
    ),
    # Lines before and after.
    "a comment": ("csv", "# made by hand, in May\n" + HEAD + rows(), "left out: lines that begin with #"),
    "comments, and names in the last": ("dat", "# of May\n#\n# age  x  kind\n" + rows("  "), "lines that begin with #"),
    "a title": ("csv", "Sales of 2020\n\n" + HEAD + rows(), "the first line, which is no row: `Sales of 2020`"),
    "a title as wide as the table": (
        "csv", "Bank,,\nUpdated,2020-01-01,\n,,\n" + HEAD + rows(), "the first 3 lines, which are no rows"
    ),
    "names of rows below columns of two levels": (
        "csv", "Price,x,kind\nTicker,AAPL,AAPL\nage,,\n" + rows(), "line 3 names the first column alone: it is `age`"
    ),
    "units": ("csv", HEAD + "[yr],[kg],[-]\n" + rows(), "no row but units or a second heading: `[yr], [kg]"),
    "a total": ("csv", HEAD + rows() + "Total,512.5,\n", "the last row, which sums up the others: `Total 512.5`"),
    "a source": ("csv", HEAD + rows() + "\nSource: the office\n", "line 43, which is no row: `Source: the office`"),
    "how many": ("csv", HEAD + rows() + "(40 rows affected)\n", "left out: line 42, which is no row"),
    "rows without a value": ("csv", HEAD + rows() + ",,\n,,\n", "left out: 2 rows without a value"),
    "two files, one behind the other": (
        "csv", HEAD + rows(count=20) + HEAD + rows(), "left out: 1 lines that name the columns again"
    ),
    "a delimiter at the end": ("csv", "age,x,kind,\n" + rows(end=","), "column 4, which has neither a name nor values"),
    "a delimiter at the end of rows": ("csv", HEAD + rows(end=","), "column 4, which has neither a name nor values"),
    "a column without values": ("csv", "age,x,kind,note\n" + rows(end=","), "left out: `note`, which has no values"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_rows_are_found_among_what_else_there_is(tmp_path: Path, name: str) -> None:
    suffix, text, told = FILES[name]
    path = tmp_path / f"t.{suffix}"
    path.write_text(text)
    dataset = load("files", path)
    assert [column.name for column in dataset.columns or []] == ["age", "x", "kind"]
    assert [column.categories is None for column in dataset.columns or []] == [True, True, False]
    first = values(dataset)[0]
    assert first[:2] == [20, 0]
    assert "red" in first[2]
    assert len(dataset) == 60 if "two files" in name else len(dataset) == 40
    assert told in "\n".join(summary(dataset))


@pytest.mark.parametrize(
    ("head", "columns"),
    [
        ("", "column_1,column_2,column_3"),
        ("2019,2020,2021\n", "2019,2020,2021"),
        ("0,1,2\n", "0,1,2"),
        ("a,,b\n", "a,column_2,b"),
        ("a,b,a\n", "a,b,a.1"),
        ("price,price,kind\nopen,close,\n", "price open,price close,kind"),
    ],
)
def test_columns_have_names(tmp_path: Path, head: str, columns: str) -> None:
    (tmp_path / "t.csv").write_text(head + rows())
    dataset = load("files", tmp_path / "t.csv")
    assert len(dataset) == 40
    assert ",".join(column.name for column in dataset.columns or []) == columns


def test_texts_alone_are_rows_where_they_come_again(tmp_path: Path) -> None:
    def lines(at: int) -> str:
        return f"{KINDS[at % 3]},{('big', 'small')[at % 2]},{('round', 'square')[at % 5 % 2]}\n"

    text = "".join(map(lines, range(30)))
    for head, names in (("", "column_1,column_2,column_3"), ("colour,size,shape\n", "colour,size,shape")):
        (tmp_path / "t.csv").write_text(head + text)
        dataset = load("files", tmp_path / "t.csv")
        assert (len(dataset), ",".join(column.name for column in dataset.columns or [])) == (30, names)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"<!DOCTYPE html>\n<html><body>Not found</body></html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "is a pointer of Git LFS"),
        (b"PK\x03\x04 and more", "is a ZIP archive or a workbook"),
        (b"# nothing\n# but comments\n", "no line that is no comment"),
        (b"a,b\n1,2\nthree\n4,5\n", "line 3: fields: 1, columns: 2"),
        (b"a,b\n1,2\n3,4\n5\n", "line 4: fields: 1, columns: 2"),
        (b"time\n12:30\n12:40\n", "one column"),
        (b"name\nAda L\nBert M\nCleo N\n", "one column of texts"),
    ],
)
def test_what_is_no_table_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    if told == "one column":
        assert [column.name for column in load("files", tmp_path / "t.csv").columns or []] == ["time"]
        return
    with pytest.raises(DataError, match=told) as caught:
        load("files", tmp_path / "t.csv")
    assert "\n" not in str(caught.value)
