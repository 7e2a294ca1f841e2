"""MNIST's files with scikit-learn's digits in them, for where MNIST itself would be too much or is not there."""

import struct
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


def idx(array: np.ndarray, code: int = 8) -> bytes:
    """An IDX file's content."""
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(folder: Path, count: int = 600) -> Path:
    """A folder laid out like MNIST, of `count` digits in either part, enlarged to 28x28 pixels."""
    folder.mkdir(parents=True)
    images, labels = load_digits(return_X_y=True)
    pixels = (images * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    large = np.stack([np.asarray(Image.fromarray(one).resize((28, 28))) for one in pixels])
    for prefix, rows in (("train", slice(0, count)), ("t10k", slice(count, 2 * count))):
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx(large[rows]))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels[rows].astype(np.uint8)))
    return folder
