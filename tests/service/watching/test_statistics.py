"""Statistics of a window: known values, known null distributions, and a finite reference taken into account."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from latentserve.service.watching.distribution import BINS, Distribution
from latentserve.service.watching.statistics import (
    LEVELS,
    STATISTICS,
    WINDOWS,
    chi_square,
    effect_lower,
    effective_reference,
    ks,
    null_quantiles,
    psi,
    t_squared,
    w1,
)

EVEN = np.full(BINS, 5000)
TILTED = np.repeat([7500, 2500], BINS // 2)  # of 100,000


def test_even_counts_are_at_no_distance() -> None:
    for value in (psi(EVEN), ks(EVEN), w1(EVEN), chi_square(EVEN, 1e9)):
        assert value == pytest.approx(0, abs=1e-12)


def test_known_values() -> None:
    assert psi(TILTED) == pytest.approx(0.2747, abs=1e-3)
    assert ks(TILTED) == pytest.approx(0.25, abs=1e-3)
    assert w1(TILTED) == pytest.approx(np.mean([*range(1, 11), *range(9, -1, -1)]) * 0.025, abs=1e-3)
    assert chi_square(TILTED, np.inf) == pytest.approx(stats.chisquare(TILTED).statistic)
    # Its effect, sum (p - 1/K)^2 K, is 0.25; the bound is below it, and near it with so many rows.
    bound = effect_lower(chi_square(TILTED, np.inf), TILTED.sum())
    assert 0.23 < bound < 0.25


def test_windows_are_the_leading_axes() -> None:
    both = np.stack([EVEN, TILTED])
    for statistic in (psi, ks, w1):
        assert statistic(both).tolist() == pytest.approx([float(statistic(EVEN)), float(statistic(TILTED))])
    assert chi_square(both, 1000.0).shape == (2,)
    assert t_squared(np.ones((2, 4)), np.array([10, 20]), 1000.0).shape == (2,)


def test_a_window_without_rows_is_nothing() -> None:
    none = np.zeros(BINS, np.int64)
    assert chi_square(none, 1000) == psi(none) == t_squared(np.zeros(3), np.array(0), 10) == 0
    assert effect_lower(np.array(0.0), np.array(0)) < 0


def test_the_effect_bound_holds_without_drift_and_finds_a_shift() -> None:
    rng = np.random.default_rng(0)
    for rows in (50, 1000, 20_000):
        counts = rng.multinomial(rows, np.full(BINS, 1 / BINS), 5000)
        assert (effect_lower(chi_square(counts, np.inf), counts.sum(axis=1)) < 0.02).all()
    edges = stats.norm.ppf(np.arange(1, BINS) / BINS)
    shifted = np.diff(np.concatenate([[0], stats.norm.cdf(edges, loc=0.3), [1]]))
    counts = rng.multinomial(2000, shifted, 1000)
    assert (effect_lower(chi_square(counts, np.inf), counts.sum(axis=1)) > 0.02).mean() > 0.9


@pytest.mark.parametrize("reference", [500, 20_000])
def test_the_null_table_is_that_of_real_references(reference: int) -> None:
    """Windows of 1,000 rows through references that are themselves samples, as the server bins them."""
    rng = np.random.default_rng(0)
    counts = []
    for _ in range(150):
        known = Distribution.of(rng.normal(size=reference))
        bins = known.bins(rng.normal(size=20_000), rng).reshape(20, 1000)
        counts += [np.bincount(window, minlength=BINS) for window in bins]
    table = null_quantiles(reference, 8)[:, WINDOWS.index(1000)]
    seen = np.stack(counts)
    for name, values in (
        ("psi", psi(seen)),
        ("chi_square", chi_square(seen, reference)),
        ("ks", ks(seen)),
        ("w1", w1(seen)),
    ):
        median, high, highest = table[STATISTICS.index(name)]
        assert 0.44 < (values > median).mean() < 0.56, name
        assert (values > high).mean() < 0.025, name
        assert (values > highest).mean() < 0.003, name


def test_t_squared_is_chi_square() -> None:
    rng = np.random.default_rng(0)
    rows, reference, k = 400, 1000, 6
    errors = rng.normal(size=(4000, k)) / np.sqrt(reference)  # of the reference's own mean
    sums = rng.normal(size=(4000, k)) * np.sqrt(rows) + rows * errors
    values = t_squared(sums, np.full(4000, rows), reference)
    assert stats.kstest(values, stats.chi2(k).cdf).pvalue > 1e-3
    assert null_quantiles(reference, k)[STATISTICS.index("t_squared"), 0] == pytest.approx(stats.chi2.ppf(LEVELS, k))


def test_the_reference_of_a_mixture() -> None:
    samples = np.array([20_000, 20_000, 5000])
    assert effective_reference(np.array([500, 500, 0]), samples) == pytest.approx(40_000)
    assert effective_reference(np.array([0, 0, 7]), samples) == pytest.approx(5000)
    assert effective_reference(np.zeros(3, np.int64), samples) == 5000
