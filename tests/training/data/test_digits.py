import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from latentserve.training.data import load


def test_the_halves_are_the_stratified_split_of_the_whole() -> None:
    pixels, labels = load_digits(return_X_y=True)
    kept, unseen, kept_labels, _ = train_test_split(pixels, labels, test_size=0.5, random_state=0, stratify=labels)
    train, test = load("digits", None), load("digits", None, "test")
    assert train.samples.shape == (898, 1, 8, 8)
    assert train.samples.dtype == np.float32
    np.testing.assert_allclose(train.samples.reshape(898, 64), kept / 8 - 1)
    np.testing.assert_array_equal(train.labels, kept_labels)
    np.testing.assert_allclose(test.samples.reshape(899, 64), unseen / 8 - 1)


def test_values_span_minus_one_to_one() -> None:
    images = load("digits", None).samples
    assert (images.min(), images.max()) == (-1, 1)
