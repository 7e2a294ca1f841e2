"""Tables whose rows follow one another in time, as windows of so many rows: arrays [columns, size]. A table may hold
several series, one after the other or their rows in turn, told apart by a column."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from latentserve.training.data.columns import Distinct, Read
from latentserve.training.data.dataset import Dataset, storage
from latentserve.training.data.reading import Reading
from latentserve.training.data.tables import is_index, is_time
from latentserve.training.errors import DataError

_ID = r"(?:^|.*[-_ .]|.*[a-z](?=I))(?:ids?|IDs?|Ids?)"
_THINGS = (
    r"(?i:(?:.*[-_ .])?(?:series|subject|patient|person|user|unit|device|machine|engine|sensor|station|site|store"
    r"|file|ticker|symbol|trial|session|run|episode|track|sequence|sample|case)(?:[-_ .]?(?:no|nr|num|number|name))?)"
)
_CALLED_VARIABLE = re.compile(
    r"(?:variable|metric|measure(?:ment)?|parameter|indicator|attribute|feature|signal|channel)s?(?:[-_ ]?name)?\Z",
    re.I,
)
_CALLED_VALUE = re.compile(r"(?:.*[-_ ])?(?:value|val|reading|measurement|amount)s?\Z", re.I)
_CALLED_ID, _CALLED_SERIES = re.compile(rf"{_ID}\Z"), re.compile(rf"(?:{_ID}|{_THINGS})\Z")


def windows(name: str, source: str, read: Read, reading: Reading) -> Dataset:
    """Windows of `reading.size` rows, one after the other, of the columns that are numbers; those with a gap are left
    out, and so are columns of times. Windows never hold rows of two series.

    Raises DataError naming `source`, and the column.
    """
    size = reading.size
    assert size is not None  # noqa: S101, whoever calls has asked
    reading.refuse("windows of a table", "label", "types", "folders", "broken", "background")
    names = [column.name for column in read.columns]
    for one in reading.drop:
        if one not in names:
            raise DataError(f"{source}: no column `{one}`, which `drop` names; there are {', '.join(names)}")
    notes = [*read.notes, *(f"left out: `{one}`, as told" for one in reading.drop)]
    columns = [column for column in read.columns if column.name not in reading.drop]
    whose, rows_of = _apart(columns, source)
    kept: list[Distinct] = []
    for column in columns:
        if column is whose:
            continue
        if is_time(column):
            notes.append(f"left out: `{column.name}`, which says when each row was")
        elif column.form is None and column.type in ("string", "bool"):
            notes.append(f"left out: `{column.name}`, which is no number")
        elif is_index(column) or (whose is not None and _counts(column, rows_of)):
            notes.append(f"left out: `{column.name}`, which numbers the rows")
        else:
            kept.append(column)
    if not kept:
        raise DataError(f"{source}: no column of numbers, which windows are made of")
    named = next(
        (one for one in columns if one not in kept and one.type == "string" and _CALLED_VARIABLE.match(one.name)), None
    )
    if (
        named is not None
        and len(named.values) > 1
        and (len(kept) == 1 or any(_CALLED_VALUE.match(one.name) for one in kept))
    ):
        raise DataError(
            f"{source}: `{named.name}` says what the number of each row is: bring them into columns, as by "
            "pandas.DataFrame.pivot"
        )
    count, longest = len(kept[0].places), max(map(len, rows_of))
    if longest < size:
        each = "" if whose is None else f" in the longest series of `{whose.name}`"
        raise DataError(f"{source}: {longest:,} rows{each}; `size` asks for windows of {size:,}")
    values = np.stack([_numbers(column) for column in kept], axis=1)
    if not (np.abs(values[np.isfinite(values)]) <= np.finfo(np.float32).max).all():
        raise DataError(f"{source}: holds numbers that are no finite float32")
    starts = np.concatenate([rows[: len(rows) // size * size].reshape(-1, size) for rows in rows_of])
    whole = values[starts].transpose(0, 2, 1)
    rows = np.flatnonzero(np.isfinite(whole).all(axis=(1, 2)))
    samples = storage((len(rows), len(kept), size), np.float32, source)
    samples[:] = whole[rows]
    over = count - starts.size
    if whose is None and rows_of[0][0] > rows_of[0][-1]:
        notes.append("rows go back in time, and were turned round")
    if whose is None:
        ends = f"; the last {over:,} rows are left out" if over else ""
        apart = ""
    else:
        ends = f"; {over:,} rows at the ends of series are left out" if over else ""
        apart = f" within each of {len(rows_of):,} series, which `{whose.name}` tells apart"
    shown = ", ".join(f"`{one.name}`" for one in kept)
    notes.append(f"{count:,} rows as windows of {size:,}, one after the other{apart}, of {shown}{ends}")
    if len(rows) < len(whole):
        notes.append(f"left out: {len(whole) - len(rows):,} windows with missing numbers")
    return Dataset(name, samples, np.zeros(len(rows), np.int64), [], kind="array", notes=tuple(notes))


def _apart(columns: Sequence[Distinct], source: str) -> tuple[Distinct | None, list[NDArray[np.int64]]]:
    """The column that says of which series each row is, and the rows of each series, in their order; None, and all
    rows, where there is one series.

    Where times come again or go back, it is the one within each of whose values they go on; without times, one that is
    called so, or words each of which stands in one block of rows.

    Raises DataError naming `source`: times go back, and no column says why.
    """
    rows = np.arange(len(columns[0].places)) if columns else np.arange(0)
    likely = [
        column
        for column in columns
        if column.form is None
        and column.type in ("string", "int64")
        and not is_time(column)
        and None not in column.values
        and 2 <= len(column.values) <= len(rows) // 2
    ]
    likely.sort(key=lambda column: (_CALLED_SERIES.match(column.name) is None, column.type != "string"))
    times = [column for column in columns if is_time(column)]
    for time in times:
        when = _numbers(time)
        steps = np.diff(when[np.isfinite(when)])
        if (steps > 0).all():
            continue
        if (steps < 0).all() and len(times) == 1:
            return None, [rows[::-1]]
        often = int((steps <= 0).sum()) >= len(rows) // 4  # as where the rows of several series come in turn
        for column in likely:
            called = _CALLED_SERIES.match(column.name) or _in_blocks(column) or (often and column.type == "string")
            if called and all(_goes_on(when[own]) for own in _rows_of(column)):
                return column, _rows_of(column)
        if (steps < 0).any():
            raise DataError(
                f"{source}: rows are not in the order of `{time.name}`, as windows need them, and no column says that "
                "they are of several series"
            )
    for column in () if times else likely:
        names = _CALLED_SERIES if column.type == "string" or _in_blocks(column) else _CALLED_ID
        if names.match(column.name) or (column.type == "string" and _in_blocks(column)):
            return column, _rows_of(column)
    return None, [rows]


def _in_blocks(column: Distinct) -> bool:
    """Whether the rows of each value stand together."""
    return int((np.diff(column.places) != 0).sum()) == len(column.values) - 1


def _goes_on(when: NDArray[np.float64]) -> bool:
    return bool((np.diff(when[np.isfinite(when)]) > 0).all())


def _rows_of(column: Distinct) -> list[NDArray[np.int64]]:
    """The rows of each of a column's values, in their order."""
    by_value = np.argsort(column.places, kind="stable")
    return np.split(by_value, np.cumsum(np.bincount(column.places, minlength=len(column.values)))[:-1])


def _counts(column: Distinct, rows_of: Sequence[NDArray[np.int64]]) -> bool:
    """Whether a column of whole numbers goes up by one within each series."""
    if not column.type.startswith(("int", "uint")) or None in column.values:
        return False
    numbers = _numbers(column)
    return all((np.diff(numbers[rows]) == 1).all() for rows in rows_of)


def _numbers(column: Distinct) -> NDArray[np.float64]:
    """Those of all rows, NaN where one is missing."""
    values = np.array([np.nan if value is None else value for value in column.values], np.float64)
    numbers: NDArray[np.float64] = values[column.places]
    return numbers
