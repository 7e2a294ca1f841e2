"""Tables beside pictures or sounds, one of whose columns names them: their labels, and the numbers they are made for.

So it is in `metadata.csv` and `metadata.jsonl` of the hub's `imagefolder`, in the `labels.csv` of many competitions, in
CelebA's list of attributes, and in the `dataset.json` of StyleGAN's tools.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.service.errors import one_line
from latentserve.training.data import tables
from latentserve.training.data.conditions import FILE as CONDITIONS
from latentserve.training.data.conditions import MOST, Conditions
from latentserve.training.data.folders import LabelledFiles
from latentserve.training.data.reading import Reading
from latentserve.training.data.tables import Distinct
from latentserve.training.errors import DataError

STYLEGAN = "dataset.json"
LABELS = ("label", "labels", "class", "class_name", "classname", "category", "target", "y", "breed", "species", "kind")

_FILES = ("file_name", "filename", "file", "path", "image", "image_id", "img", "id", "name")
_ENOUGH = 0.5  # share of the files that a table must name, to be about them
_MOST_TABLES = 50
_CONDITION = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z")
_LARGEST, _LEAST_RANGE = 1e37, 1e-30


@dataclass(frozen=True)
class About:
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


def beside(found: LabelledFiles, what: str, reading: Reading) -> tuple[LabelledFiles, Conditions | None]:
    """The files with the labels and numbers that a table beside them has; as they are, where there is none.

    Raises DataError naming a table and what it says of files that are not there, or does not say of those that are.
    """
    listing = found.listing
    stylegan = next((file for file in listing.files if file.name == STYLEGAN), None)
    if stylegan is not None:
        return _of_stylegan(found, stylegan, reading)
    there = [
        file
        for file in listing.having(tables.SUFFIXES)
        if file.name != CONDITIONS and not (found.label_names and file.parent in {one.parent for one in found.files})
    ]
    best: tuple[float, PurePosixPath, tables.Read, int, list[int | None]] | None = None
    others, named_files = [], set(_FILES)
    for file in there[:_MOST_TABLES]:
        path = Path(listing.name(file))
        try:
            read = tables.read(path, replace(reading, types=(), drop=()), lambda file=file: listing.open(file))  # type: ignore[misc]
        except DataError:
            others.append(file)
            continue
        share, at, places = _naming(read, file, found)
        names_them = share >= _ENOUGH or (share > 0 and read.columns[at].name.lower() in named_files)
        if names_them and (best is None or share > best[0]):
            others += [] if best is None else [best[1]]
            best = (share, file, read, at, places)
            continue
        others.append(file)
    notes = [f"left out: {', '.join(str(file) for file in others[:3])}: says nothing of the {what}"] if others else []
    if best is None:
        if others and len(there) == 1 and not found.label_names and there[0].parent == found.folder:
            raise DataError(
                f"{listing.name(there[0])}: names none of the {what} beside it; name the file itself, or take it away"
            )
        if reading.label is not None:
            raise DataError(f"`label`: means nothing to a folder without a table that names its {what}")
        return replace(found, notes=(*found.notes, *notes)), None
    _, file, read, at, places = best
    source = listing.name(file)
    rows, kept = _rows(found, read, at, places, source, what, reading)
    if len(kept) < len(found.files):
        notes.append(f"left out: {len(found.files) - len(kept):,} {what} that {file} says nothing of")
    told = about([column for k, column in enumerate(read.columns) if k != at], source, reading)
    found = found.only(kept)
    if told.labels is not None:
        labels = told.labels[rows]
        if labels.min() < 0:
            raise DataError(f"{source}: no label for {found.files[int(labels.argmin())]}")
        known = np.unique(labels)
        if found.label_names:
            notes.append(f"labels are those of {file}, not the folders")
        elif len(known) < len(told.label_names):
            notes.append(f"{len(told.label_names) - len(known):,} labels of {file} are none of these {what}'")
        found = replace(found, labels=labels, label_names=told.label_names)
    conditions = None if told.conditions is None else told.conditions.take(rows)
    said = f"{file}: `{read.columns[at].name}` names the {what}"
    return replace(found, notes=(*found.notes, said, *told.notes, *notes)), conditions


def about(columns: Sequence[Distinct], source: str, reading: Reading) -> About:
    """What columns of one length say of samples. Raises DataError naming the column that `label` does not find."""
    names = [column.name for column in columns]
    label = reading.label
    if label is not None and label not in names:
        raise DataError(f"{source}: no column `{label}`, which `label` names; there are {', '.join(names)}")
    columns = [column for column in columns if column.name not in reading.drop]
    if label is None:
        label = next((column.name for known in LABELS for column in columns if column.name.lower() == known), None)
    if label is None:
        # One column of words that come again and again can only be the label.
        words = [
            column
            for column in columns
            if column.type in ("string", "bool") and column.form is None and _repeats(column)
        ]
        label = words[0].name if len(words) == 1 else None
    labels, label_names = None, list[str]()
    notes, numbers = [], list[Distinct]()
    for column in columns:
        if column.name == label:
            labels, label_names = _labels(column, source)
            notes.append(f"`{label}` is the label")
        elif column.type in ("string", "bool") and column.form is None:
            count = len(column.values)
            told = "texts that are different in every row" if column.all_different else f"{count:,} different texts"
            could = f"; --set label={column.name} makes it the label" if _repeats(column) else ""
            notes.append(f"left out: `{column.name}`, {told}, which pictures cannot be asked for by{could}")
        else:
            numbers.append(column)
    conditions = _conditions(numbers, notes)
    return About(labels, label_names, conditions, tuple(notes))


def _repeats(column: Distinct) -> bool:
    return 1 < len(column.values) <= min(tables.MOST_CATEGORIES, len(column.places) // 2)


def _labels(column: Distinct, source: str) -> tuple[NDArray[np.int64], list[str]]:
    present = sorted(value for value in column.values if value is not None)
    if len(present) > tables.MOST_CATEGORIES:
        raise DataError(f"{source}: `{column.name}` has {len(present):,} different values; too many to be classes")
    place = {value: at for at, value in enumerate(present)}
    labels = np.array([place.get(value, -1) for value in column.values], np.int64)
    return labels[column.places], [str(value) for value in present]


def _conditions(columns: Sequence[Distinct], notes: list[str]) -> Conditions | None:
    """Those of the columns that samples can be asked for by."""
    names: list[str] = []
    kept: list[NDArray[np.float32]] = []
    for column in columns:
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", column.name.strip()).strip("_")
        name = name if _CONDITION.match(name) else f"c_{name}"
        present = [value for value in column.values if value is not None]
        if tables.is_index(column):
            notes.append(f"left out: `{column.name}`, which numbers the rows")
        elif None in column.values:
            notes.append(f"left out: `{column.name}`, which some samples have no number for")
        elif not _CONDITION.match(name) or name in names:
            notes.append(f"left out: `{column.name}`, whose name clients could not say")
        elif max(map(abs, present)) > _LARGEST or (
            len(column.places) > 1 and max(present) - min(present) < _LEAST_RANGE
        ):
            notes.append(f"left out: `{column.name}`, which is {present[0]} in every row" if len(set(present)) == 1 else
                         f"left out: `{column.name}`, which is out of range")  # fmt: skip
        elif len(names) == MOST:
            notes.append(f"left out: `{column.name}`: {MOST} numbers can be asked for at most")
        else:
            names.append(name)
            kept.append(np.array(column.values, np.float64)[column.places].astype(np.float32))
    return Conditions(np.stack(kept, axis=1), names, [None] * len(names)) if names else None


def _naming(read: tables.Read, file: PurePosixPath, found: LabelledFiles) -> tuple[float, int, list[int | None]]:
    """Which share of the files a table names by its best column, which column that is, and for each of its values the
    file's place."""
    keys = _keys(found, file)
    best: tuple[float, int, list[int | None]] = (0.0, 0, [])
    for at, column in enumerate(read.columns):
        if column.type not in ("string", "int64"):
            continue
        places = [keys.get(str(value).strip().removeprefix("./")) for value in column.values]
        share = len({place for place in places if place is not None}) / len(found.files)
        if share > best[0]:
            best = (share, at, places)
    return best


def _keys(found: LabelledFiles, table: PurePosixPath) -> dict[str, int]:
    """What each file may be called: by its path from the table, from the split's folder or the source, by its name, and
    without its ending; what several are called is none's."""
    counts = Counter[str]()
    keys: dict[str, int] = {}
    for place, file in enumerate(found.files):
        said = {str(file), file.name, file.stem, str(file.with_suffix(""))}
        for folder in (table.parent, found.folder):
            if file.is_relative_to(folder):
                said |= {str(file.relative_to(folder)), str(file.relative_to(folder).with_suffix(""))}
        counts.update(said)
        keys |= dict.fromkeys(said, place)
    return {key: place for key, place in keys.items() if counts[key] == 1}


def _rows(
    found: LabelledFiles,
    read: tables.Read,
    at: int,
    places: Sequence[int | None],
    path: str,
    what: str,
    reading: Reading,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The table's row for each of the files that have one, and which files these are. Raises DataError."""
    column = read.columns[at]
    row_of = np.full(len(found.files), -1, np.int64)
    absent = []
    for row, place in enumerate(column.places.tolist()):
        file = places[place]
        if file is None:
            absent.append((row, column.values[place]))
        elif row_of[file] >= 0:
            raise DataError(f"{path}: row {row + 1}: {column.values[place]} has a row already, {row_of[file] + 1}")
        else:
            row_of[file] = row
    unsaid = np.flatnonzero(row_of < 0)
    # A table of all splits names the pictures of the others, too.
    elsewhere = {key for file in found.listing.files for key in (str(file), file.name, file.stem)}
    missing = [(row, value) for row, value in absent if PurePosixPath(str(value)).name not in elsewhere]
    if reading.broken == "refuse" and missing:
        row, value = missing[0]
        raise DataError(
            f"{path}: row {row + 1}: there is no `{value}`; {len(missing):,} of {len(column.places):,} rows name "
            f"{what} that are not there; --set broken=skip passes them over"
        )
    if reading.broken == "refuse" and len(unsaid):
        raise DataError(
            f"{path}: no row for {found.files[unsaid[0]]}, and for {len(unsaid):,} of {len(found.files):,} {what}; "
            "--set broken=skip passes them over"
        )
    kept = np.flatnonzero(row_of >= 0)
    return row_of[kept], kept


def _of_stylegan(
    found: LabelledFiles, file: PurePosixPath, reading: Reading
) -> tuple[LabelledFiles, Conditions | None]:
    """Labels as StyleGAN's `dataset_tool.py` writes them: `{"labels": [["00000/img00000000.png", 6], ...]}`, each a
    class or a list of numbers; or null. Folders are shards."""
    path = found.listing.name(file)
    try:
        with found.listing.open(file) as opened:
            said = json.load(opened)
        listed: Any = said["labels"] if isinstance(said, dict) else None
        labels = None if listed is None else {str(name): label for name, label in listed}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: not as StyleGAN's dataset_tool.py writes it: {one_line(error)}") from None
    plain = replace(found, labels=np.zeros(len(found.files), np.int64), label_names=[])
    if labels is None:
        return replace(plain, notes=(f"{file} has no labels, and folders are shards",)), None
    try:
        values = [labels[str(one.relative_to(file.parent))] for one in found.files]
    except KeyError as error:
        raise DataError(f"{path}: no label for {error.args[0]}") from None
    if all(type(value) is int for value in values):
        known = sorted(set(values))
        places = np.array([known.index(value) for value in values], np.int64)
        return replace(
            plain, labels=places, label_names=[str(value) for value in known], notes=(f"labels are those of {file}",)
        ), None
    try:
        vectors = np.array(values, np.float32)
    except (ValueError, TypeError):
        vectors = np.zeros(0, np.float32)
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise DataError(f"{path}: labels are neither whole numbers nor lists of as many numbers each")
    if ((vectors == 0) | (vectors == 1)).all() and (vectors.sum(axis=1) == 1).all():
        places = vectors.argmax(axis=1).astype(np.int64)
        names = [str(at) for at in range(vectors.shape[1])]
        return replace(plain, labels=places, label_names=names, notes=(f"labels are those of {file}",)), None
    notes: list[str] = [f"numbers are those of {file}"]
    varied = np.flatnonzero(np.ptp(vectors, axis=0) >= _LEAST_RANGE)[:MOST]
    if len(varied) < vectors.shape[1]:
        notes.append(f"left out: {vectors.shape[1] - len(varied)} numbers that are the same of all, or beyond {MOST}")
    conditions = (
        Conditions(vectors[:, varied], [f"c{at}" for at in varied], [None] * len(varied)) if len(varied) else None
    )
    return replace(plain, notes=tuple(notes)), conditions
