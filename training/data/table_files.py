"""Tables in files, as columns: CSV however it is written, JSON and lines of it, ARFF; Parquet, ORC and Arrow's own
(which need the extra `tables`).

A file is read once. Of a CSV file a line is held at a time, of Parquet a column, and of either each different value
once: what stays are the different values, and four bytes a cell.
"""

import io
import re
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import numpy as np

from latentserve.service.errors import one_line
from latentserve.training.data.columns import Distinct, Read, arrow_columns, dropped, from_texts
from latentserve.training.data.conditions import FILE as CONDITIONS
from latentserve.training.data.framing import MISSING, Frame
from latentserve.training.data.json_tables import read_json
from latentserve.training.data.lines import PACKED, Dialect, Open, csv_lines, opened, sniff
from latentserve.training.data.listing import STYLEGAN, Listing
from latentserve.training.data.reading import Reading
from latentserve.training.errors import DataError

CSV = tuple(suffix + packed for suffix in (".csv", ".tsv", ".tab") for packed in ("", *PACKED))
JSON = tuple(suffix + packed for suffix in (".jsonl", ".ndjson", ".json", ".geojson") for packed in ("", *PACKED))
ARFF = (".arff",)
PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather", ".ipc", ".orc")
SUFFIXES = (*CSV, *JSON, *ARFF, *PARQUET, *ARROW)
BESIDE = tuple(suffix for suffix in SUFFIXES if not suffix.startswith(".json.") and suffix != ".json")  # of other files
TEXTS = tuple(suffix + packed for suffix in (".data", ".dat", ".txt") for packed in ("", *PACKED))  # where one is named

_ABOUT = re.compile(
    r"read[-_ ]?me|licen[cs]e|notice|about|citation|changelog|requirements|description|notes?\b|info\b", re.I
)
_INDEX_LEVEL = re.compile(r"__index_level_\d+__\Z")
_ATTRIBUTE = re.compile(r"""\s*@attribute\s+('[^']*'|"[^"]*"|\S+)\s+(\S+)""", re.IGNORECASE)

LEAST_SUMMED = 5  # rows, above which the last may be a total

_TOTAL = re.compile(
    r"(?:(?:grand |sub-?)?totals?|sums?|averages?|mean|overall|summe|gesamt|insgesamt|total g[eé]n[eé]ral|totale):?\Z",
    re.I,
)
_COMMA = re.compile(r"[+-]?\d+,\d+\Z")


def among(listing: Listing) -> list[PurePosixPath]:
    """The tables of a folder or an archive; JSON and plain texts where there is nothing else that can be learnt."""
    own = re.compile(r"cache-\w+\.arrow\Z")  # of the package `datasets`
    there = [file for file in listing.files if file.name not in (CONDITIONS, STYLEGAN) and not own.match(file.name)]
    found = [file for file in there if file.name.lower().endswith(BESIDE)]
    if found or listing.having((".npy", ".npz")):
        return found
    loose = [file for file in there if not _ABOUT.match(file.name)]
    of_json = [file for file in loose if file.name.lower().endswith(JSON)]
    return of_json or [file for file in loose if file.name.lower().endswith(TEXTS)]


@dataclass(frozen=True)
class Texts:
    """The fields of a file of lines: for each column its different ones, and where each row's is among them."""

    names: list[str]
    known: list[dict[str, int]]
    places: "list[array[int]]"
    notes: list[str]
    delimiter: str

    def columns(self, path: Path, reading: Reading) -> Read:
        """As what they are. Raises DataError naming the file and the column."""
        comma = self.delimiter == ";" or (self.delimiter != "," and any(map(_has_decimal_commas, self.known)))
        columns = []
        for name, texts, places in zip(self.names, self.known, self.places, strict=True):
            try:
                if name in reading.drop:
                    columns.append(dropped(name, len(places)))
                    continue
                columns.append(
                    from_texts(name, list(texts), np.array(places, np.int64), reading.stated.get(name), comma)
                )
            except DataError as error:
                raise DataError(f"{path}: {error}") from None
        return Read(columns, tuple(self.notes))


def read_all(paths: Sequence[Path], reading: Reading, open_as: Callable[[Path], Open | None], top: Path) -> Read:
    """The columns of files of the same columns, one after the other; folders below `top` called `year=2020` are a
    column, too. Raises DataError naming the first of other columns, and what they are."""

    def of_path(path: Path) -> list[tuple[str, str]]:
        own = [("file", str(path.relative_to(top)))] if reading.size is not None and len(paths) > 1 else []
        return [*_of_folders(path, top), *own]  # no window holds rows of two files

    if all(path.name.lower().endswith((*CSV, *TEXTS)) for path in paths):
        texts = [_texts(path, sniff(path, open_as(path)), open_as(path)) for path in paths]
        for path, part in zip(paths, texts, strict=True):
            for name, value in of_path(path):
                part.names.append(name)
                part.known.append({value: 0})
                part.places.append(array("i", [0]) * len(part.places[0]))
        whole = texts[0]
        for path, part in zip(paths[1:], texts[1:], strict=True):
            _require_same(path, part.names, paths[0], whole.names)
            for at, name in enumerate(whole.names):
                known, of = whole.known[at], part.names.index(name)
                onto = [known.setdefault(text, len(known)) for text in part.known[of]]
                whole.places[at].extend(onto[place] for place in part.places[of])
        return _one_after_the_other(whole.columns(paths[0], reading), len(paths))
    parts = []
    for path in paths:
        one = read(path, reading, open_as(path))
        rows = len(one.columns[0].places)
        more = [from_texts(name, [value], np.zeros(rows, np.int64)) for name, value in of_path(path)]
        parts.append(Read([*one.columns, *more], one.notes))
    names = [column.name for column in parts[0].columns]
    columns = []
    for at, name in enumerate(names):
        alike = []
        for path, each in zip(paths, parts, strict=True):
            _require_same(path, [column.name for column in each.columns], paths[0], names)
            alike.append(next(column for column in each.columns if column.name == name))
        columns.append(_joined(alike, paths) if len(paths) > 1 else parts[0].columns[at])
    return _one_after_the_other(Read(columns, parts[0].notes), len(paths))


def _one_after_the_other(read: Read, files: int) -> Read:
    told = (f"{files:,} files of the same columns, one after the other",) if files > 1 else ()
    return replace(read, notes=(*told, *read.notes))


def _require_same(path: Path, names: Sequence[str], first: Path, others: Sequence[str]) -> None:
    """Raise DataError where a file has other columns than the first."""
    for ours, theirs, here, there in ((names, others, path, first), (others, names, first, path)):
        odd = next((name for name in ours if name not in theirs), None)
        if odd is not None:
            raise DataError(
                f"{here}: has a column `{odd}`, which {there.name} has not: join them into one table, or name one"
            )


def _of_folders(path: Path, top: Path) -> list[tuple[str, str]]:
    """Columns that folders are, as Hive has them: `year=2020`."""
    inner = path.parent.parts[len(top.parts) :]
    parts = (part.partition("=") for part in inner)
    missing = "__HIVE_DEFAULT_PARTITION__"
    return [(name, "" if value == missing else unquote(value)) for name, equals, value in parts if equals and name]


def _joined(parts: Sequence[Distinct], paths: Sequence[Path]) -> Distinct:
    """Columns of one name, one after the other. Raises DataError where they hold other things."""
    kinds = {part.type for part in parts if any(value is not None for value in part.values)}
    kind = kinds.pop() if len(kinds) == 1 else parts[0].type
    if kinds:
        numbers = all(one.startswith(("int", "uint", "float")) for one in (kind, *kinds))
        if not numbers:
            odd = next(at for at, part in enumerate(parts) if part.type != parts[0].type)
            raise DataError(
                f"{paths[odd]}: column `{parts[0].name}` is of type {parts[odd].type}, in {paths[0].name} of "
                f"{parts[0].type}"
            )
        kind = "int64" if all("int" in one for one in (kind, *kinds)) else "float64"
    known: dict[Any, int] = {}
    places = []
    for part in parts:
        values = [float(value) if kind.startswith("float") and value is not None else value for value in part.values]
        places.append(np.array([known.setdefault(value, len(known)) for value in values], np.int64)[part.places])
    form = next((part.form for part in parts if part.form is not None), None)
    return replace(parts[0], type=kind, values=list(known), places=np.concatenate(places), form=form)


def read(path: Path, reading: Reading, source: Open | None = None) -> Read:
    """The columns of a file by its suffix; `source` opens it where it is none at `path`. Raises DataError."""
    name = path.name.lower()
    if name.endswith((*PARQUET, *ARROW)):
        return read_arrow(path, reading, source)
    if name.endswith(JSON):
        return read_json(path, source)
    dialect = arff(path, source) if name.endswith(ARFF) else sniff(path, source)
    return _texts(path, dialect, source).columns(path, reading)


def _texts(path: Path, dialect: Dialect, source: Open | None) -> Texts:
    """The fields of a file that is written in this way. Raises DataError naming file and line."""
    notes = dialect.sentences
    lines = csv_lines(path, dialect, source, notes)
    _, names = next(lines)
    known: list[dict[str, int]] = [{} for _ in names]
    places = [array("i") for _ in names]
    for _, line in lines:
        for texts, column, field in zip(known, places, line, strict=True):
            column.append(texts.setdefault(field, len(texts)))
    if not places[0]:
        raise DataError(f"{path}: no rows")
    _without_total(known, places, notes)
    return Texts(names, known, places, notes, dialect.delimiter)


def _without_total(known: list[dict[str, int]], places: "list[array[int]]", notes: list[str]) -> None:
    """Take the last row away where it sums up the others."""
    last = [list(texts)[column[-1]] for texts, column in zip(known, places, strict=True)]
    at = next((at for at, text in enumerate(last) if text), 0)
    if len(places[at]) < LEAST_SUMMED or not _TOTAL.match(last[at]) or places[at].count(places[at][-1]) > 1:
        return
    notes.append(f"left out: the last row, which sums up the others: `{' '.join(filter(None, last))[:60]}`")
    for texts, column, text in zip(known, places, last, strict=True):
        place = column.pop()
        if place == len(texts) - 1 and place not in column:
            del texts[text]


def _has_decimal_commas(texts: dict[str, int]) -> bool:
    """Whether all are written as 1,5 and not all as 1,559."""
    present = [text for text in texts if text.lower() not in MISSING]
    return bool(present) and all(map(_COMMA.match, present)) and not all(text[-4:-3] == "," for text in present)


def arff(path: Path, source: Open | None = None) -> Dialect:
    """How the rows of a file of Weka's are written, and what its columns are called. Raises DataError naming file and
    line."""
    names: list[str] = []
    try:
        with opened(path, source) as file, io.TextIOWrapper(file, "utf-8", errors="replace") as text:
            for number, line in enumerate(text, start=1):
                if attribute := _ATTRIBUTE.match(line):
                    if attribute[2].lower() == "relational":
                        raise DataError(f"{path}: line {number}: rows within rows are not read: save an .npz file")
                    names.append(attribute[1].strip("'\""))
                elif line.strip().lower() == "@data":
                    first = next((row for row in text if row.strip() and not row.startswith("%")), "")
                    if first.startswith("{"):
                        raise DataError(f"{path}: sparse rows are not read: save it as CSV")
                    quote = "'" if "'" in first or '"' not in first else '"'
                    return Dialect("utf-8", ",", quote, doubled=False, frame=Frame(number, tuple(names), (), "%"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    raise DataError(f"{path}: no line `@data`")


def read_arrow(path: Path, reading: Reading, source: Open | None = None) -> Read:
    """The columns of a Parquet, ORC or Arrow file: numbers, texts, times, true and false. Raises DataError naming file
    and column."""
    try:
        import pyarrow as pa
        import pyarrow.orc as orc
        import pyarrow.parquet as parquet
    except ModuleNotFoundError:
        raise DataError(f"{path}: pyarrow is not installed: install latentserve[tables]") from None

    def columns(names: Sequence[str], rows: int, column_of: Callable[[str], Any]) -> Read:
        if not rows or not names:
            raise DataError(f"{path}: no rows")
        twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
        if twice is not None:
            raise DataError(f"{path}: two columns are named `{twice}`")
        kept = [name for name in names if not _INDEX_LEVEL.match(name)]
        notes = tuple(f"left out: `{name}`, the index of a frame of pandas" for name in names if name not in kept)
        return Read(
            [
                one
                for name in kept
                for one in (
                    [dropped(name, rows)]
                    if name in reading.drop  # and so is not read
                    else arrow_columns(column_of(name), name, str(path), reading)
                )
            ],
            notes,
        )

    try:
        if path.name.lower().endswith(PARQUET):
            with parquet.ParquetFile(path if source is None else source()) as file:
                # A column at a time: the file as a whole may not fit into memory.
                rows = file.metadata.num_rows
                return columns(file.schema_arrow.names, rows, lambda name: file.read([name]).column(0))
        with path.open("rb") if source is None else source() as opened_file:
            if path.suffix.lower() == ".orc":
                table = orc.ORCFile(opened_file).read()
            elif opened_file.read(4) == b"FEA1":
                raise DataError(f"{path}: is of the first version of Feather: save it as Parquet")
            else:
                opened_file.seek(0)
                a_file = opened_file.read(6) == b"ARROW1"
                opened_file.seek(0)
                table = (pa.ipc.open_file if a_file else pa.ipc.open_stream)(opened_file).read_all()
        return columns(table.column_names, table.num_rows, table.column)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read: {one_line(error)}") from None
