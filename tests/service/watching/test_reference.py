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

from service.errors import BundleError
from service.watching.reference import BINS, Distribution, Reference

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
    values=hnp.arrays(np.float64, st.integers(0, 50), elements=st.floats(allow_nan=False)),
)
def test_any_reference_bins_any_values_in_their_order(
    reference: np.ndarray[Any, Any], values: np.ndarray[Any, Any]
) -> None:
    bins = Distribution.of(reference).bins(values, np.random.default_rng(0))
    assert ((bins >= 0) & (bins < BINS)).all()
    for low, high in zip(np.argsort(values)[:-1], np.argsort(values)[1:], strict=True):
        if values[low] < reference.min() and values[high] > reference.max():
            assert bins[low] <= bins[high]


def test_it_comes_back_from_its_file() -> None:
    rng = np.random.default_rng(1)
    reference = Reference(5000, {name: Distribution.of(draw(rng, 5000)) for name, draw in SIGNALS.items()})
    content = reference.to_bytes()
    assert content == reference.to_bytes()
    read = Reference.from_bytes(content, list(SIGNALS))
    assert read.samples == 5000
    for name, distribution in reference.signals.items():
        for part in ("edges", "below", "at_most"):
            assert np.array_equal(getattr(read.signals[name], part), getattr(distribution, part))


def test_a_file_that_is_wrong_is_refused() -> None:
    good = Reference(10, {"mean": Distribution.of(np.arange(10.0))})
    with pytest.raises(BundleError, match="std"):
        Reference.from_bytes(good.to_bytes(), ["mean", "std"])
    bad = Reference(10, {"mean": Distribution(np.zeros(3), np.zeros(3), np.zeros(2))})
    with pytest.raises(BundleError, match="mean"):
        Reference.from_bytes(bad.to_bytes(), ["mean"])
    for content in (b"", b"nonsense", good.to_bytes()[:100]):
        with pytest.raises(BundleError, match=r"reference\.npz"):
            Reference.from_bytes(content, ["mean"])
