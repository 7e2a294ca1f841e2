"""Equal-mass bins: without drift every bin gets its twentieth, whatever the signal is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from latentserve.service.watching.distribution import BINS, BinTable, Distribution

Draw = Callable[[np.random.Generator, int], np.ndarray[Any, Any]]

SIGNALS: dict[str, Draw] = {
    "continuous": lambda rng, n: rng.normal(size=n),
    "heavy-tailed": lambda rng, n: rng.standard_cauchy(size=n),
    "discrete": lambda rng, n: rng.integers(0, 7, n).astype(float),
    "one value": lambda rng, n: np.full(n, 3.5),
    "two values": lambda rng, n: (rng.random(n) < 0.9).astype(float),
    "an atom at the low end": lambda rng, n: np.maximum(rng.normal(size=n), 0),
    "an atom at both ends": lambda rng, n: np.clip(rng.normal(size=n), -0.5, 0.5),
    "an atom within": lambda rng, n: np.where(rng.random(n) < 0.3, 0.1, rng.normal(size=n)),
}


@pytest.mark.parametrize("draw", SIGNALS.values(), ids=SIGNALS)
def test_without_drift_the_bins_are_equal(draw: Draw) -> None:
    rng = np.random.default_rng(1)
    # Of a reference 100 times as large as the sample, its own error is small beside the sample's.
    distribution = Distribution.of(draw(rng, 1_000_000))
    counts = np.bincount(distribution.bins(draw(rng, 10_000), rng), minlength=BINS)
    assert len(counts) == BINS
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("draw", [SIGNALS["continuous"], SIGNALS["discrete"], SIGNALS["an atom at both ends"]])
def test_drift_moves_the_bins(draw: Draw) -> None:
    rng = np.random.default_rng(1)
    distribution = Distribution.of(draw(rng, 100_000))
    counts = np.bincount(distribution.bins(draw(rng, 10_000) + 0.3, rng), minlength=BINS)
    assert stats.chisquare(counts).pvalue < 1e-9


@given(
    reference=hnp.arrays(np.float64, st.integers(1, 200), elements=st.floats(-1e6, 1e6)),
    values=hnp.arrays(np.float64, st.integers(0, 50), elements=st.floats(allow_nan=False, allow_infinity=False)),
)
def test_any_reference_bins_any_values_in_their_order(
    reference: np.ndarray[Any, Any], values: np.ndarray[Any, Any]
) -> None:
    bins = Distribution.of(reference).bins(values, np.random.default_rng(0))
    assert ((bins >= 0) & (bins < BINS)).all()
    for low, high in zip(np.argsort(values)[:-1], np.argsort(values)[1:], strict=True):
        if values[low] < reference.min() and values[high] > reference.max():
            assert bins[low] <= bins[high]


def test_what_is_not_finite_has_no_bin() -> None:
    distribution = Distribution.of(np.arange(100.0))
    bins = distribution.bins(np.array([np.nan, 3.0, np.inf, -np.inf, 1e300]), np.random.default_rng(0))
    assert bins.tolist()[0] == bins.tolist()[2] == bins.tolist()[3] == -1
    assert bins.tolist()[1] == 0
    assert bins.tolist()[4] == BINS - 1


def test_a_mixture_is_binned_as_each_alone() -> None:
    """Without atoms there is no chance in a bin: the table's answer is each distribution's own."""
    rng = np.random.default_rng(1)
    known = [Distribution.of(rng.normal(centre, 1, 1000)) for centre in (0.0, 5.0, -5.0)]
    values, which = rng.normal(0, 5, (3, 200)), rng.integers(-1, 3, (3, 200))
    bins = BinTable(known).bins(values, which, rng)
    assert (bins[which < 0] == -1).all()
    for index, distribution in enumerate(known):
        expected = distribution.bins(values[which == index], rng)
        assert np.array_equal(bins[which == index], expected)


@pytest.mark.parametrize("draw", [SIGNALS["one value"], SIGNALS["discrete"], SIGNALS["an atom at both ends"]])
def test_an_atom_is_the_same_after_a_rounding(draw: Draw) -> None:
    """Made in float32 with other constants, values are off in their last bits."""
    rng = np.random.default_rng(1)
    distribution = Distribution.of(draw(rng, 1_000_000) / 7)
    for off in (1 + 1e-7, 1 - 1e-7):
        rounded = (draw(rng, 10_000) * np.float32(1 / 7)).astype(np.float32).astype(np.float64) * off
        counts = np.bincount(distribution.bins(rounded, rng), minlength=BINS)
        assert stats.chisquare(counts).pvalue > 1e-3


def test_a_small_spread_far_from_zero_keeps_its_bins() -> None:
    rng = np.random.default_rng(1)
    distribution = Distribution.of(1000 + 1e-4 * rng.normal(size=200_000))
    counts = np.bincount(distribution.bins(1000 + 1e-4 * rng.normal(size=10_000), rng), minlength=BINS)
    assert stats.chisquare(counts).pvalue > 1e-3
