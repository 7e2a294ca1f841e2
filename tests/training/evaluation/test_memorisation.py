import numpy as np
import pytest

from latentserve.training.data import Dataset
from latentserve.training.evaluation.memorisation import copies, memorisation, nearest
from latentserve.training.evaluation.resampling import Resampling
from latentserve.training.evaluation.views import view_of


def test_the_nearest_training_samples_are_found(digits: Dataset) -> None:
    view = view_of(digits)
    rows = np.array([5, 800, 17])
    found = nearest(digits.take(rows), digits, view)
    assert found.row.tolist() == rows.tolist()
    assert found.distance.tolist() == [0, 0, 0]
    noisy = nearest(digits.take(rows) + np.float32(0.01), digits, view)
    assert noisy.row.tolist() == rows.tolist()
    assert noisy.distance == pytest.approx(0.01 * 8, rel=1e-4)


def test_copies_are_told_from_samples_like_unseen_ones() -> None:
    rng = np.random.default_rng(0)
    unseen, like_unseen = rng.gamma(4, size=(2, 1_000))
    chances = Resampling.of(1_000, 3), Resampling.of(1_000, 2)
    healthy = memorisation(like_unseen, unseen, chances)
    low, high = healthy.interval()
    assert low < 0.5 < high
    assert 0.005 < high - low < 0.1
    assert memorisation(np.zeros(1_000), unseen, chances).value == 1
    share, floor = copies(like_unseen, unseen, None)
    assert share.value == pytest.approx(floor, abs=0.02)
    assert copies(np.zeros(1_000), unseen, chances[1])[0].value == 1


def test_ties_count_half() -> None:
    assert memorisation(np.ones(10), np.ones(6), None).value == 0.5
