"""The small classifier: right where labels can be told, poor where not, and it says which."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from latentserve.service.watching.classifier import Classifier


def clusters(n: int, labels: int, apart: float, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(labels, 8)) * apart
    own = rng.integers(0, labels, n)
    return centres[own] + rng.normal(size=(n, 8)), own


def test_labels_that_can_be_told_are() -> None:
    features, labels = clusters(2000, 5, 3.0)
    found = Classifier.fit(features, labels, 5)
    assert found is not None
    assert found.accuracy > 0.95
    assert found.chance == pytest.approx(0.2, abs=0.05)
    assert found.useful
    fresh, own = clusters(500, 5, 3.0, seed=1)
    margin = found.margin(fresh, own)
    assert (margin > 0).mean() > 0.95
    # Asked for another label, the margin is the other way round.
    assert (found.margin(fresh, (own + 1) % 5) > 0).mean() < 0.05
    logits = fresh @ found.weights + found.bias
    assert np.array_equal(found.label(fresh), logits.argmax(axis=1))
    assert np.array_equal(found.label(fresh) == own, margin > 0)
    ordered = np.sort(logits, axis=1)
    right = logits.argmax(axis=1) == own
    np.testing.assert_allclose(margin[right], (ordered[:, -1] - ordered[:, -2])[right])


@pytest.mark.parametrize("labels", [2, 5])
def test_labels_that_cannot_be_told_are_of_no_use(labels: int) -> None:
    features, own = clusters(2000, labels, 0.0)
    found = Classifier.fit(features, own, labels)
    assert found is not None
    assert not found.useful


def test_two_labels_need_not_be_twice_as_good_as_chance() -> None:
    features, own = clusters(2000, 2, 3.0)
    found = Classifier.fit(features, own, 2)
    assert found is not None
    assert 2 * found.chance > 0.95
    assert found.useful


@pytest.mark.parametrize(("n", "labels"), [(100, 1), (100, 50), (20_000, 1001)])
def test_too_few_labels_too_many_or_too_few_rows(n: int, labels: int) -> None:
    assert Classifier.fit(np.zeros((n, 8)), np.arange(n) % labels, labels) is None
