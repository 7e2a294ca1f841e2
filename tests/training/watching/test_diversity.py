import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from latentserve.training.watching.space import LIMIT, diversity, effective_rank, some_of_each, spread


def test_spread_by_hand() -> None:
    """Distances 5 within label 0 and 1, 1, 2 within label 1; the lone sample of label 2 has no pair."""
    samples = np.array([[0, 0], [3, 4], [0, 0], [1, 0], [2, 0], [9, 9]], np.float32)
    assert spread(samples, np.array([0, 0, 1, 1, 1, 2])) == pytest.approx((5 + 4 / 3) / 2)


@given(st.integers(2, 12), st.integers(0, 9))
def test_one_label_is_all_pairs_whatever_the_shape(count: int, seed: int) -> None:
    samples = np.random.default_rng(seed).standard_normal((count, 1, 3, 2), np.float32)
    assert spread(samples, np.zeros(count, int)) == pytest.approx(pdist(samples.reshape(count, 6)).mean())


def test_a_collapsed_label_shows_though_the_labels_differ() -> None:
    """Every label one sample: 0, however far the labels lie apart."""
    samples = np.repeat(np.arange(10, dtype=np.float32), 20)[:, None]
    labels = np.repeat(np.arange(10), 20)
    assert diversity(samples, labels, real_spread=1.0) == 0
    half = samples + np.random.default_rng(0).standard_normal(samples.shape, np.float32) * (labels < 5)[:, None]
    whole = samples + np.random.default_rng(0).standard_normal(samples.shape, np.float32)
    assert diversity(half, labels, spread(whole, labels)) == pytest.approx(0.5, abs=0.1)


def test_reals_are_some_of_each_label() -> None:
    labels = np.array([1, 0, 2] * (LIMIT + 5) + [0] * 9 + [7])
    rows = some_of_each(labels)
    assert np.bincount(labels[rows]).tolist() == [LIMIT, LIMIT, LIMIT, 0, 0, 0, 0, 1]
    assert len(set(rows.tolist())) == len(rows)


def test_a_few_samples_do_as_well_as_many() -> None:
    noise = np.random.default_rng(1)
    many, few = (noise.standard_normal((10 * rows, 64), np.float32) for rows in (LIMIT, 20))
    real = spread(many, np.repeat(np.arange(10), LIMIT))
    assert diversity(few, np.repeat(np.arange(10), 20), real) == pytest.approx(1, abs=0.03)


def test_without_a_spread_of_reals_there_is_no_diversity() -> None:
    same, labels = np.ones((4, 3), np.float32), np.zeros(4, int)
    assert spread(same, labels) == 0
    assert math.isnan(diversity(same, labels, spread(same, labels)))
    assert math.isnan(spread(same, np.arange(4)))
    assert math.isnan(diversity(same, labels, math.nan))


def test_rank_is_how_many_directions_there_are_and_rounding_is_none() -> None:
    ends = torch.eye(5)[:3].repeat(2, 1) * torch.tensor([1.0] * 3 + [-1.0] * 3)[:, None]
    assert effective_rank(ends) == pytest.approx(3)
    assert effective_rank(ends + 0.1) == pytest.approx(3)
    same = torch.full((37, 5), 0.1)
    assert effective_rank(same) == 0
    assert effective_rank(same * (1 + 1e-8 * torch.arange(37)[:, None])) == 0
