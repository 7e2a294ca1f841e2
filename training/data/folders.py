"""Files in folders: a folder of samples, or of one folder a class, alone or under `train` and `test`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latentserve.training.data.dataset import Split
from latentserve.training.errors import DataError

_SPLITS = {"train": ("train",), "test": ("test", "val", "valid", "validation")}


@dataclass(frozen=True)
class LabelledFiles:
    """Files of a folder in a fixed order, and their labels int64 [N]; zeros where `label_names` is empty."""

    folder: Path
    files: list[Path]
    labels: NDArray[np.int64]
    label_names: list[str]


def find(folder: Path, suffixes: tuple[str, ...], what: str, split: Split | None) -> LabelledFiles:
    """The files of a folder that have one of the suffixes, and of its class folders, whatever lies in them how deep.

    Classes are in the order of their numbers where all have one, else of the alphabet. Raises DataError naming a folder
    that holds no `what`, or does not say which is whose.
    """
    folder = part(folder, split)
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
        loose = [entry for entry in entries if entry.is_file() and entry.suffix.lower() in suffixes]
        classes = [entry for entry in entries if entry.is_dir()]
        inside = [
            sorted(file for file in of.rglob("*") if file.suffix.lower() in suffixes and file.is_file())
            for of in classes
        ]
    except OSError as error:
        raise DataError(f"{error.filename or folder}: cannot be read: {error.strerror}") from None
    if not loose and not any(inside):
        raise DataError(f"{folder}: no {what} in it ({', '.join(suffixes)})")
    if not any(inside):
        return LabelledFiles(folder, loose, np.zeros(len(loose), np.int64), [])
    if loose:
        raise DataError(f"{loose[0]}: lies beside class folders such as {classes[0].name}; which class is it of?")
    empty = next((of for of, files in zip(classes, inside, strict=True) if not files), None)
    if empty is not None:
        raise DataError(f"{empty}: no {what} in this class's folder")
    order = sorted(range(len(classes)), key=lambda at: _number_or_name([of.name for of in classes], at))
    counts = [len(inside[at]) for at in order]
    files = [file for at in order for file in inside[at]]
    return LabelledFiles(folder, files, np.repeat(np.arange(len(order)), counts), [classes[at].name for at in order])


def part(folder: Path, split: Split | None) -> Path:
    """The folder of a split, where the data set comes in two; the folder itself, where it does not and none is asked
    for. Raises DataError."""
    if split is None:
        return folder
    folder_of_split = next((folder / name for name in _SPLITS[split] if (folder / name).is_dir()), None)
    if folder_of_split is None:
        raise DataError(f"{folder}: no folder {' or '.join(_SPLITS[split])} in it")
    return folder_of_split


def comes_in_two(folder: Path) -> bool:
    """Whether a folder is that of a data set with a held-out part: `train` and `test` (or `val`) and nothing else."""
    names = {entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
    return "train" in names and len(names) > 1 and names <= {name for known in _SPLITS.values() for name in known}


def _number_or_name(names: list[str], at: int) -> tuple[int, str]:
    numbered = all(name.isascii() and name.isdecimal() for name in names)
    return (int(names[at]) if numbered else 0, names[at])
