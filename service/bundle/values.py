"""What the numbers of a table's columns stand for: values of the columns' own types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from latentserve.service.bundle.manifest import Column
from latentserve.service.errors import InvalidError

_ABSENT = object()  # of a row, the value of a column
_LARGEST = 3.4e38  # as float32
_WHOLE = 2.0**31  # numbers of a column with an origin are less than that


def typed(values: NDArray[np.float32], column: Column) -> NDArray[Any]:
    """The numbers of one column, float32 [n], as its values [n]: of the column's own type, or objects with None among
    them where values are missing, and texts where it has a form. A number that is not finite is missing; a place
    outside the categories is the nearest of them."""
    absent = ~np.isfinite(values)
    if column.missing is not None:
        absent |= values == np.float32(column.missing)
    known = np.where(absent, np.float32(0), values)
    if column.categories is not None:
        # As many as there are rows, however many categories there are.
        chosen = np.array([column.categories[place] for place in category_places(known, column).tolist()], dtype=object)
        chosen[absent] = None
        return chosen
    result = measured(known, column)
    if column.form is not None:
        written = [column.form.write(value, column.decimals) for value in plain(result)]
        result = np.array(written, dtype=object)
    if absent.any():
        result = np.array(plain(result), dtype=object)
        result[absent] = None
    return result


def measured(known: NDArray[np.float32], column: Column) -> NDArray[Any]:
    """Finite numbers [n] of a column without categories as its values [n], before they are written in its form."""
    dtype = np.dtype("float32" if column.type is None else "float64" if column.form is not None else column.type)
    if column.origin is not None or column.step is not None:
        whole = np.rint(known.astype(np.float64)).clip(-_WHOLE, _WHOLE).astype(np.int64)
        value = (column.origin or 0) + (column.step or 1) * whole
        return value if dtype.kind == "f" else value.astype(dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        exact = np.rint(known.astype(np.float64))
        # The largest int64 is no double; the one below it is.
        within = exact.clip(limits.min, np.nextafter(float(limits.max), 0) if dtype.itemsize == 8 else limits.max)
        return within.astype(dtype)
    if column.decimals is not None:
        return np.round(known.astype(np.float64), column.decimals).astype(dtype)
    return known if dtype == np.float32 else shortest(known).astype(dtype)


def numbers_of(rows: Sequence[Any], columns: Sequence[Column], first: int = 0) -> NDArray[np.float32]:
    """The numbers float32 [n, columns] that stand for rows of values as `typed` gives them: the reverse. A row is a
    list, or an object by column. `first` is the number of the first row. Raises InvalidError, which names one."""
    numbers = np.empty((len(rows), len(columns)), np.float32)
    names = [column.name for column in columns]
    places = [
        {(isinstance(value, bool), value): place for place, value in enumerate(column.categories or ())}
        for column in columns
    ]
    for index, row in enumerate(rows):
        said = f"samples[{first + index}]"
        values = [row.get(name, _ABSENT) for name in names] if isinstance(row, dict) else row
        if not isinstance(values, list) or len(values) != len(names) or (isinstance(row, dict) and row.keys() - names):
            raise InvalidError(said, f"is no row of {len(names)} columns, {', '.join(names)[:400]}")
        for at, (value, column) in enumerate(zip(values, columns, strict=True)):
            number: float | None = None
            if isinstance(value, list | dict):
                pass
            elif column.categories is not None:
                number = places[at].get((isinstance(value, bool), value))
            elif value is None:
                number = column.missing
            elif isinstance(value, str) and column.form is not None:
                number = _of_value(column.form.read(value), column)
            elif type(value) in (int, float) and abs(value) < _LARGEST and column.form is None:
                number = _of_value(value, column)
            if number is None:
                raise InvalidError(f"{said}.{column.name}", "has no value that this column can have")
            numbers[index, at] = number
    return numbers


def _of_value(value: float | None, column: Column) -> float | None:
    """The number that stands for a value."""
    return None if value is None else (value - (column.origin or 0)) / (column.step or 1)


def category_places(values: NDArray[np.float32], column: Column) -> NDArray[np.int64]:
    """The places int64 [n] in the categories of a column that has some, of finite numbers [n]."""
    return np.rint(values).clip(0, len(column.categories or ()) - 1).astype(np.int64)


def plain(values: NDArray[Any]) -> list[Any]:
    """Values as JSON has them."""
    return (shortest(values) if values.dtype == np.float32 else values).tolist()


def shortest(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """The doubles of the shortest decimals that are these float32: 0.1, not 0.10000000149011612."""
    return np.array(orjson.loads(orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)), float)
