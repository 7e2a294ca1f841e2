"""IDX, the format MNIST is published in, gzipped or not (yann.lecun.com/exdb/mnist, "FILE FORMATS").

A file is two zero bytes, a type code, the number of dimensions, each dimension as a big-endian uint32, then the
values in C order. Only unsigned bytes (code 0x08) are read: every published image and label file is made of them.
"""

import gzip
import re
import zlib
from collections.abc import Iterable
from dataclasses import replace
from math import prod
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from latentserve.training.data.dataset import Dataset, Split
from latentserve.training.data.listing import Listing
from latentserve.training.data.names import split_within
from latentserve.training.errors import DataError, NoHeldOutError

_NAME = re.compile(r"(?P<of>.*?)[-_.]?(?P<what>images|labels)[-_.]idx[13][-_.]ubyte(?:\.gz)?\Z", re.IGNORECASE)


def read(path: Path) -> NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes into a uint8 array. Raises DataError naming the file."""
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:  # gzip.BadGzipFile is an OSError
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) < 4 or content[:2] != b"\0\0":
        raise DataError(f"{path}: not an IDX file")
    code, dimensions = content[2], content[3]
    if code != 0x08:
        raise DataError(f"{path}: IDX type 0x{code:02x}; only unsigned bytes (0x08) are read")
    header = 4 + 4 * dimensions
    if dimensions == 0 or len(content) < header:
        raise DataError(f"{path}: truncated IDX header")
    shape = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, header, 4))
    expected, actual = prod(shape), len(content) - header
    if actual != expected:
        raise DataError(
            f"{path}: {'truncated' if actual < expected else 'too long'}: {actual} values, {expected} promised"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def load(name: str, folder: Path, split: Split, classes: int | None) -> Dataset:
    """Load `train-*` or `t10k-*` of a folder laid out like MNIST; images [N, 1, H, W].

    The labels are all numbers below `classes`, each of which the training part must have; None: whichever numbers the
    training part has. Raises DataError.
    """
    images, labels = _paths(folder, split)
    return _dataset(name, images, labels, _paths(folder, "train")[1], split, classes)


def load_found(name: str, listing: Listing, split: Split) -> Dataset:
    """Load the one data set of IDX files in a folder, however deep, with whichever labels its training part has.

    Raises DataError naming a file that is not there, or the data sets of which one is meant.
    """
    sets = find(listing.files)
    if len(sets) > 1:
        raise DataError(f"{listing.source}: {', '.join(sorted(sets))}: name the file of images that is meant")
    ((of, files),) = sets.items()
    paths = {}
    for part in ("train", split):
        for what in ("images", "labels"):
            found = files.get((part, what))
            if found is None and part == "test":
                raise NoHeldOutError(f"{listing.source}: no IDX file of held-out {what} in it")
            if found is None:
                raise DataError(f"{listing.source}: no IDX file of {what} to learn in it, such as train-{what}")
            paths[part, what] = listing.source / found
    dataset = _dataset(
        name, paths[split, "images"], paths[split, "labels"], paths["train", "labels"], split, classes=None
    )
    if not of.lower().startswith("emnist"):
        return dataset
    note = "EMNIST has its pictures lie on their side, mirrored: they are turned"
    return replace(dataset, samples=dataset.samples.swapaxes(2, 3), notes=(*dataset.notes, note))


def find(files: Iterable[PurePosixPath]) -> dict[str, dict[tuple[Split, str], PurePosixPath]]:
    """The IDX files of MNIST's names and those like them, by the name of their data set (of MNIST itself an empty
    one), their split and whether they are `images` or `labels`; of the same ones those that lie highest."""
    sets: dict[str, dict[tuple[Split, str], PurePosixPath]] = {}
    for file in sorted(files, key=lambda file: (len(file.parts), file)):
        match = _NAME.match(file.name)
        if match is None:
            continue
        of = match["of"]
        within: tuple[str, str] | None = ("test", of[:-4].rstrip("-_.")) if of.endswith("t10k") else split_within(of)
        if within is not None and within[0] in ("train", "test"):
            split: Split = "train" if within[0] == "train" else "test"
            sets.setdefault(within[1], {}).setdefault((split, match["what"].lower()), file)
    return sets


def _dataset(
    name: str, images_path: Path, labels_path: Path, of_train: Path, split: Split, classes: int | None
) -> Dataset:
    images, labels = read(images_path), read(labels_path)
    if images.ndim != 3:
        raise DataError(f"{images_path}: {images.ndim} dimensions; images have 3")
    if labels.ndim != 1:
        raise DataError(f"{labels_path}: {labels.ndim} dimensions; labels have 1")
    if len(images) != len(labels):
        raise DataError(f"{labels_path}: {len(labels)} labels for the {len(images)} images of {images_path.name}")
    if images.size == 0:
        raise DataError(f"{images_path}: no images")
    known = np.unique(read(of_train) if classes is None else np.arange(classes))
    strange = np.setdiff1d(labels, known)
    if strange.size:
        expected = "a label of the training part" if classes is None else f"0 to {classes - 1}"
        raise DataError(f"{labels_path}: label {strange[0]}; expected {expected}")
    unseen = np.setdiff1d(known, labels)
    if split == "train" and unseen.size:
        raise DataError(f"{labels_path}: label {unseen[0]} is never seen; with `data: files` there need not be one")
    places = np.searchsorted(known, labels).astype(np.int64)
    return Dataset(name, images[:, None], places, [str(value) for value in known], stored_range=(0.0, 255.0))


def _paths(folder: Path, split: Split) -> tuple[Path, Path]:
    prefix = {"train": "train", "test": "t10k"}[split]
    try:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder")
        return _find(folder, f"{prefix}-images-idx3-ubyte"), _find(folder, f"{prefix}-labels-idx1-ubyte")
    except OSError as error:  # a folder that may not be searched
        raise DataError(f"{folder}: cannot be read: {error.strerror}") from None


def _find(folder: Path, stem: str) -> Path:
    for path in (folder / stem, folder / f"{stem}.gz"):
        if path.is_file():
            return path
    raise DataError(f"{folder}: no {stem} or {stem}.gz in it")
