"""Statistics of a window: how far bin counts and component sums are from the reference, and what chance alone gives.

Counts are of BINS equal-mass bins, int or float [..., BINS]; leading axes are windows. n is a window's rows, N the
reference's: a reference is itself a sample, and a statistic that forgets it alarms on its own reference.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from latentserve.service.watching.distribution import BINS

STATISTICS = ("psi", "chi_square", "ks", "w1", "t_squared")
WINDOWS = (200, 1_000, 10_000, 100_000)
LEVELS = (0.5, 0.99, 0.9999)

SMOOTHING = 0.5  # of a row, added to every bin: an empty one has a logarithm too
_REPETITIONS = 40_000  # of a simulated window: four beyond the highest level
DEVIATIONS = 4.0  # by which `effect_lower` stays below what was seen

Floats = NDArray[np.float64]
Counts = NDArray[np.int64] | NDArray[np.float64]


def shares(counts: Counts) -> Floats:
    """Smoothed shares (c + 1/2) / (n + K/2) of the bins."""
    rows = counts.sum(axis=-1, keepdims=True)
    return (counts + SMOOTHING) / (rows + SMOOTHING * counts.shape[-1])


def psi(counts: Counts) -> Floats:
    """Population stability index, sum (p - 1/K) ln(K p). Without drift its mean is near (K - 1)(1/n + 1/N): the usual
    bounds of 0.1 and 0.2 mean nothing without n (Yurdakul 2018, Statistical properties of population stability index).
    """
    share, bins = shares(counts), counts.shape[-1]
    return ((share - 1 / bins) * np.log(bins * share)).sum(axis=-1)


def chi_square(counts: Counts, reference: float) -> Floats:
    """Pearson's statistic over equal bins, divided by the 1 + n/N by which a reference of N samples inflates it;
    near chi-square with K - 1 degrees of freedom without drift. 0 for a window without rows."""
    rows = counts.sum(axis=-1)
    expected = np.maximum(rows, 1) / counts.shape[-1]
    raw = ((counts - rows[..., None] / counts.shape[-1]) ** 2).sum(axis=-1) / expected
    return raw / (1 + rows / reference)


def effect_lower(chi_squared: Floats, rows: Counts, bins: int = BINS) -> Floats:
    """A lower bound on the effect, the chi-square distance sum (p - 1/K)^2 K that the window's population is at:
    (X^2 - v - 4 sqrt(2 v + 4 (X^2 - v)+)) / n with v = K - 1, from mean v + n e and variance 2 v + 4 n e of the
    non-central chi-square. Significance and size in one number."""
    freedom = bins - 1
    excess = chi_squared - freedom
    deviation = np.sqrt(2 * freedom + 4 * np.maximum(excess, 0))
    return (excess - DEVIATIONS * deviation) / np.maximum(rows, 1)


def ks(counts: Counts) -> Floats:
    """Kolmogorov and Smirnov's distance at the bins' edges, max |sum_{i<=j} p_i - j/K|."""
    return np.abs(_excess(counts)).max(axis=-1)


def w1(counts: Counts) -> Floats:
    """Wasserstein-1 distance of the ranks at the bins' edges, (1/K) sum_j |sum_{i<=j} p_i - j/K|."""
    return np.abs(_excess(counts)).mean(axis=-1)


def t_squared(sums: Floats, rows: Counts, reference: float) -> Floats:
    """n |mean|^2 / (1 + n/N) of whitened components that are centred at the reference, from their sums [..., k] over
    n = `rows` [...] rows; near chi-square with k degrees of freedom without drift (Hotelling 1931, with the covariance
    known). It needs sums alone, so it adds up over workers."""
    rows = np.asarray(rows, np.float64)
    mean = sums / np.maximum(rows, 1)[..., None]
    return rows * (mean**2).sum(axis=-1) / (1 + rows / reference)


def effective_reference(rows: Counts, samples: Counts) -> float:
    """The N of a window whose rows [cells] fall into cells of `samples` [cells] reference samples each:
    1 / sum (share^2 / N of the cell), as the cells' errors are independent."""
    total = rows.sum()
    return float(1 / ((rows / total) ** 2 / samples).sum()) if total else float(samples.min())


@lru_cache(maxsize=64)
def null_quantiles(reference: int, components: int) -> Floats:
    """What chance alone gives: float64 [STATISTICS, WINDOWS, LEVELS], for a reference of N samples and `components`
    whitened ones.

    Bins between quantiles of N samples hold masses that are Dirichlet(N/K, ..., N/K) (spacings of order statistics),
    and a window's counts are multinomial in them: simulated, 40,000 windows a size. The mean of n rows is taken to be
    normal, which makes t_squared chi-square.
    """
    rng = np.random.default_rng(0)
    masses = rng.dirichlet(np.full(BINS, reference / BINS), _REPETITIONS)
    table = np.empty((len(STATISTICS), len(WINDOWS), len(LEVELS)))
    table[STATISTICS.index("t_squared")] = stats.chi2.ppf(LEVELS, max(1, components))
    for index, rows in enumerate(WINDOWS):
        counts = rng.multinomial(rows, masses)
        of_bins: list[Any] = [psi(counts), chi_square(counts, reference), ks(counts), w1(counts)]
        table[: len(of_bins), index] = np.quantile(of_bins, LEVELS, axis=1).T
    return table


def _excess(counts: Counts) -> Floats:
    bins = counts.shape[-1]
    return np.cumsum(shares(counts), axis=-1) - np.arange(1, bins + 1) / bins
