"""Tables in JSON: an object a line, a list of objects, an object of columns as pandas writes it, or one that names its
rows. What lies in objects is a column of its own, `user.age`."""

import io
import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.service.errors import one_line
from latentserve.training.data.columns import Read, of_values
from latentserve.training.data.lines import Open, opened
from latentserve.training.errors import DataError

_HEAD = 3  # lines that say whether each is an object


def read_json(path: Path, source: Open | None = None) -> Read:
    """The columns of a file; lists are left out. Raises DataError naming file and line."""
    number = 0

    def of_lines(lines: Iterable[str]) -> Iterator[Any]:
        nonlocal number
        for number, line in enumerate(lines, start=1):  # noqa: B007, told of where it fails
            if line.strip():
                yield json.loads(line)

    try:
        with opened(path, source) as file, io.TextIOWrapper(file, "utf-8-sig") as text:
            head = list(islice(text, _HEAD))
            if _are_objects(head, not {".json", ".geojson"} & {*path.suffixes}):
                return of_rows(path, of_lines(chain(head, text)))
            number = 1
            content = json.loads("".join(chain(head, text)))
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except json.JSONDecodeError as error:
        line = number + error.lineno - 1
        raise DataError(f"{path}: line {line}: no JSON: {one_line(error)}") from None
    return of_rows(path, records(path, content))


def _are_objects(lines: Sequence[str], alone: bool) -> bool:
    """Whether each line is a JSON object of its own; a single one may be a whole file, unless it is one `alone`."""
    some = [line for line in lines if line.strip()]
    try:
        objects = [json.loads(line) for line in some[:2]]
    except ValueError:
        return len(some) > 1 and some[0].lstrip()[:1] == "{" and some[0].rstrip()[-1:] == "}"
    if len(some) == 1 and isinstance(objects[0], dict):
        return alone or not any(isinstance(value, dict | list) for value in objects[0].values())
    return len(objects) == 2


def records(path: Path, content: Any, key: str = "") -> Iterable[Any]:
    """The rows of a value: of a list of them, an object that holds one, an object of columns, or one that names each
    row, by what becomes the column `key`. Raises DataError naming the file."""
    if isinstance(content, dict):
        if set(content) >= {"columns", "data"} and isinstance(content["columns"], list):  # pandas' "split"
            return [dict(zip(map(str, content["columns"]), row, strict=False)) for row in content["data"]]
        lists = [value for value in content.values() if isinstance(value, list)]
        of_objects = [one for one in lists if one and all(isinstance(row, dict) for row in one)]
        if len(of_objects) == 1:
            return of_objects[0]
        if lists and len(lists) == len(content) and len({len(one) for one in lists}) == 1:
            return [dict(zip(content, row, strict=True)) for row in zip(*lists, strict=True)]
        inner = list(content.values())
        if inner and all(isinstance(one, dict) for one in inner):
            if all(name.isdecimal() for name in inner[0]) and all(one.keys() == inner[0].keys() for one in inner):
                return [{name: of[row] for name, of in content.items()} for row in inner[0]]
            return [{key: name, **of} for name, of in content.items()]
    elif isinstance(content, list):
        return content
    raise DataError(f"{path}: no table in it: expected a list of objects, one a row")


def of_rows(path: Path, rows: Iterable[Any]) -> Read:
    """The columns of rows. Raises DataError naming file and row."""
    known: dict[str, dict[Any, int]] = {}
    places: dict[str, array[int]] = {}
    lists: set[str] = set()
    count = 0
    for row in rows:
        if not isinstance(row, dict):
            raise DataError(f"{path}: row {count + 1}: no object of names and values")
        for name, value in dict(_flat(row)).items():
            if isinstance(value, list):
                lists.add(name)
                continue
            value = None if value != value else value
            if name not in places:
                known[name], places[name] = {(type(None), None): 0}, array("i", [0] * count)
            places[name].append(known[name].setdefault((type(value), value), len(known[name])))
        count += 1
        for column in places.values():
            if len(column) < count:
                column.append(0)
    columns = [
        of_values(name, *_used([value for _, value in known[name]], np.array(places[name], np.int64)))
        for name in places
        if name not in lists
    ]
    if not columns:
        raise DataError(f"{path}: no rows")
    return Read(columns, tuple(f"left out: `{name}`, whose values are lists" for name in sorted(lists)))


def _flat(row: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values, those of objects inside with the name of the object before their own."""
    for name, value in row.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _used(values: list[Any], places: NDArray[np.int64]) -> tuple[list[Any], NDArray[np.int64]]:
    """Without the missing value at their beginning, where no row has it."""
    return (values, places) if (places == 0).any() else (values[1:], places - 1)
