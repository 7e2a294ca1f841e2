"""Tables whose rows are pictures: a column for each pixel, as Kaggle has MNIST, or a text of them all, as FER2013."""

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from math import isqrt
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentserve.training.data import table_files
from latentserve.training.data.attributes import attributes
from latentserve.training.data.columns import Distinct, Read
from latentserve.training.data.dataset import Dataset, Split
from latentserve.training.data.lines import opened
from latentserve.training.data.names import HELD_OUT
from latentserve.training.data.naming import LABELS
from latentserve.training.data.pictures import STORED_RANGE
from latentserve.training.data.reading import Reading
from latentserve.training.data.split_columns import first_said
from latentserve.training.data.tables import MOST_CATEGORIES
from latentserve.training.errors import DataError, NoHeldOutError

_LEAST_SIDE, _LEAST_UNNAMED = 8, 16  # pixels; of columns that are not called pixels
_BRIGHT = 128  # what some pixels are at the least; what has fewer levels is no picture
_LEVELS = 255
_PIXEL = re.compile(r"(?:pixel|px|pix)s?[-_ ]?\d+(?:[-_x ]\d+)*\Z|\d+x\d+\Z", re.IGNORECASE)
_UNNAMED = re.compile(r"(?:column_)?\d+\Z")
_PEEK = 1 << 19  # bytes of a table that say what it is


class Pixels(NamedTuple):
    """Where a table's pictures are.

    Attributes:
        columns: of pixels, in order; one, where it holds texts of them.
        others: the other columns.
        side: of the pictures.
        channels: 1 or 3.
    """

    columns: list[Distinct]
    others: list[Distinct]
    side: int
    channels: int


def find(read: Read) -> Pixels | None:
    """The pictures of a table; None where its rows are none."""
    for pattern, least in ((_PIXEL, _LEAST_SIDE), (_UNNAMED, _LEAST_UNNAMED)):
        columns = [column for column in read.columns if pattern.match(column.name)]
        others = [column for column in read.columns if not pattern.match(column.name)]
        if pattern is _UNNAMED and not others and _size(len(columns), least) is None:
            # The label is the first column of those without names, or the last one.
            first = len(columns[0].values) <= len(columns[-1].values) if columns else True
            others, columns = (columns[:1], columns[1:]) if first else (columns[-1:], columns[:-1])
            others = [replace(column, name="label") for column in others]
        size = _size(len(columns), least)
        if size is not None and all(map(_holds_bytes, columns)) and _is_bright(columns):
            return Pixels(columns, others, *size)
    for column in read.columns:
        if column.type == "string" and None not in column.values and " " in str(column.values[0]):
            count = len(str(column.values[0]).split())
            size = _size(count, _LEAST_UNNAMED)
            if size is not None and all(str(value).count(" ") == count - 1 for value in column.values):
                return Pixels([column], [other for other in read.columns if other is not column], *size)
    return None


def peek(path: Path) -> Pixels | None:
    """The pictures of a CSV file by its first rows; None where they are none."""
    if not path.name.lower().endswith(table_files.CSV):
        return None
    try:
        with opened(path, None) as file:
            head = file.read(_PEEK)
        head = head if len(head) < _PEEK else head[: head.rfind(b"\n") + 1]
        return find(table_files.read(path.with_suffix(".csv"), Reading(), lambda: io.BytesIO(head)))
    except (OSError, EOFError, DataError):
        return None


def pictures(name: str, source: str, read: Read, found: Pixels, split: Split, reading: Reading) -> Dataset:
    """The pictures as uint8 [N, C, H, W], with the labels and numbers of the other columns; where one of these says
    splits, those of `split`.

    Raises DataError naming `source` and the column.
    """
    reading.refuse(f"pictures of {found.side}x{found.side} pixels in a table (--set size=null)", "size")
    reading.refuse("pictures in a table", "folders", "broken", "background")
    samples = _samples(found, source)
    rows = np.arange(len(samples))
    others, notes = found.others, list(read.notes)
    said = first_said(others, PurePosixPath(source).stem)
    if said is not None:
        column, words = said
        held = next((each for each in HELD_OUT if each in words), None)
        rows = np.flatnonzero(words == ("train" if split == "train" else held))
        others = [other for other in others if other is not column]
        notes.append(f"`{column.name}` says the splits")
    elif split == "test":
        raise NoHeldOutError(f"{source}: one file, which has no held-out part")
    known = reading if reading.label else replace(reading, label=_label(others))
    told = attributes(others, source, known)
    labels = np.zeros(len(samples), np.int64) if told.labels is None else told.labels
    if labels.min() < 0:
        raise DataError(f"{source}: row {int(labels.argmin()) + 1} has no label")
    many = "[H, W, 3]" if found.channels == 3 else "grey"
    pixels = f"`{found.columns[0].name}`" if len(found.columns) == 1 else f"{len(found.columns):,} columns"
    return Dataset(
        name,
        samples[rows],
        labels[rows],
        told.label_names,
        stored_range=STORED_RANGE,
        conditions=None if told.conditions is None else told.conditions.take(rows),
        notes=(f"{pixels} are pixels of pictures, {found.side}x{found.side}, {many}", *notes, *told.notes),
    )


def _size(count: int, least: int) -> tuple[int, int] | None:
    """The side and the channels of pictures of so many values."""
    for channels in (1, 3):
        side = isqrt(count // channels)
        if side * side * channels == count and side >= least:
            return side, channels
    return None


def _holds_bytes(column: Distinct) -> bool:
    return all(isinstance(value, int) and 0 <= value <= _LEVELS for value in column.values)


def _is_bright(columns: Sequence[Distinct]) -> bool:
    return max(max(column.values) for column in columns) >= _BRIGHT


def _samples(found: Pixels, source: str) -> NDArray[np.uint8]:
    count = len(found.columns[0].places)
    flat = np.empty((count, found.side * found.side * found.channels), np.uint8)
    if len(found.columns) == 1:
        (column,) = found.columns
        try:
            parsed = [np.array(str(value).split(), np.int64) for value in column.values]
        except ValueError:
            raise DataError(f"{source}: column `{column.name}` holds texts that are no pixels") from None
        if any(one.min() < 0 or one.max() > _LEVELS for one in parsed):
            raise DataError(f"{source}: column `{column.name}` holds pixels beyond 0 to 255")
        flat[:] = np.stack(parsed).astype(np.uint8)[column.places]
    else:
        for at, column in enumerate(found.columns):
            flat[:, at] = np.array(column.values, np.uint8)[column.places]
    shaped = flat.reshape(count, found.side, found.side, found.channels)
    return np.ascontiguousarray(np.moveaxis(shaped, -1, 1))


def _label(columns: Sequence[Distinct]) -> str | None:
    """The column that can only be the label: one that is called so, or the only one that holds few whole numbers."""
    if any(column.name.lower() in LABELS for column in columns):
        return None
    few = [
        column
        for column in columns
        if column.type == "int64" and 1 < len(column.values) <= min(MOST_CATEGORIES, len(column.places) // 2)
    ]
    return few[0].name if len(few) == 1 == len(columns) else None
