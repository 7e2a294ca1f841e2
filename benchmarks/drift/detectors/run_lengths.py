"""First alarms of streams as figures: run lengths from censored streams, median delays, ratios; with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Integers = NDArray[np.int64]
NEVER = np.iinfo(np.int64).max  # the first alarm of a stream that ended without

_RESAMPLINGS = 1000
_LEVELS = (0.025, 0.5, 0.975)


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % limits."""

    value: float
    low: float
    high: float


def mean_run_length(first: Integers, rows: int) -> Interval:
    """Mean rows to an alarm over streams of so many rows without drift: total over alarms, as if alarms came at a
    constant rate; chi-square limits, each one-sided at 95 %."""
    ended = first <= rows
    total, alarms = float(np.where(ended, first, rows).sum()), int(ended.sum())
    high = 2 * total / stats.chi2.ppf(0.05, 2 * alarms) if alarms else np.inf
    return Interval(
        total / alarms if alarms else np.inf, 2 * total / float(stats.chi2.ppf(0.95, 2 * alarms + 2)), float(high)
    )


def delays(first: Integers, change: Integers) -> NDArray[np.float64]:
    """Rows from the change to the alarm, inf: none; NaN where an alarm came before the change: such streams are left
    out."""
    found = np.where(first == NEVER, np.inf, first - change.astype(np.float64))
    return np.where(found > 0, found, np.nan)


def median_delay(found: NDArray[np.float64]) -> Interval:
    """The median with a bootstrap's limits."""
    medians = _medians(found, _resampled(len(found)))
    low, _, high = _quantiles(medians)
    return Interval(float(np.nanmedian(found)), low, high)


def ratio_of_medians(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> Interval:
    """Over the same streams, drawn together."""
    drawn = _resampled(len(ours))
    low, _, high = _quantiles(_medians(ours, drawn) / _medians(theirs, drawn))
    return Interval(float(np.nanmedian(ours) / np.nanmedian(theirs)), low, high)


def _quantiles(values: NDArray[np.float64]) -> tuple[float, float, float]:
    low, middle, high = np.nanquantile(values, _LEVELS, method="nearest")
    return float(low), float(middle), float(high)


def _resampled(streams: int) -> Integers:
    return np.random.default_rng(0).integers(0, streams, (_RESAMPLINGS, streams))


def _medians(values: NDArray[np.float64], drawn: Integers) -> NDArray[np.float64]:
    # Of an even number, one beside a miss: the upper of the two, for inf - inf is nothing.
    medians: NDArray[np.float64] = np.nanquantile(values[drawn], 0.5, axis=1, method="higher")
    return medians
