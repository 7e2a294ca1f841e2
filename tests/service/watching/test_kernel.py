"""Kernel distance: the published estimate, near 0 for equal distributions, with an interval that covers."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest

from latentserve.service.watching.kernel import kernel_distance, permutation_p


def estimate(x: np.ndarray, y: np.ndarray) -> float:
    """Pair by pair."""

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    within = [np.mean([k(a, b) for a, b in permutations(z, 2)]) for z in (x, y)]
    return float(within[0] + within[1] - 2 * np.mean([k(a, b) for a in x for b in y]))


def test_it_is_the_unbiased_estimate() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 3)), rng.normal(1, 1, size=(5, 3))
    assert kernel_distance(x, y).value == pytest.approx(estimate(x, y))


def test_equal_distributions_are_at_no_distance() -> None:
    """Over many pairs of sets the estimate is as often below 0 as above, and the intervals nearly all hold 0."""
    rng = np.random.default_rng(0)
    found = [kernel_distance(rng.normal(size=(100, 4)), rng.normal(size=(150, 4))) for _ in range(50)]
    values = np.array([distance.value for distance in found])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(50)
    assert np.mean([low <= 0 <= high for _, low, high in found]) > 0.85


def test_the_interval_is_around_the_distance_of_others() -> None:
    rng = np.random.default_rng(0)
    truth = 1.304  # within 0.02: the mean of 40 estimates, of 1,000 rows each
    found = [kernel_distance(rng.normal(size=(150, 4)), rng.normal(0.5, 1, size=(150, 4))) for _ in range(30)]
    assert all(low > 0 for _, low, _ in found)
    assert np.mean([low <= truth <= high for _, low, high in found]) > 0.8


def test_chance_is_uniform_for_equal_distributions_and_small_for_others() -> None:
    rng = np.random.default_rng(0)
    same = np.array([permutation_p(rng.normal(size=(15, 4)), rng.normal(size=(20, 4))) for _ in range(60)])
    assert 0.35 < same.mean() < 0.65
    assert (same < 0.2).mean() < 0.4
    assert (same > 0.8).mean() < 0.4
    assert permutation_p(rng.normal(size=(100, 4)), rng.normal(0.7, 1, size=(60, 4))) == 1 / 2000


def test_chance_is_of_the_same_distance() -> None:
    """Beside all divisions of seven rows."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(7, 3))
    rows[:3] += 0.8
    divisions = list(combinations(range(7), 3))
    values = [estimate(rows[list(own)], np.delete(rows, own, axis=0)) for own in divisions]
    exact = np.mean(np.array(values) >= values[0] - 1e-9)
    assert permutation_p(rows[:3], rows[3:]) == pytest.approx(exact, abs=0.04)
