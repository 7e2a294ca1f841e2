"""Tables whose rows follow one another in time, as windows of so many rows: arrays [columns, size]."""

import numpy as np

from latentserve.training.data.columns import Distinct, Read
from latentserve.training.data.dataset import Dataset, storage
from latentserve.training.data.reading import Reading
from latentserve.training.data.tables import is_index
from latentserve.training.errors import DataError


def windows(name: str, source: str, read: Read, reading: Reading) -> Dataset:
    """Windows of `reading.size` rows, one after the other, of the columns that are numbers; those with a gap are left
    out, and so are columns of times, which must not go back.

    Raises DataError naming `source`, and the column.
    """
    size = reading.size
    assert size is not None  # noqa: S101, whoever calls has asked
    reading.refuse("windows of a table", "label", "types", "folders", "broken", "background")
    names = [column.name for column in read.columns]
    for one in reading.drop:
        if one not in names:
            raise DataError(f"{source}: no column `{one}`, which `drop` names; there are {', '.join(names)}")
    notes = list(read.notes)
    kept: list[Distinct] = []
    for column in read.columns:
        if column.name in reading.drop:
            notes.append(f"left out: `{column.name}`, as told")
        elif column.form is not None and column.form.time is not None:
            when = _numbers(column)
            if (np.diff(when[np.isfinite(when)]) < 0).any():
                raise DataError(f"{source}: rows are not in the order of `{column.name}`, as windows need them")
            notes.append(f"left out: `{column.name}`, which says when each row was")
        elif column.form is None and column.type in ("string", "bool"):
            notes.append(f"left out: `{column.name}`, which is no number")
        elif is_index(column):
            notes.append(f"left out: `{column.name}`, which numbers the rows")
        else:
            kept.append(column)
    if not kept:
        raise DataError(f"{source}: no column of numbers, which windows are made of")
    count = len(kept[0].places)
    if count < size:
        raise DataError(f"{source}: {count:,} rows; `size` asks for windows of {size:,}")
    values = np.stack([_numbers(column) for column in kept], axis=1)
    if not (np.abs(values[np.isfinite(values)]) <= np.finfo(np.float32).max).all():
        raise DataError(f"{source}: holds numbers that are no finite float32")
    whole = values[: count // size * size].reshape(-1, size, len(kept)).transpose(0, 2, 1)
    rows = np.flatnonzero(np.isfinite(whole).all(axis=(1, 2)))
    samples = storage((len(rows), len(kept), size), np.float32, source)
    samples[:] = whole[rows]
    told = (
        f"{count:,} rows as windows of {size:,}, one after the other, of {', '.join(f'`{one.name}`' for one in kept)}"
    )
    notes.append(told + (f"; the last {count % size:,} rows are left out" if count % size else ""))
    if len(rows) < len(whole):
        notes.append(f"left out: {len(whole) - len(rows):,} windows with missing numbers")
    return Dataset(name, samples, np.zeros(len(rows), np.int64), [], kind="array", notes=tuple(notes))


def _numbers(column: Distinct) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Those of all rows, NaN where one is missing."""
    values = np.array([np.nan if value is None else value for value in column.values], np.float64)
    numbers: np.ndarray[tuple[int], np.dtype[np.float64]] = values[column.places]
    return numbers
