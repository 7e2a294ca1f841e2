"""IDX, the format MNIST is published in, gzipped or not (yann.lecun.com/exdb/mnist, "FILE FORMATS").

A file is two zero bytes, a type code, the number of dimensions, each dimension as a big-endian uint32, then the
values in C order. Only unsigned bytes (code 0x08) are read: every published image and label file is made of them.
"""

import gzip
import zlib
from math import prod
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.data.dataset import Dataset
from training.errors import DataError

CLASSES = 10


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
    expected, found = prod(shape), len(content) - header
    if found != expected:
        raise DataError(
            f"{path}: {'truncated' if found < expected else 'too long'}: {found} values, {expected} promised"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def load(name: str, folder: Path, split: Literal["train", "test"]) -> Dataset:
    """Load `train-*` or `t10k-*` of a folder laid out like MNIST; images float32 [N, 1, H, W]. Raises DataError."""
    prefix = {"train": "train", "test": "t10k"}[split]
    try:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder")
        images_path = _find(folder, f"{prefix}-images-idx3-ubyte")
        labels_path = _find(folder, f"{prefix}-labels-idx1-ubyte")
    except OSError as error:  # a folder that may not be searched
        raise DataError(f"{folder}: cannot be read: {error.strerror}") from None
    images, labels = read(images_path), read(labels_path)
    if images.ndim != 3:
        raise DataError(f"{images_path}: {images.ndim} dimensions; images have 3")
    if labels.ndim != 1:
        raise DataError(f"{labels_path}: {labels.ndim} dimensions; labels have 1")
    if len(images) != len(labels):
        raise DataError(f"{labels_path}: {len(labels)} labels for the {len(images)} images of {images_path.name}")
    if images.size == 0:
        raise DataError(f"{images_path}: no images")
    if labels.max() >= CLASSES:
        raise DataError(f"{labels_path}: label {labels.max()}; expected 0 to {CLASSES - 1}")
    scaled = images[:, None].astype(np.float32) / np.float32(127.5) - 1
    return Dataset(name, scaled, labels.astype(np.int64), [str(digit) for digit in range(CLASSES)])


def _find(folder: Path, stem: str) -> Path:
    for path in (folder / stem, folder / f"{stem}.gz"):
        if path.is_file():
            return path
    raise DataError(f"{folder}: no {stem} or {stem}.gz in it")
