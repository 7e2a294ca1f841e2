"""Tables beside pictures or sounds, one of whose columns names them: their labels, and the numbers they are made for.

So it is in `metadata.csv` and `metadata.jsonl` of the hub's `imagefolder`, in the `labels.csv` of many competitions, in
CelebA's list of attributes, and in the `dataset.json` of StyleGAN's tools.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from latentserve.service.errors import one_line
from latentserve.training.data import lists, table_files, tables
from latentserve.training.data.columns import Distinct, Read, from_texts
from latentserve.training.data.conditions import FILE as CONDITIONS
from latentserve.training.data.conditions import MOST, Conditions, beside_files
from latentserve.training.data.dataset import Split
from latentserve.training.data.folders import LabelledFiles, find
from latentserve.training.data.listing import STYLEGAN, Listing
from latentserve.training.data.names import HELD_OUT, split_of
from latentserve.training.data.naming import LABELS, Naming, Table, plainly, says_splits, split_of_list, split_words
from latentserve.training.data.reading import Reading
from latentserve.training.data.shards import listed
from latentserve.training.errors import DataError, NoHeldOutError

_FORM = re.compile(r"sub?mission", re.IGNORECASE)
_OF_TOOLS = ("package.json", "dataset_info.json", "state.json", "dataset_dict.json", "dataset-metadata.json")
_BOX = re.compile(
    r"(?:(?:bbox|box|roi)[-_ .]?\w*|[xy][-_ ]?(?:min|max|[012]|cent(?:er|re)|c)|(?:min|max)[-_ ]?[xy]|width|height|w|h"
    r"|left|top|right|bottom)\Z",
    re.IGNORECASE,
)
_IDENTITY = re.compile(r"(?:^|[-_ ]|(?<=[a-z]))(?:ids?|Ids?|ID)\Z")
_CORNERS = 4  # columns that say where a box is
_ENOUGH_LISTED = 0.9  # and that lists of splits must
_MOST_TABLES = 50
_TOLD = 3  # tables in a line
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


def labelled(
    listing: Listing, suffixes: tuple[str, ...], what: str, split: Split, reading: Reading
) -> tuple[LabelledFiles, Conditions | None]:
    """The files of a split that have one of the suffixes, with the labels and numbers that folders and tables say.

    Raises DataError as `find` and `beside` do.
    """
    if any(file.name == STYLEGAN for file in listing.files):
        reading = reading.plain_folders()
    whole = False
    try:
        found = find(listing, suffixes, what, split, reading)
    except NoHeldOutError:  # which a table may say
        found, whole = find(listing, suffixes, what, "train", reading), True
    numbers = beside_files(listing, found.folder, found.files, what)
    if numbers is not None:
        reading.refuse("a folder with conditions.csv", "label")
        splits = None
    else:
        found, numbers, splits = beside(found, what, reading)
    held = None if splits is None else next((each for each in HELD_OUT if each in splits), None)
    if whole and held is None:
        raise NoHeldOutError(f"{listing.source}: no folder test or val in it")
    if splits is None or (split == "test" and not whole) or "train" not in splits:
        return found, numbers
    rows = np.flatnonzero(splits == ("train" if split == "train" else held))
    left = int((~np.isin(splits, ["train", held or ""])).sum())
    found = found.only(rows)
    if left:
        found = replace(found, notes=(*found.notes, f"left out: {left:,} {what} of other splits"))
    return found, None if numbers is None else numbers.take(rows)


def beside(
    found: LabelledFiles, what: str, reading: Reading
) -> tuple[LabelledFiles, Conditions | None, NDArray[np.str_] | None]:
    """The files with the labels and numbers that a table beside them has, as they are where there is none; and the
    split of each, where tables or lists say one.

    Raises DataError naming a table and what it says of files that are not there, or does not say of those that are.
    """
    listing = found.listing
    stylegan = next((file for file in listing.files if file.name == STYLEGAN), None)
    if stylegan is not None:
        return *_of_stylegan(found, stylegan, reading), None
    if reading.label is None and not listing.having((*table_files.BESIDE, *lists.SUFFIXES)):
        return found, None, None
    naming = Naming(found)
    read, forms, unread = _tables(found, naming, reading)
    about_them = [one for one in read if one.is_about_files]
    others = [*unread, *(one.file for one in read if one not in about_them and one.of_tables)]
    partitions = [*(one for one in about_them if one.is_partition), *_by_number(found, naming)]
    if not any(map(split_of, found.folder.parts)):
        about_them, of_splits = _joined(about_them)
        partitions += of_splits
    candidates = sorted((one for one in about_them if one not in partitions), key=lambda one: (-one.share, -one.rank))
    if found.label_names:  # a list of the files in class folders has nothing to add
        inside = {each.parent for each in found.files}
        candidates = [one for one in candidates if one.file.parent not in inside]
        candidates = [one for one in candidates if one.of_tables]
    notes = []
    several = [one for one in candidates if one.repeats and reading.label is None]
    if several:
        candidates = [one for one in candidates if one not in several]
        tables_of_several = ", ".join(str(one.file) for one in several[:_TOLD])
        notes.append(f"left out: {tables_of_several}: several rows for one of the {what}, as boxes and captions have")
    if others:
        notes.append(f"left out: {', '.join(map(str, others[:_TOLD]))}: says nothing of the {what}")
    if forms:
        notes.append(f"left out: {', '.join(map(str, forms[:_TOLD]))}: a form for answers")
    splits, said = _splits(found, partitions, candidates[0] if candidates else None)
    notes += said
    if not candidates:
        alone = others and len(others) == len(read) + len(unread) and len(others) == 1
        if alone and not found.label_names and others[0].parent == found.folder:
            raise DataError(
                f"{listing.name(others[0])}: names none of the {what} beside it; name the file itself, or take it away"
            )
        if reading.label is not None and not partitions:
            raise DataError(f"`label`: means nothing to a folder without a table that names its {what}")
        used = tuple(one.file for one in partitions) if splits is not None else ()
        return replace(found, notes=(*found.notes, *notes), used=used), None, splits
    best, *rest = candidates
    if rest:
        notes.append(f"left out: {', '.join(str(one.file) for one in rest[:_TOLD])}, which name the {what}, too")
    source, file = listing.name(best.file), best.file
    rows, kept, said = _rows(found, best, source, what, reading, splits)
    notes += said
    if len(kept) < len(found.files):
        notes.append(f"left out: {len(found.files) - len(kept):,} {what} that {file} says nothing of")
    columns = [column for k, column in enumerate(best.read.columns) if k != best.column]
    if splits is None and (column := next((one for one in columns if says_splits(one, file)), None)) is not None:
        splits = np.full(len(found.files), "", "<U9")
        splits[kept] = split_words(column)[column.places][rows]
        columns = [one for one in columns if one is not column]
        notes.append(f"`{column.name}` of {file} says the splits")
    told = about(columns, source, reading, bool(found.label_names))
    splits = None if splits is None else splits[kept]
    found = found.only(kept)
    if told.labels is not None:
        labels = told.labels[rows]
        if labels.min() < 0:
            without = found.files[int(labels.argmin())]
            raise DataError(f"{source}: no label for {without}; write one, or take its row and the file away")
        known = np.unique(labels)
        if found.label_names:
            notes.append(f"labels are those of {file}, not the folders")
        elif len(known) < len(told.label_names):
            notes.append(f"{len(told.label_names) - len(known):,} labels of {file} are none of these {what}'")
        found = replace(found, labels=labels, label_names=told.label_names)
    conditions = None if told.conditions is None else told.conditions.take(rows)
    said_first = f"{file}: `{best.read.columns[best.column].name}` names the {what}"
    found = replace(
        found,
        notes=(*found.notes, said_first, *best.read.notes, *told.notes, *notes),
        used=(file, *(one.file for one in partitions)),
    )
    return found, conditions, splits


def _tables(
    found: LabelledFiles, naming: Naming, reading: Reading
) -> tuple[list[Table], list[PurePosixPath], list[PurePosixPath]]:
    """Tables and lists that may be about the files, forms for answers, and tables that cannot be read."""
    listing = found.listing
    there = [
        file
        for file in (*listing.having(table_files.BESIDE), *listing.having(lists.SUFFIXES))
        if file.name != CONDITIONS
        and not _of_another_split(file, found)
        and not _is_readme(file.name)
        # One picture's own boxes, or caption.
        and not (file.name.lower().endswith(lists.SUFFIXES) and (file.stem in naming.stems or file.name in _OF_TOOLS))
    ]
    read, forms, unread = [], [], []
    plain = replace(reading, types=(), drop=())
    for file in there[:_MOST_TABLES]:
        if _FORM.search(file.name):
            forms.append(file)
            continue
        path = Path(listing.name(file))

        def opened(file: PurePosixPath = file) -> IO[bytes]:
            return listing.open(file)

        of_tables = file.name.lower().endswith(table_files.BESIDE)
        try:
            content = table_files.read(path, plain, opened) if of_tables else lists.read(path, opened, naming.names)
        except DataError:
            unread.append(file)
            continue
        if content is not None:
            read.append(Table.of(_with_first_row(content, naming), file, naming))
    return read, forms, unread


def _joined(read: list[Table]) -> tuple[list[Table], list[Table]]:
    """Tables of a folder with the same columns, each of them of a split by its name, as one; and what they were."""
    groups: dict[Any, list[Table]] = {}
    for one in read:
        if one.split is not None and one.others():
            key = (one.file.parent, one.file.suffix, one.column, *(column.name for column in one.read.columns))
            groups.setdefault(key, []).append(one)
    parts = [of for of in groups.values() if len({one.split for one in of}) > 1]
    left = [one for one in read if not any(one in of for of in parts)]
    return [*left, *(reduce(Table.followed_by, sorted(of, key=lambda one: one.split != "train")) for of in parts)], [
        one for of in parts for one in of
    ]


def _by_number(found: LabelledFiles, naming: Naming) -> list[Table]:
    """The split of files as Caltech's birds have it: `images.txt` numbers them, `train_test_split.txt` says of each
    number whether it is learnt."""
    said = {file.name: file for file in found.listing.files if file.name in ("images.txt", "train_test_split.txt")}
    if len(said) < 2:
        return []
    rows: list[list[list[str]]] = []
    for name in ("images.txt", "train_test_split.txt"):
        with found.listing.open(said[name]) as file:
            rows.append([line.split() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()])
    try:
        learnt = {number: int(flag) for number, flag in rows[1]}
        lines = [f"{name} {'train' if learnt[number] else 'test'}" for number, name in rows[0]]
    except (ValueError, KeyError):
        return []
    read = lists.of_text("\n".join(lines), naming.names)
    return [] if read is None else [Table.of(read, said["train_test_split.txt"], naming)]


def _of_another_split(file: PurePosixPath, found: LabelledFiles) -> bool:
    """Whether a table is of a split that the files are not of, by its own name or the folder that it lies in."""
    own = next(filter(None, map(split_of, found.folder.parts)), None)
    if own is not None and split_of_list(file) not in (None, own):
        return True
    apart = [PurePosixPath(*file.parts[: at + 1]) for at, part in enumerate(file.parts[:-1]) if split_of(part)]
    return any(map(split_of, found.folder.parts)) and any(not found.folder.is_relative_to(folder) for folder in apart)


def _is_readme(name: str) -> bool:
    return bool(
        re.match(r"(?:readme|licen[cs]e|citation|requirements|changelog|notice|authors)\b", name, re.IGNORECASE)
    )


def _with_first_row(read: Read, naming: Naming) -> Read:
    """A table whose first line was taken for the names of columns, and names a file."""
    if not any(naming.is_file(column.name) for column in read.columns):
        return read
    columns = []
    for at, column in enumerate(read.columns):
        values = ["" if value is None else str(value) for value in column.values]
        places = np.concatenate([[len(values)], column.places])
        name = (
            lists.FILE if naming.is_file(column.name) else lists.LABEL if len(read.columns) == 2 else f"column_{at + 1}"
        )
        first: dict[str, int] = {}
        onto = np.array([first.setdefault(value, len(first)) for value in [*values, column.name]], np.int64)
        columns.append(from_texts(name, list(first), onto[places]))
    return Read(columns, read.notes)


def _splits(
    found: LabelledFiles, lists_of: Sequence[Table], labels: Table | None
) -> tuple[NDArray[np.str_] | None, list[str]]:
    """The split of each file as lists say it, and what is to be told; what several say, is held out. Where lists say
    what is held out alone, all is learnt that has `labels`."""
    if not lists_of or any(map(split_of, found.folder.parts)):
        return None, []
    splits = np.full(len(found.files), "", "<U9")
    order = ("train", *reversed(HELD_OUT))  # the later goes before
    said: list[tuple[str, Table, NDArray[np.int64]]] = []
    for one in lists_of:
        files = one.files()
        if one.split is not None:
            said.append((one.split, one, files[files >= 0]))
            continue
        column = next(each for each in one.others() if says_splits(each, one.file))
        words = split_words(column)[column.places]
        said += [(split, one, files[(words == split) & (files >= 0)]) for split in order]
    if labels is not None and not any(of == "train" for of, _, _ in said):
        files = labels.files()
        splits[files[files >= 0]] = "train"
    for split in order:
        for of, _, files in said:
            if of == split:
                splits[files] = split
    names = listed(dict.fromkeys(str(one.file) for _, one, files in said if len(files)))
    missing = int((splits == "").sum())
    if missing > (1 - _ENOUGH_LISTED) * len(splits) or "train" not in splits:
        return None, [f"left out: {names}, which say the split of {len(splits) - missing:,} of {len(splits):,} alone"]
    return splits, [f"splits are those of {names}", *([f"left out: {missing:,} of no split"] if missing else [])]


def about(columns: Sequence[Distinct], source: str, reading: Reading, labelled: bool = False) -> About:
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
            folded = Counter(name.strip().casefold() for name in label_names)
            if twice := [name for name in label_names if folded[name.strip().casefold()] > 1]:
                notes.append(f"labels that differ in case alone are kept apart: {listed(twice)}")
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
    return About(labels, label_names, conditions, tuple(notes))


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
        raise DataError(f"{source}: `{column.name}` has {len(present):,} different values; too many to be classes")
    place = {value: at for at, value in enumerate(present)}
    labels = np.array([place.get(value, -1) for value in values], np.int64)
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


def _rows(
    found: LabelledFiles, table: Table, path: str, what: str, reading: Reading, splits: NDArray[np.str_] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[str]]:
    """The table's row for each of the files that have one, which files these are, and what is to be told. Raises
    DataError."""
    column, files = table.read.columns[table.column], table.files()
    row_of = np.full(len(found.files), -1, np.int64)
    again = 0
    for row, file in enumerate(files.tolist()):
        if file < 0:
            continue
        if row_of[file] >= 0:
            other = next((each for each in table.others() if each.places[row] != each.places[row_of[file]]), None)
            if other is not None:
                raise DataError(
                    f"{path}: row {row + 1}: {column.values[column.places[row]]} has a row already, {row_of[file] + 1} "
                    f"(with another `{other.name}`), as tables of boxes have; leave one for each, or take the file away"
                )
            again += 1
        row_of[file] = row
    unsaid = np.flatnonzero((row_of < 0) & (True if splits is None else splits == "train"))
    # A table of all splits names the pictures of the others, too.
    elsewhere = {key for file in found.listing.files for key in (file.name.casefold(), file.stem.casefold())}
    absent = [(row, column.values[column.places[row]]) for row in np.flatnonzero(files < 0).tolist()]
    missing = [(row, value) for row, value in absent if PurePosixPath(plainly(value)).name not in elsewhere]
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
    return row_of[kept], kept, [f"{again:,} rows of {table.file} are there twice"] if again else []


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
