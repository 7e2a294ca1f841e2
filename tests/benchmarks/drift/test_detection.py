"""The arithmetic behind the detection benchmark: censored run lengths, delays, CUSUM thresholds, true bin masses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks.drift.detectors import cusum
from benchmarks.drift.detectors.ours import true_masses
from benchmarks.drift.detectors.run_lengths import NEVER, delays, mean_run_length, median_delay, ratio_of_medians
from latentserve.service.watching.reference import BINS, Distribution


def test_a_run_length_counts_the_streams_that_never_ended() -> None:
    found = mean_run_length(np.array([10, 30, NEVER, NEVER]), 50)
    assert found.value == (10 + 30 + 50 + 50) / 2
    assert found.low < found.value < found.high
    assert mean_run_length(np.array([NEVER]), 50).high == np.inf
    # The limits hold as often as they say.
    rng = np.random.default_rng(1)
    drawn = np.ceil(rng.exponential(1000, (500, 40))).astype(np.int64)
    limits = [mean_run_length(np.where(row <= 2000, row, NEVER), 2000) for row in drawn]
    assert 0.92 < np.mean([limit.high >= 1000 for limit in limits]) < 0.98
    assert 0.92 < np.mean([limit.low <= 1000 for limit in limits]) < 0.98


def test_delays_leave_out_early_alarms_and_keep_misses() -> None:
    found = delays(np.array([90, 101, 130, NEVER]), np.full(4, 100))
    assert np.isnan(found[0])
    assert found[1:].tolist() == [1.0, 30.0, np.inf]
    assert median_delay(found).value == 30.0
    kept = found[1:3]
    assert ratio_of_medians(kept, 2 * kept).value == 0.5


@pytest.mark.parametrize("reference", [0.25, 0.5])
def test_the_threshold_of_cusum_gives_its_run_length(reference: float) -> None:
    limit = cusum.threshold(reference, 200)
    values = np.random.default_rng(1).normal(size=(400, 3000))
    found = cusum.first_alarms(values, reference, limit)
    assert np.minimum(found, 3000).mean() == pytest.approx(200, rel=0.15)


@pytest.mark.parametrize("reference", [0.125, 0.25, 0.5])
@pytest.mark.parametrize("run_length", [200.0, 1e6, 1.2e7])
def test_the_threshold_of_cusum_asks_no_chain_that_is_singular(
    reference: float, run_length: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of run lengths near 1e16 a solver answers with noise, whose sign is the processor's."""
    asked: list[float] = []
    chain = cusum._one_sided

    def known(reference: float, limit: float) -> float:
        asked.append(chain(reference, limit))
        return asked[-1]

    monkeypatch.setattr(cusum, "_one_sided", known)
    overshoot = cusum.threshold(reference, run_length) + 1.166  # Siegmund 1985, Sequential analysis, eq. 2.56
    approximate = (np.exp(2 * reference * overshoot) - 2 * reference * overshoot - 1) / (2 * reference**2)
    assert approximate / 2 == pytest.approx(run_length, rel=0.05)
    assert min(asked) > 0
    assert max(asked) < 1e2 * run_length


def test_true_masses_are_the_shares_that_bins_get() -> None:
    rng = np.random.default_rng(1)
    reference = Distribution.of(np.maximum(rng.normal(size=300), 0))  # small: far from its own quantiles
    at_most = stats.norm.cdf(reference.edges)
    masses = true_masses(reference, np.where(reference.edges > 0, at_most, 0.0), at_most)
    counts = np.bincount(reference.bins(np.maximum(rng.normal(size=200_000), 0), rng), minlength=BINS)
    assert masses.sum() == pytest.approx(1)
    assert stats.chisquare(counts, masses * 200_000).pvalue > 1e-3
    assert stats.chisquare(counts).pvalue < 1e-6
