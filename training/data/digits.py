"""The 1,797 handwritten 8x8 digits that ship with scikit-learn (UCI Optical Recognition of Handwritten Digits)."""

from typing import Literal

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from latentserve.training.data.dataset import Dataset


def load(split: Literal["train", "test"]) -> Dataset:
    """One stratified half of the digits, images float32 [N, 1, 8, 8]. Training never reads the `test` half."""
    pixels, labels = load_digits(return_X_y=True)
    train_pixels, test_pixels, train_labels, test_labels = train_test_split(
        pixels, labels, test_size=0.5, random_state=0, stratify=labels
    )
    pixels, labels = (train_pixels, train_labels) if split == "train" else (test_pixels, test_labels)
    # Pixels count ink from 0 to 16.
    images = (pixels / 8 - 1).astype(np.float32).reshape(-1, 1, 8, 8)
    return Dataset("digits", images, labels.astype(np.int64), [str(digit) for digit in range(10)])
