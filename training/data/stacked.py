"""Stacked MNIST: three digits, one in each channel of an RGB image, so that it is known to have 1,000 modes.

"Unrolled Generative Adversarial Networks" (Metz et al. 2017), section 3.3.1; the number of triples from "PacGAN" (Lin
et al. 2018), section 4.2, who drew them from all of MNIST. Here the training part's come from training digits alone.
"""

from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from training.data.dataset import Dataset

TRIPLES = {"train": 128_000, "test": 26_000}
_SEEDS = {"train": 0, "test": 1}


class Stack:
    """Images uint8 [N, 3, H, W] that are put together when they are asked for: all of them are as large as N digits
    three times over, the digits they are made of are held once."""

    dtype = np.dtype(np.uint8)

    def __init__(self, digits: NDArray[np.uint8], triples: NDArray[np.int64]) -> None:
        """`digits` [M, H, W]; `triples` [N, 3] are rows of them."""
        self.digits, self.triples = digits, triples
        self.shape = (*triples.shape, *digits.shape[1:])

    def __len__(self) -> int:
        return len(self.triples)

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        return self.digits[self.triples[rows]]


def load(name: str, digits: Dataset, split: Literal["train", "test"]) -> Dataset:
    """Triples of MNIST's `split`, images [N, 3, H, W] without labels.

    Each channel's digit is any of the digits, by numpy's default generator with seed 0 (`train`) or 1 (`test`): the
    same digits make the same triples always.
    """
    triples = np.random.default_rng(_SEEDS[split]).integers(len(digits), size=(TRIPLES[split], 3))
    samples = cast(NDArray[Any], Stack(digits.samples[:, 0], triples))
    return Dataset(name, samples, np.zeros(len(triples), np.int64), [], stored_range=digits.stored_range)
