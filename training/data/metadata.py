"""Tables beside pictures or sounds, one of whose columns names them: their labels, and the numbers they are made for.

So it is in `metadata.csv` and `metadata.jsonl` of the hub's `imagefolder`, in the `labels.csv` of many competitions, in
CelebA's list of attributes, and in the `dataset.json` of StyleGAN's tools.
"""

import re
from dataclasses import replace
from functools import reduce
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from latentserve.training.data import lists, partitions, stylegan, table_files
from latentserve.training.data.attributes import attributes
from latentserve.training.data.columns import Read, from_texts
from latentserve.training.data.conditions import FILE as CONDITIONS
from latentserve.training.data.conditions import Conditions, beside_files
from latentserve.training.data.dataset import Split
from latentserve.training.data.folders import LabelledFiles, find
from latentserve.training.data.listing import STYLEGAN, Listing, kinds
from latentserve.training.data.names import HELD_OUT, split_of
from latentserve.training.data.naming import Naming, Table, plainly, split_of_list
from latentserve.training.data.reading import Reading
from latentserve.training.data.split_columns import first_said
from latentserve.training.errors import DataError, NoHeldOutError

_FORM = re.compile(r"sub?mission", re.IGNORECASE)
_OF_TOOLS = ("package.json", "dataset_info.json", "state.json", "dataset_dict.json", "dataset-metadata.json")
_COCO = re.compile(rb'\s*\{\s*"(?:info|licenses|images|annotations|categories|type)"\s*:\s*[\[{]')
_GARBLED = re.compile(r"[\u0370-\u03ff\u2200-\u23ff\u2500-\u25ff\u00ab\u00bb]")  # what cp437 has and hardly a name
_HEAD = 4096  # bytes that say so
_MOST_TABLES = 50
_TOLD = 3  # tables in a line


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
    of_stylegan = next((file for file in listing.files if file.name == STYLEGAN), None)
    if of_stylegan is not None:
        return *stylegan.labels_of(found, of_stylegan), None
    if reading.label is None and not listing.having((*table_files.BESIDE, *lists.SUFFIXES)):
        return found, None, None
    naming = Naming(found)
    read, forms, unread = _tables(found, naming, reading)
    about_them = [one for one in read if one.is_about_files]
    others = [*unread, *(one.file for one in read if one not in about_them and one.of_tables)]
    of_splits = [*(one for one in about_them if one.is_partition), *partitions.by_number(found, naming)]
    if not any(map(split_of, found.folder.parts)):
        about_them, joined = _joined(about_them)
        of_splits += joined
    named = reading.label
    candidates = sorted(
        (one for one in about_them if one not in of_splits),
        key=lambda one: (named not in [column.name for column in one.others()], -one.share, -one.rank),
    )
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
    splits, said = partitions.splits(found, of_splits, candidates[0] if candidates else None)
    notes += said
    if not candidates:
        alone = others and len(others) == len(read) + len(unread) and len(others) == 1
        if alone and not found.label_names and others[0].parent == found.folder:
            raise DataError(
                f"{listing.name(others[0])}: names none of the {what} beside it; name the file itself, or take it away"
            )
        if reading.label is not None and not of_splits:
            raise DataError(f"`label`: means nothing to a folder without a table that names its {what}")
        used = tuple(one.file for one in of_splits) if splits is not None else ()
        return replace(found, notes=(*found.notes, *notes), used=used), None, splits
    best, *rest = candidates
    if rest:
        shown = ", ".join(str(one.file) for one in rest[:_TOLD])
        notes.append(f"left out: {shown}, which name the {what}, too; --set label=COLUMN takes the one that has it")
    source, file = listing.name(best.file), best.file
    rows, kept, said = _rows(found, best, source, what, reading, splits)
    notes += said
    if len(kept) < len(found.files):
        notes.append(f"left out: {len(found.files) - len(kept):,} {what} that {file} says nothing of")
    columns = [column for k, column in enumerate(best.read.columns) if k != best.column]
    if splits is None and (of_rows := first_said(columns, file.stem)) is not None:
        column, words = of_rows
        splits = np.full(len(found.files), "", "<U9")
        splits[kept] = words[rows]
        columns = [one for one in columns if one is not column]
        notes.append(f"`{column.name}` of {file} says the splits")
    told = attributes(columns, source, reading, bool(found.label_names))
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
        used=(file, *(one.file for one in (*rest, *of_splits))),
    )
    return found, conditions, splits


def left_out(found: LabelledFiles, suffixes: tuple[str, ...], what: str) -> list[str]:
    """What to say of the files that are no samples, tables or words to people: those that tell of one sample each, by
    their names, of many, as COCO has it, and the rest."""
    listing, known = found.listing, (*suffixes, *table_files.BESIDE)
    stems = {file.stem for file in listing.having(suffixes)}
    of_one, of_coco, rest = list[PurePosixPath](), list[PurePosixPath](), list[PurePosixPath]()
    for file in listing.files:
        if file.name.lower().endswith(known) or file.name == STYLEGAN or file in found.used or is_readme(file.name):
            continue
        (of_one if file.stem in stems else of_coco if _is_of_coco(listing, file) else rest).append(file)
    notes = [f"left out: {kinds(of_one)}, of one of the {what} each, as boxes and captions are"] if of_one else []
    if garbled := next((name for name in map(str, listing.entries) if _GARBLED.search(name)), None):
        notes.append(
            f"names such as `{garbled}` are of an encoding that {listing.source.name} does not tell: unpack it first"
        )
    notes += [f"left out: {', '.join(map(str, of_coco[:_TOLD]))}: boxes and captions as COCO has them"] * bool(of_coco)
    if rest:
        advised = listing.instead(rest)
        notes.append(f"left out: {kinds(rest)}" + (f" ({advised})" if advised else ""))
    return notes


def _is_of_coco(listing: Listing, file: PurePosixPath) -> bool:
    if file.suffix.lower() != ".json":
        return False
    try:
        with listing.open(file) as opened:
            return _COCO.match(opened.read(_HEAD)) is not None
    except OSError:
        return False


def _tables(
    found: LabelledFiles, naming: Naming, reading: Reading
) -> tuple[list[Table], list[PurePosixPath], list[PurePosixPath]]:
    """Tables and lists that may be about the files, forms for answers, and tables that cannot be read."""
    listing = found.listing
    there = [
        file
        for file in (*listing.having(table_files.BESIDE), *listing.having(lists.SUFFIXES))
        if file.name != CONDITIONS
        and not partitions.of_another_split(file, found)
        and not is_readme(file.name)
        # One picture's own boxes, or caption.
        and not (file.name.lower().endswith(lists.SUFFIXES) and (file.stem in naming.stems or file.name in _OF_TOOLS))
    ]
    read, forms, unread = [], [], []
    plain = replace(reading, types=(), drop=())
    there.sort(key=lambda file: split_of_list(file) is None)  # which are needed, however many others there are
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
            one = Table.of(content, file, naming)
            read.append(Table.of(_with_first_row(one, naming), file, naming) if _has_no_names(one, naming) else one)
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


def is_readme(name: str) -> bool:
    """Whether it tells of the data set, to people."""
    return bool(
        re.match(r"(?:readme|licen[cs]e|citation|requirements|changelog|notice|authors)\b", name, re.IGNORECASE)
    )


def _has_no_names(table: Table, naming: Naming) -> bool:
    """Whether the first line, which was taken for the names of columns, names a file that no other line does."""
    columns = table.read.columns
    if any(naming.is_file(column.name) for column in columns):
        return True
    name = columns[table.column].name
    return table.share > 0 and naming.names(name) and naming.place(name, bare=True) not in table.places


def _with_first_row(table: Table, naming: Naming) -> Read:
    """The columns of a table whose first line is a row."""
    read, columns = table.read, []
    of_files = next((at for at, column in enumerate(read.columns) if naming.is_file(column.name)), table.column)
    for at, column in enumerate(read.columns):
        values = ["" if value is None else str(value) for value in column.values]
        places = np.concatenate([[len(values)], column.places])
        label = len(read.columns) == 2 and lists.comes_again(len(values), len(column.places))
        name = lists.FILE if at == of_files else lists.LABEL if label else f"column_{at + 1}"
        first: dict[str, int] = {}
        onto = np.array([first.setdefault(value, len(first)) for value in [*values, column.name]], np.int64)
        columns.append(from_texts(name, list(first), onto[places]))
    return Read(columns, read.notes)


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
