"""Statistics of a window of rows, to hold counts and sums against what chance gives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
