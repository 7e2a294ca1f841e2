"""Data sets: samples of one kind, read once and named by their content.

What is in memory: of IDX, `.npz` and tables everything, as bytes or single floats; of `.npy` files what is looked at;
of pictures and WAV files everything up to a GiB, and beyond it what is looked at.
"""

from dataclasses import replace
from pathlib import Path

from latentserve.training.data import arrays, hub, idx, pictures, sounds, tables
from latentserve.training.data.conditions import FILE as CONDITIONS
from latentserve.training.data.conditions import beside_rows
from latentserve.training.data.dataset import Dataset, Description, Split
from latentserve.training.data.folders import comes_in_two, part
from latentserve.training.errors import DataError
from latentserve.training.recipe.choices import DATASETS, resolve

__all__ = ["AT_HAND", "Dataset", "Description", "Split", "load"]

AT_HAND = tuple(name for name, choice in DATASETS.items() if choice.path is None)  # wherever the training extra is


def load(
    name: str,
    path: Path | None,
    split: Split = "train",
    *,
    size: int | None = None,
    label: str | None = None,
    conditions: bool = True,
) -> Dataset:
    """Load a split of a data set by its name.

    Args:
        name: `digits`, `ring`, `grid`, `waves` and `blobs` need no path, `mnist` and `stacked-mnist` are a folder of
            IDX files, `files` is whatever lies at the path: a folder of pictures, of WAV files, or of one folder a
            class; IDX files; `.npy`, `.npz`, `.csv`, `.csv.gz`, `.parquet` or `.wav`; a folder of one of these with
            a `conditions.csv`; or `hf:NAME`, a data set of the package `datasets`.
        path: Where it is.
        split: `test` is the held-out part, of data sets that have one.
        size: Side in pixels that pictures are brought to, or frames that audio is cut into.
        label: A table's column of labels.
        conditions: Whether samples keep the numbers that they are made for, where there are any.

    Raises:
        DataError: Names the file, folder, column or option that is missing, superfluous, or not what it should be.
    """
    choice = DATASETS[name]
    if choice.path is None and path is not None:
        raise DataError(f"--data: `{name}` {choice.origin} and takes no folder")
    if choice.path is not None and path is None:
        raise DataError(f"--data: `{name}` needs a {choice.path}")
    loader = resolve(choice.loader, "data")
    if name != "files":
        _refuse(name, size=size, label=label)
    dataset: Dataset
    if path is None:
        dataset = loader(split)
    else:
        dataset = loader(path, split, size, label) if name == "files" else loader(path, split)
    return dataset if conditions else dataset.without_conditions()


def files(path: Path, split: Split, size: int | None, label: str | None) -> Dataset:
    """Whatever lies at a path, as `load` says."""
    dataset = hub.load(path, split, size, label) if hub.is_name(path) else _load_path(path, split, size, label)
    if len(dataset) < 2:
        raise DataError(f"{path}: one sample; there is nothing to learn from less than two")
    return dataset


def _load_path(path: Path, split: Split, size: int | None, label: str | None) -> Dataset:
    suffix = ".csv.gz" if path.name.lower().endswith(".csv.gz") else path.suffix.lower()
    stem = path.resolve().name.partition(".")[0]
    try:
        if path.is_dir():
            return _load_folder(path, stem, split, size, label)
        if not path.is_file():
            raise DataError(f"{path}: no such file or folder")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if suffix in arrays.SUFFIXES:
        _refuse(f"a {suffix} file", size=size, label=label)
        return arrays.load(stem, path, split)
    if split == "test":
        raise DataError(f"{path}: one file, which has no held-out part")
    if suffix in sounds.SUFFIXES:
        _refuse("a WAV file", label=label)
        return sounds.load(stem, path, None, size)
    if suffix in tables.CSV or suffix in tables.PARQUET:
        _refuse("a table", size=size)
        return tables.load(stem, path, label)
    known = [*arrays.SUFFIXES, *tables.CSV, *tables.PARQUET, *sounds.SUFFIXES]
    raise DataError(f"{path}: the suffix must be one of {', '.join(known)}, or the path a folder's")


def _load_folder(path: Path, stem: str, split: Split, size: int | None, label: str | None) -> Dataset:
    if idx.is_idx(path):
        _refuse("a folder of IDX files", size=size, label=label)
        if (path / CONDITIONS).exists():
            raise DataError(f"{path / CONDITIONS}: not of IDX files; put them into an .npy file beside it")
        return idx.load(stem, path, split, None)
    in_two = comes_in_two(path)
    if in_two and (path / CONDITIONS).exists():
        raise DataError(f"{path / CONDITIONS}: of which samples? Each of the folders beside it has its own")
    here = part(path, split) if in_two else path
    table_files = [file for file in _having(here, tables.SUFFIXES) if file.name != CONDITIONS]
    if table_files:
        return _load_only(table_files, "tables", in_two, split, size, label)
    _refuse("a folder", label=label)
    of_part = split if in_two or split == "test" else None
    if any(file.suffix.lower() in sounds.SUFFIXES for file in path.rglob("*")):
        return sounds.load(stem, path, of_part, size)
    array_files = _having(here, arrays.SUFFIXES)
    if array_files and not any(file.suffix.lower() in pictures.SUFFIXES for file in path.rglob("*")):
        return _load_only(array_files, "arrays", in_two, split, size, label)
    return pictures.load(stem, path, of_part, size)


def _having(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    return [file for file in sorted(folder.iterdir()) if file.name.lower().endswith(suffixes)]


def _load_only(
    files: list[Path], what: str, in_two: bool, split: Split, size: int | None, label: str | None
) -> Dataset:
    """The one file of samples in a folder, with the conditions beside it; `in_two`: the folder is that of a split."""
    folder = files[0].parent
    if len(files) > 1:
        raise DataError(f"{folder}: {len(files)} {what} in it; name one of them")
    if split == "test" and not in_two and (folder / CONDITIONS).exists():
        raise DataError(f"{folder / CONDITIONS}: of the training part; a held-out one needs a folder of its own")
    dataset = _load_path(files[0], "train" if in_two else split, size, label)
    return replace(dataset, conditions=beside_rows(folder, len(dataset), files[0].name))


def _refuse(what: str, **given: object) -> None:
    """Say which option means nothing here."""
    for option, value in given.items():
        if value is not None:
            raise DataError(f"`{option}`: means nothing to {what}")
