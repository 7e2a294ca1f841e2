"""Data sets: labelled images, read whole into memory and named by their content."""

from pathlib import Path
from typing import Literal

from training.data import digits, idx
from training.data.dataset import Dataset, Description
from training.errors import DataError

__all__ = ["Dataset", "Description", "load"]


def load(name: str, folder: Path | None, split: Literal["train", "test"] = "train") -> Dataset:
    """Load the split of a data set by its name: `digits` needs no folder, `mnist` is a folder of IDX files.

    Raises DataError when a folder is missing, superfluous or unreadable.
    """
    if name == "digits":
        if folder is not None:
            raise DataError("--data: `digits` ships with scikit-learn and takes no folder")
        return digits.load(split)
    if folder is None:
        raise DataError(f"--data: `{name}` needs a folder of IDX files")
    return idx.load(name, folder, split)
