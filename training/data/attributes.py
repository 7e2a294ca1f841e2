"""What the columns of a table say of samples: their label, and the numbers that they are made for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latentserve.training.data import tables
from latentserve.training.data.columns import Distinct
from latentserve.training.data.conditions import LARGEST, LEAST_RANGE, MOST, NAME, Conditions
from latentserve.training.data.naming import LABELS
from latentserve.training.data.reading import Reading
from latentserve.training.data.shards import alike_but_for_case
from latentserve.training.errors import DataError

_BOX = re.compile(
    r"(?:(?:bbox|box|roi)[-_ .]?\w*|[xy][-_ ]?(?:min|max|[012]|cent(?:er|re)|c)|(?:min|max)[-_ ]?[xy]|width|height|w|h"
    r"|left|top|right|bottom)\Z",
    re.IGNORECASE,
)
_IDENTITY = re.compile(r"(?:^|[-_ ]|(?<=[a-z]))(?:ids?|Ids?|ID)\Z|(?i:(?:k?folds?|cv[-_ ]?fold|src[-_ ]?file)\Z)")
_CORNERS = 4  # columns that say where a box is


@dataclass(frozen=True)
class Attributes:
    """What columns say of samples.

    Attributes:
        labels: int64 [N], -1 where a sample has none; None: no column labels them.
        label_names: one a class.
        conditions: the numbers of the other columns; None: there are none.
        notes: what was left out.
    """

    labels: NDArray[np.int64] | None
    label_names: list[str]
    conditions: Conditions | None
    notes: tuple[str, ...]


def attributes(columns: Sequence[Distinct], source: str, reading: Reading, labelled: bool = False) -> Attributes:
    """What columns of one length say of samples; `labelled` ones only take a label from a column that is called so.
    Raises DataError naming the column that `label` does not find."""
    names = [column.name for column in columns]
    label = reading.label
    if label is not None and label not in names:
        raise DataError(f"{source}: no column `{label}`, which `label` names; there are {', '.join(names)}")
    columns = [column for column in columns if column.name not in reading.drop]
    if label is None:
        called = [column for known in LABELS for column in columns if column.name.lower() == known]
        label = next((column.name for column in called if not _is_measured(column)), None)
    if label is None and not labelled:
        # One column of words that come again and again can only be the label.
        words = [
            column
            for column in columns
            if column.type in ("string", "bool") and column.form is None and _repeats(column)
        ]
        label = words[0].name if len(words) == 1 else None
    labels, label_names = None, list[str]()
    notes, numbers = [], list[Distinct]()
    boxes = {column.name for column in columns if _BOX.match(column.name)}
    labelling = next((column for column in columns if column.name == label), None)
    for column in columns:
        if column is labelling:
            labels, label_names = _labels(column, source)
            notes.append(f"`{label}` is the label")
            if alike := alike_but_for_case(label_names):
                notes.append(f"labels that differ in case alone are kept apart: {alike}")
    for column in columns:
        if column is labelling:
            continue
        if labelling is not None and _says_the_same(column, labelling):
            if column.type == "string" and labelling.type != "string":
                name_of = _names_of(labelling, column)
                label_names = [name_of[name] for name in label_names]
                notes.append(f"`{column.name}` names the labels")
            else:
                notes.append(f"left out: `{column.name}`, which says the same as `{label}`")
        elif column.type in ("string", "bool") and column.form is None:
            count = len(column.values)
            told = "texts that are different in every row" if column.all_different else f"{count:,} different texts"
            could = f"; --set label={column.name} makes it the label" if _repeats(column) else ""
            notes.append(f"left out: `{column.name}`, {told}, which no sample can be asked for by{could}")
        elif len(boxes) >= _CORNERS and column.name in boxes:
            pass
        elif _IDENTITY.search(column.name) and column.type == "int64":
            notes.append(f"left out: `{column.name}`, which numbers something, and measures nothing")
        else:
            numbers.append(column)
    if len(boxes) >= _CORNERS:
        notes.append(f"left out: {', '.join(f'`{name}`' for name in sorted(boxes))}, which say where something is")
    conditions = _conditions(numbers, notes)
    return Attributes(labels, label_names, conditions, tuple(notes))


def _is_measured(column: Distinct) -> bool:
    """Whether a column holds numbers with decimals, which are no classes."""
    values = [value for value in column.values if value is not None]
    return column.type.startswith("float") and any(value != int(value) for value in values)


def _says_the_same(column: Distinct, other: Distinct) -> bool:
    """Whether each value of one goes with one value of the other, and there are several."""
    pairs = {*zip(column.places.tolist(), other.places.tolist(), strict=True)}
    return len(pairs) == len(set(column.places.tolist())) == len(set(other.places.tolist())) > 1 and _repeats(other)


def _names_of(labels: Distinct, words: Distinct) -> dict[str, str]:
    """The word that goes with each label."""
    pairs = {*zip(labels.places.tolist(), words.places.tolist(), strict=True)}
    return {str(labels.values[label]): str(words.values[word]) for label, word in pairs}


def _repeats(column: Distinct) -> bool:
    return 1 < len(column.values) <= min(tables.MOST_CATEGORIES, len(column.places) // 2)


def _labels(column: Distinct, source: str) -> tuple[NDArray[np.int64], list[str]]:
    whole = column.type.startswith("float") and not _is_measured(column)
    values = [int(value) if whole and value is not None else value for value in column.values]
    present = sorted(value for value in values if value is not None)
    if len(present) > tables.MOST_CATEGORIES:
        raise DataError(
            f"{source}: `{column.name}` has {len(present):,} different values; too many to be classes; --set "
            "label=COLUMN takes another"
        )
    place = {value: at for at, value in enumerate(present)}
    labels = np.array([place.get(value, -1) for value in values], np.int64)
    return labels[column.places], [str(value) for value in present]


def _conditions(columns: Sequence[Distinct], notes: list[str]) -> Conditions | None:
    """Those of the columns that samples can be asked for by."""
    names: list[str] = []
    kept: list[NDArray[np.float32]] = []
    for column in columns:
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", column.name.strip()).strip("_")
        name = name if NAME.match(name) else f"c_{name}"
        present = [value for value in column.values if value is not None]
        if tables.is_index(column):
            notes.append(f"left out: `{column.name}`, which numbers the rows")
        elif None in column.values:
            notes.append(f"left out: `{column.name}`, which some samples have no number for")
        elif not NAME.match(name) or name in names:
            notes.append(f"left out: `{column.name}`, whose name clients could not say")
        elif max(map(abs, present)) > LARGEST or (len(column.places) > 1 and max(present) - min(present) < LEAST_RANGE):
            notes.append(f"left out: `{column.name}`, which is {present[0]} in every row" if len(set(present)) == 1 else
                         f"left out: `{column.name}`, which is out of range")  # fmt: skip
        elif len(names) == MOST:
            notes.append(f"left out: `{column.name}`: {MOST} numbers can be asked for at most")
        else:
            names.append(name)
            kept.append(np.array(column.values, np.float64)[column.places].astype(np.float32))
    return Conditions(np.stack(kept, axis=1), names, [None] * len(names)) if names else None
