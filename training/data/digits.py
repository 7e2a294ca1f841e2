"""Handwritten digits: the 1,797 of 8x8 pixels that ship with scikit-learn (UCI Optical Recognition of Handwritten
Digits), MNIST's, and those stacked, one in each channel of an RGB image, so that they are known to have 1,000 modes.

Stacked MNIST is from "Unrolled Generative Adversarial Networks" (Metz et al. 2017), section 3.3.1; the number of
triples from "PacGAN" (Lin et al. 2018), section 4.2, who drew them from all of MNIST. Here the training part's come
from training digits alone.
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from latentserve.training.data import idx
from latentserve.training.data.dataset import Dataset, Split

TRIPLES = {"train": 128_000, "test": 26_000}
_SEEDS = {"train": 0, "test": 1}


def load(split: Split) -> Dataset:
    """One stratified half of the digits, images float32 [N, 1, 8, 8]. Training never reads the `test` half."""
    pixels, labels = load_digits(return_X_y=True)
    train_pixels, test_pixels, train_labels, test_labels = train_test_split(
        pixels, labels, test_size=0.5, random_state=0, stratify=labels
    )
    pixels, labels = (train_pixels, train_labels) if split == "train" else (test_pixels, test_labels)
    # Pixels count ink from 0 to 16.
    images = (pixels / 8 - 1).astype(np.float32).reshape(-1, 1, 8, 8)
    return Dataset("digits", images, labels.astype(np.int64), [str(digit) for digit in range(10)])


def mnist(path: Path, split: Split) -> Dataset:
    """MNIST's ten digits, of a folder of IDX files, images [N, 1, H, W]."""
    return idx.load("mnist", path, split, 10)


class Stack:
    """Images uint8 [N, 3, H, W] that are put together when they are asked for: all of them are as large as N digits
    three times over, the digits they are made of are held once."""

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, digits: NDArray[np.uint8], triples: NDArray[np.int64]) -> None:
        """`digits` [M, H, W]; `triples` [N, 3] are rows of them."""
        self.digits, self.triples = digits, triples
        self.shape = (*triples.shape, *digits.shape[1:])
        self.nbytes = math.prod(self.shape)

    def __len__(self) -> int:
        return len(self.triples)

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        return self.digits[self.triples[rows]]


@dataclass(frozen=True)
class StackedDigits(Dataset):
    """A data set of a `Stack`.

    Attributes:
        digits_sha256: digest of the digits.
    """

    digits_sha256: str = ""

    def digest(self) -> str:
        """SHA-256 of the digits' own digest and of the triples, little-endian: as much said in a tenth of the bytes."""
        triples = np.ascontiguousarray(cast(Stack, self.samples).triples, dtype="<i8")
        return hashlib.sha256(self.digits_sha256.encode() + triples.tobytes()).hexdigest()


def stacked_mnist(path: Path, split: Split) -> Dataset:
    """Triples of MNIST's `split`, images [N, 3, H, W] without labels.

    Each channel's digit is any of the digits, by numpy's default generator with seed 0 (`train`) or 1 (`test`): the
    same digits make the same triples always.
    """
    digits = mnist(path, split)
    triples = np.random.default_rng(_SEEDS[split]).integers(len(digits), size=(TRIPLES[split], 3))
    samples = cast(NDArray[Any], Stack(digits.samples[:, 0], triples))
    zeros, stored = np.zeros(len(triples), np.int64), digits.stored_range
    return StackedDigits("stacked-mnist", samples, zeros, [], stored_range=stored, digits_sha256=digits.digest())
