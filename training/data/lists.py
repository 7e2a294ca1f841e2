"""Lists beside files, in texts and JSON: `train.txt`, CelebA's `list_attr_celeba.txt`, `labels.json`. Each becomes a
table, whose columns have the names that the list gives them, or none."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from latentserve.training.data import json_tables
from latentserve.training.data.columns import Distinct, Read, from_texts
from latentserve.training.data.lines import Open
from latentserve.training.errors import DataError

TEXTS = (".txt", ".lst")
SUFFIXES = (*TEXTS, ".json")
LARGEST = 64 << 20  # bytes of a list

FILE, LABEL, VALUE = "file", "label", "value"  # columns of a list that names none

Names = Callable[[str], bool]


def read(path: Path, source: Open, names: Names) -> Read | None:
    """The columns of a list; None: it is none. `names` says whether a text names one of the files."""
    try:
        with source() as file:
            content = file.read(LARGEST + 1)
    except OSError:
        return None
    if len(content) > LARGEST:
        return None
    text = content.decode("utf-8-sig", "replace")
    return _of_json(path, text, names) if path.suffix.lower() == ".json" else of_text(text, names)


def _of_json(path: Path, text: str, names: Names) -> Read | None:
    """Of a table in JSON, of `{FILE: {...}, ...}`, of `{FILE: LABEL, ...}`, or of `{LABEL: [FILE, ...], ...}`."""
    try:
        content: Any = json.loads(text)
        if isinstance(content, dict) and content:
            inner = content.values()
            if not any(isinstance(value, dict | list) for value in inner):
                content = [{FILE: name, LABEL: label} for name, label in content.items()]
            elif all(isinstance(of, list) and any(isinstance(one, str) and names(one) for one in of) for of in inner):
                content = [{FILE: name, LABEL: label} for label, of in content.items() for name in of]
        return json_tables.of_rows(path, json_tables.records(path, content, FILE))
    except (ValueError, TypeError, RecursionError, DataError):
        return None


def of_text(text: str, names: Names) -> Read | None:
    """Of lines of fields, with a line of columns' names or without, and their count before them or not."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if len(lines) > 2 and lines[0].isdecimal() and int(lines[0]) in (len(lines) - 1, len(lines) - 2):
        lines = lines[1:]
    if len(lines) < 2:
        return None
    mark = next((each for each in ("\t", ",", ";") if all(each in line for line in lines[1:])), None)
    rows = [[field.strip() for field in line.split(mark)] for line in lines]
    header = None
    counts = {len(row) for row in rows[1:]}
    if counts == {len(rows[0]) + 1}:
        header, rows = [FILE, *rows[0]], rows[1:]
    elif not any(map(names, rows[0])) and any(map(names, rows[1])):
        header, rows = rows[0], rows[1:]
    if len({len(row) for row in rows}) > 1 or (header is not None and len(header) not in counts):
        return Read([_column(FILE, [row[0] for row in rows])])  # boxes, as many as there are
    columns = list(zip(*rows, strict=True))
    if header is not None:
        return Read([_column(name, column) for name, column in zip(header, columns, strict=True)])
    return _without_header(columns, names)


def _without_header(columns: list[tuple[str, ...]], names: Names) -> Read | None:
    """The column that names files, and the one that can only be their label: the other one of two, or of several the
    first that holds words. What hardly comes again is none."""
    at = next((at for at, column in enumerate(columns) if any(map(names, column[:20]))), None)
    if at is None:
        return None
    others = [column for place, column in enumerate(columns) if place != at]
    words = [column for column in others if not all(re.match(r"[+-]?[\d.]+\Z", field) for field in column)]
    likely = others if len(others) == 1 else words
    kept = [_column(LABEL if comes_again(len(set(column)), len(column)) else VALUE, column) for column in likely[:1]]
    left = len(others) - len(kept)
    return Read([_column(FILE, columns[at]), *kept], (f"left out: {left} columns without names",) if left else ())


def comes_again(different: int, rows: int) -> bool:
    """Whether so many different texts in so many rows may be labels."""
    return different <= rows // 2


def _column(name: str, fields: list[str] | tuple[str, ...]) -> Distinct:
    known: dict[str, int] = {}
    places = np.array([known.setdefault(field, len(known)) for field in fields], np.int64)
    try:
        return from_texts(name, list(known), places)
    except DataError:  # dates that may be read in two ways
        return Distinct(name, "string", list(known), places)
