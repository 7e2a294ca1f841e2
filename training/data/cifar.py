"""CIFAR-10 and CIFAR-100 in their binary version (cs.toronto.edu/~kriz/cifar.html): a record is one byte of a label, of
CIFAR-100 two, the coarse and the fine one, and 3,072 bytes of a picture, 3x32x32."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from latentserve.training.data.dataset import Dataset, Split
from latentserve.training.data.listing import Listing
from latentserve.training.errors import DataError, NoHeldOutError

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_CLASSES = {1: 10, 2: 100}  # by the bytes before a picture
_TRAIN = tuple(f"data_batch_{at}.bin" for at in range(1, 6))
# The names of the files of a part, the bytes before each picture, and the file of the labels' names.
_VERSIONS: tuple[tuple[dict[Split, tuple[str, ...]], int, str], ...] = (
    ({"train": _TRAIN, "test": ("test_batch.bin",)}, 1, "batches.meta.txt"),
    ({"train": ("train.bin",), "test": ("test.bin",)}, 2, "fine_label_names.txt"),
)


def files(listing: Listing, split: Split) -> tuple[list[PurePosixPath], int, list[PurePosixPath]]:
    """The files of a part, the bytes before each picture, and the file of names; no files where there are none."""
    for names, before, called in _VERSIONS:
        train = [file for file in listing.files if file.name in names["train"]]
        labels = [file for file in listing.files if file.name == called]
        sizes = [(listing.source / file).stat().st_size for file in train]
        if train and all(size and size % (before + _PIXELS) == 0 for size in sizes):
            return [file for file in listing.files if file.name in names[split]], before, labels
    return [], 0, []


def load(name: str, listing: Listing, split: Split) -> Dataset:
    """The pictures of a part, uint8 [N, 3, 32, 32], with their fine labels. Raises DataError naming a file."""
    found, before, called = files(listing, split)
    if not found:
        raise NoHeldOutError(f"{listing.source}: no file of held-out pictures in it")
    records = np.concatenate([_records(listing.source / file, before + _PIXELS) for file in found])
    labels = records[:, before - 1].astype(np.int64)
    names = _names([listing.source / file for file in called], _CLASSES[before])
    if labels.max() >= len(names):
        raise DataError(f"{listing.source / found[0]}: label {labels.max()}; expected 0 to {len(names) - 1}")
    return Dataset(
        name,
        records[:, before:].reshape(-1, *_SHAPE),
        labels,
        names,
        stored_range=(0.0, 255.0),
        notes=(f"{', '.join(file.name for file in found)} of CIFAR-{_CLASSES[before]}",),
    )


def _records(path: Path, size: int) -> np.ndarray:
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if not len(content) or len(content) % size:
        raise DataError(f"{path}: {len(content):,} bytes; records have {size:,}")
    return content.reshape(-1, size)


def _names(called: Sequence[Path], count: int) -> list[str]:
    """The names of the labels; their numbers, where no file has them."""
    for path in called:
        names = [line.strip() for line in path.read_text("utf-8", "replace").splitlines() if line.strip()]
        if len(names) == count:
            return names
    return [str(label) for label in range(count)]
