import numpy as np
import pytest

from latentserve.service.packing.fidelity import Moments, frechet
from latentserve.training.evaluation import distances
from latentserve.training.evaluation.distances import moment_distances, wasserstein_distance
from latentserve.training.evaluation.resampling import BLOCKS, DRAWS, Measured, Resampling, share


@pytest.mark.parametrize("rows", [7, BLOCKS, 1_003])
def test_every_row_has_its_block(rows: int) -> None:
    resampling = Resampling.of(rows, 0)
    values = np.random.default_rng(1).standard_normal(rows)
    assert resampling.sizes.sum() == rows
    assert resampling.per_row.shape == (DRAWS, rows)
    by_row = (resampling.per_row * values).sum(axis=1) / resampling.per_row.sum(axis=1)
    assert resampling.means(values) == pytest.approx(by_row)


def test_the_interval_of_a_mean_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(200):
        truths = rng.random(2_000) < 0.3
        low, high = share(truths, Resampling.of(2_000, trial)).interval()
        held += low <= 0.3 <= high
    assert 178 <= held <= 200  # 95 % of 200, give or take


def test_an_interval_lies_about_its_value_though_draws_are_biased() -> None:
    drawn = 5 + np.random.default_rng(0).standard_normal(DRAWS)
    low, high = Measured(1.0, drawn).interval()
    assert low + high == pytest.approx(2)
    assert high - low == pytest.approx(2 * 1.96, rel=0.15)
    assert Measured(1.0).interval() is None


def test_draws_are_what_repeating_rows_would_give() -> None:
    """By blocks, and from the rows themselves: the same."""
    rng = np.random.default_rng(2)
    real, fake = rng.standard_normal((120, 3)), rng.standard_normal((90, 3)) + 0.5
    chances = Resampling.of(120, 1), Resampling.of(90, 2)
    rows = [np.repeat(np.arange(len(each.per_row[4])), each.per_row[4].astype(int)) for each in chances]
    measured, _ = moment_distances(real, fake, chances)
    by_hand = frechet(Moments.of(real[rows[0]]), Moments.of(fake[rows[1]]))
    assert measured.drawn[4] == pytest.approx(by_hand)
    sliced = wasserstein_distance(real, fake, chances)
    assert sliced.drawn[4] == pytest.approx(wasserstein_distance(real[rows[0]], fake[rows[1]], None).value, rel=1e-4)


def test_a_row_that_is_drawn_twice_is_no_pair_with_itself() -> None:
    rng = np.random.default_rng(2)
    features = rng.standard_normal((50, 3))
    resampling = Resampling.of(50, 1)
    weights = resampling.weights[7]
    grown = (features @ features.T / 3 + 1) ** 3
    np.fill_diagonal(grown, 0)
    expected = weights @ grown @ weights / (weights.sum() ** 2 - (weights**2).sum())
    assert distances.WithinKernel(features, resampling).means(resampling.weights)[7] == pytest.approx(expected)
