"""Statistics of a window of rows, to hold counts and sums against what chance gives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deploy.rules.statistics import DEVIATIONS, SMOOTHING
from latentserve.service.watching.distribution import BINS

Floats = NDArray[np.float64]
Counts = NDArray[np.int64] | NDArray[np.float64]


def chi_square(counts: Counts, reference: float) -> float:
    """Pearson's statistic over equal bins, divided by the 1 + n/N by which a reference of N samples inflates it."""
    rows, bins = counts.sum(), len(counts)
    return float(((counts - rows / bins) ** 2).sum() / (rows / bins) / (1 + rows / reference))


def t_squared(sums: Floats, rows: Counts, reference: float) -> Floats:
    """n |mean|^2 / (1 + n/N) of white components, from their sums [..., k] over n = `rows` [...]: chi-square with k
    degrees of freedom without drift."""
    return np.asarray((sums**2).sum(axis=-1) / rows / (1 + rows / reference))


def effective_reference(rows: Counts, samples: Counts) -> float:
    """The N of a window whose rows [cells] fall into cells of `samples` [cells] reference samples each."""
    return float(1 / ((rows / rows.sum()) ** 2 / samples).sum())


def psi(counts: Counts) -> float:
    """Population stability index, sum (p - 1/K) ln(K p), over equal bins."""
    share = _shares(counts)
    return float(((share - 1 / len(share)) * np.log(len(share) * share)).sum())


def ks(counts: Counts) -> float:
    """Kolmogorov and Smirnov's distance at the bins' edges, max |sum_{i<=j} p_i - j/K|."""
    share = _shares(counts)
    return float(np.abs(np.cumsum(share - 1 / len(share))).max())


def effect_lower(chi_squared: float, rows: float, bins: int = BINS) -> float:
    """The lower bound (X^2 - v - 4 sqrt(2 v + 4 (X^2 - v)+)) / n on an effect, v = bins - 1."""
    excess = chi_squared - (bins - 1)
    return float((excess - DEVIATIONS * np.sqrt(2 * (bins - 1) + 4 * max(excess, 0.0))) / rows)


def _shares(counts: Counts) -> Floats:
    """Of smoothed counts."""
    return np.asarray((counts + SMOOTHING) / (counts.sum() + SMOOTHING * len(counts)))
