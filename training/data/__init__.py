"""Data sets: samples of one kind, read once and named by their content.

What is in memory: of IDX, `.npz` and tables everything, as bytes or single floats; of `.npy` files what is looked at;
of pictures and recordings everything up to 256 MiB, and beyond it what is looked at, as of all that is kept from one
start to the next (`latentserve.training.data.cache`).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Unpack

from latentserve.service.bundle import Column
from latentserve.training.data import (
    arrays,
    cifar,
    encoded,
    hub,
    idx,
    metadata,
    pictures,
    pixels,
    series,
    sounds,
    table_files,
    tables,
)
from latentserve.training.data.columns import Read
from latentserve.training.data.conditions import FILE as CONDITIONS
from latentserve.training.data.conditions import beside_rows
from latentserve.training.data.dataset import Dataset, Description, Split
from latentserve.training.data.folders import absence
from latentserve.training.data.holding_out import alike, split_off
from latentserve.training.data.lines import PACKED, Open
from latentserve.training.data.listing import ZIP, Listing, kinds
from latentserve.training.data.names import HELD_OUT, split_of
from latentserve.training.data.reading import Options, Reading
from latentserve.training.data.split_columns import by_split
from latentserve.training.data.summary import summary
from latentserve.training.errors import DataError, NoHeldOutError
from latentserve.training.recipe.choices import DATASETS, resolve

__all__ = ["AT_HAND", "Dataset", "Description", "Options", "Split", "alike", "load", "summary"]

AT_HAND = tuple(name for name, choice in DATASETS.items() if choice.path is None)  # wherever the training extra is

_OF_FILES = ("size", "label", "folders", "broken", "background", "drop", "types")


def load(name: str, path: Path | None, split: Split = "train", **options: Unpack[Options]) -> Dataset:
    """Load a split of a data set by its name.

    Args:
        name: `digits`, `ring`, `grid`, `waves` and `blobs` need no path, `mnist` and `stacked-mnist` are a folder of
            IDX files, `files` is whatever lies at the path: a folder or a ZIP archive of pictures or of recordings, or
            of one folder a class; IDX files; `.npy`, `.npz`, a table (CSV, lines of JSON, Parquet), Parquet with
            pictures, a recording; a folder of one of these with a `conditions.csv`; or `hf:NAME`, a data set of the
            package `datasets`.
        path: Where it is.
        split: `test` is the held-out part, of data sets that have one.
        options: How files are read, as `Reading` has it.

    Raises:
        DataError: Names the file, folder, column or option that is missing, superfluous, or not what it should be.
    """
    reading = Reading(**options)
    choice = DATASETS[name]
    if choice.path is None and path is not None:
        raise DataError(f"--data: `{name}` {choice.origin} and takes no folder")
    if choice.path is not None and path is None:
        raise DataError(f"--data: `{name}` needs a {choice.path}")
    loader = resolve(choice.loader, "data")
    if name != "files":
        reading.refuse(name, *_OF_FILES)

    def part(split: Split) -> Dataset:
        if path is None:
            loaded: Dataset = loader(split)
        else:
            loaded = loader(path, split, reading) if name == "files" else loader(path, split)
        return loaded

    dataset = split_off(part, split, reading.hold_out) if reading.hold_out else part(split)
    return dataset if reading.conditions else dataset.without_conditions()


def files(path: Path, split: Split, reading: Reading) -> Dataset:
    """Whatever lies at a path, as `load` says."""
    dataset = hub.load(path, split, reading) if hub.is_name(path) else _load_path(path, split, reading)
    if len(dataset) < 2 and split == "train":
        raise DataError(f"{path}: one sample; there is nothing to learn from less than two")
    return dataset


def _load_path(path: Path, split: Split, reading: Reading) -> Dataset:
    name = path.name.lower()
    stem = path.resolve().name.partition(".")[0]
    try:
        if path.is_dir():
            return _load_folder(path, stem, split, reading)
        if not path.is_file():
            raise DataError(f"{path}: no such file or folder")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if name.endswith(arrays.SUFFIXES):
        reading.refuse(f"a {path.suffix.lower()} file", *_OF_FILES)
        return arrays.load(stem, path, split)
    if name.endswith(ZIP):
        listing = Listing.of(path)
        if listing.having(sounds.SUFFIXES) and not listing.having(pictures.SUFFIXES):
            return sounds.load(stem, path, split, reading)
        if (found := table_files.among(listing)) and not listing.having(pictures.SUFFIXES):
            return _load_only(listing, found, "tables", stem, split, reading)
        reading.refuse("an archive of pictures", "types")
        return pictures.load(stem, path, split, reading)
    if idx.find([PurePosixPath(path.name)]):
        reading.refuse("IDX files", *_OF_FILES)
        (of,) = idx.find([PurePosixPath(path.name)])
        beside = Listing(path.parent, tuple(PurePosixPath(each.name) for each in sorted(path.parent.iterdir())))
        together = idx.find(beside.files)[of].values()
        return idx.load_found(of or stem, replace(beside, files=tuple(together)), split)
    of_pictures = name.endswith(encoded.SUFFIXES) and encoded.picture_column(path) is not None
    if name.endswith((*table_files.SUFFIXES, *table_files.TEXTS)) and not of_pictures:
        return _parted(stem, str(path), table_files.read_all([path], reading, lambda _: None, path), reading, split)
    if split == "test":
        raise NoHeldOutError(f"{path}: one file, which has no held-out part")
    if name.endswith(sounds.SUFFIXES):
        return sounds.load(stem, path, split, reading)
    if of_pictures:
        return encoded.load(stem, [path], reading)
    if name.endswith(pictures.SUFFIXES):
        raise DataError(f"{path}: one picture; name the folder that it lies in with others")
    told = Listing(path.parent, (PurePosixPath(path.name),)).instead()
    if told is not None:
        raise DataError(f"{path.parent / told}")
    unpacked = [one for one in (*table_files.SUFFIXES, *table_files.TEXTS) if not one.endswith(PACKED)]
    known = [*arrays.SUFFIXES, *unpacked, *sounds.SUFFIXES, *ZIP]
    raise DataError(f"{path}: the suffix must be one of {', '.join(known)}, or the path a folder's")


def _load_folder(path: Path, stem: str, split: Split, reading: Reading) -> Dataset:
    listing = Listing.of(path)
    if idx.find(listing.files):
        reading.refuse("a folder of IDX files", *_OF_FILES)
        if (path / CONDITIONS).exists():
            raise DataError(f"{path / CONDITIONS}: not of IDX files; put them into an .npy file beside it")
        return idx.load_found(stem, listing, split)
    if cifar.files(listing, "train")[0]:
        reading.refuse("CIFAR's files", *_OF_FILES)
        return cifar.load(stem, listing, split)
    of_pictures, of_sounds = listing.having(pictures.SUFFIXES), listing.having(sounds.SUFFIXES)
    if len(of_sounds) > len(of_pictures):
        return sounds.load(stem, path, split, reading)
    if of_pictures:
        return pictures.load(stem, path, split, reading)
    of_tables = table_files.among(listing)
    if of_tables:
        return _load_only(listing, of_tables, "tables", stem, split, reading)
    array_files = listing.having(arrays.SUFFIXES)
    parts = arrays.together(array_files)
    if parts and not (listing.source / array_files[0].parent / CONDITIONS).exists():
        reading.refuse("a folder of .npy files", *_OF_FILES)
        folder = listing.source / array_files[0].parent
        return arrays.load_folder(stem, folder, {name: listing.source / file for name, file in parts.items()}, split)
    if array_files:
        return _load_only(listing, array_files, "arrays", stem, split, reading)
    raise DataError(f"{path}: no pictures, recordings, tables or arrays in it{absence(listing)}")


def _load_only(
    listing: Listing, found: list[PurePosixPath], what: str, stem: str, split: Split, reading: Reading
) -> Dataset:
    """The one file of samples in a folder, or in that of a split, or the files of a split by their names, with the
    conditions beside it."""
    parts: dict[str, list[PurePosixPath]] = {}
    for file in found:
        known = [split_of(folder) for folder in file.parts[:-1]] + [split_of_file(file.name)]
        parts.setdefault(next((each for each in known if each), "train" if len(found) == 1 else ""), []).append(file)
    folders = {PurePosixPath(*(part for part in file.parts[:-1] if "=" not in part)) for file in found}
    if list(parts) == [""] and what == "tables" and len(folders) == 1:
        parts = {"train": found}  # one data set in several files
    if "train" not in parts and list(parts) != [""]:
        alone = next(iter(parts))
        raise DataError(
            f"{listing.source}: only `{parts[alone][0]}` in it, which is what is held out; to train on it, name it"
        )
    if "train" not in parts:
        raise DataError(f"{listing.source}: {len(found)} {what} in it; {_advice(what)}")
    held = next((name for name in HELD_OUT if name in parts), None)
    train = parts["train"]
    paths = [listing.source / file for file in train]
    several = len(paths) > 1 and what == "tables"
    named = [[part for part in file.parts[:-1] if not (split_of(part) or "=" in part)] for file in train]
    roots = {PurePosixPath(*inner) for inner in named}
    if several and len(roots) > 1:
        listed = ", ".join(f"`{root}`" for root in sorted(roots))
        raise DataError(f"{listing.source}: {listed} have a training part each; name the one that is meant")
    if len(paths) > 1 and not several:
        raise DataError(f"{paths[0].parent}: {len(paths)} {what} in it; {_advice(what)}")
    if split == "test" and held is None:
        if (paths[0].parent / CONDITIONS).exists() and what == "arrays":
            raise NoHeldOutError(
                f"{paths[0].parent / CONDITIONS}: of the training part; a held-out one needs a folder of its own"
            )
        if what == "arrays" or pixels.peek(paths[0]):
            return _load_path(paths[0], split, reading)
    if what == "tables":
        dataset = _of_tables(listing, parts, held, paths, stem, split, reading)
    else:
        used = paths[0] if split == "train" else listing.source / parts[held or ""][0]
        dataset = replace(_load_path(used, "train", reading), name=paths[0].resolve().name.partition(".")[0])
    folder = (paths[0] if split == "train" else listing.source / parts[held or ""][0]).parent
    if any(known and (folder.parent / CONDITIONS).is_file() for known in [split_of(folder.name)]):
        raise DataError(f"{folder.parent / CONDITIONS}: of which samples? Each of the folders beside it has its own")
    left = sum(len(files) for name, files in parts.items() if name not in ("train", held))
    notes = [f"left out: {left:,} {what}, which are of no split"] if left else []
    others = [file for file in listing.files if file not in found and not metadata.is_readme(file.name)]
    others = [file for file in others if file.name != CONDITIONS]
    notes += [f"left out: {kinds(others)}"] if others else []
    beside = beside_rows(folder, len(dataset), paths[0].name)
    return replace(dataset, conditions=beside or dataset.conditions, notes=(*dataset.notes, *notes))


def _advice(what: str) -> str:
    """What to do about several of which each may be a sample."""
    if what == "tables":
        return "name one of them, or join them into one, with a column for what their folders say"
    return "name one of them, or join them by numpy.savez, as samples and labels"


def _of_tables(
    listing: Listing,
    parts: dict[str, list[PurePosixPath]],
    held: str | None,
    paths: list[Path],
    stem: str,
    split: Split,
    reading: Reading,
) -> Dataset:
    """The tables of a split, one after the other; a held-out one is read as the other's columns."""
    of_pictures = paths[0].name.lower().endswith(encoded.SUFFIXES) and listing.archive is None
    if of_pictures and encoded.picture_column(paths[0]) is not None:
        if split == "test" and held is None:
            raise NoHeldOutError(f"{listing.source}: no held-out part")
        used = paths if split == "train" else [listing.source / file for file in parts[held or ""]]
        return encoded.load(stem, used, reading)

    def opened_as(path: Path) -> Open | None:
        inner = PurePosixPath(path.relative_to(listing.source))
        return None if listing.archive is None else lambda: listing.open(inner)

    name = paths[0].resolve().name.partition(".")[0] if len(paths) == 1 else stem
    read = table_files.read_all(paths, reading, opened_as, listing.source)
    if held is None:
        return _parted(name, str(paths[0]), read, reading, split)
    train = _table(name, str(paths[0]), read, reading)
    if split == "train":
        return train
    others = [listing.source / file for file in parts[held]]
    unseen = table_files.read_all(others, reading, opened_as, listing.source)
    return _table(name, str(others[0]), unseen, reading, train.columns)


def _parted(name: str, source: str, read: Read, reading: Reading, split: Split) -> Dataset:
    """The part of a table, which a column of it may say, or of the pictures that its rows are."""
    if pixels.find(read) is not None:
        return _table(name, source, read, reading, split=split)
    parts = by_split(read) if reading.size is None else {"train": read}
    held = next((part for part in HELD_OUT if part in parts), None)
    if split == "test" and held is None:
        raise NoHeldOutError(f"{source}: no held-out part in it")
    train = _table(name, source, parts["train"], reading)
    return train if split == "train" else _table(name, source, parts[held or ""], reading, train.columns)


def _table(
    name: str,
    source: str,
    read: Read,
    reading: Reading,
    like: Sequence[Column] | None = None,
    split: Split = "train",
) -> Dataset:
    """A table's rows, the pictures that these are, or windows of them where `size` says of how many."""
    if (shown := pixels.find(read)) is not None:
        return pixels.pictures(name, source, read, shown, split, reading)
    if reading.size is not None:
        return series.windows(name, source, read, reading)
    reading.refuse("a table", "folders", "broken", "background")
    return tables.table(name, source, read, reading, like)


def split_of_file(name: str) -> str | None:
    """The split that a file's name says: `train-00000-of-00002.parquet`, `people_test.csv`."""
    words = [word for word in name.lower().partition(".")[0].replace("_", "-").split("-") if word]
    return next((known for word in words if (known := split_of(word))), None)
