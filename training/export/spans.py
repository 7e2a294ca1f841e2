"""How far rows are from others, as a share of what they range over."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_OF_SIZE = 0.05  # of a number's own size: a number that hardly varies is judged by that
_LEAST = 0.01


def share_off(rows: NDArray[Any], others: NDArray[Any], whole: NDArray[Any]) -> float:
    """The largest difference of rows [n, ...] from others, as a share of the span of `whole`; of vectors, where a
    column of ages lies beside one of incomes, of each column's own. NaN where there are NaN; infinite where shapes are
    others."""
    if rows.shape != others.shape:
        return np.inf
    off = np.abs(rows.astype(np.float64) - others.astype(np.float64))
    return float((off / _span(whole.astype(np.float64))).max(initial=0))


def _span(whole: NDArray[np.float64]) -> Any:
    if not whole.size:
        return 1.0
    span = float(np.ptp(whole))
    if whole.ndim != 2:
        return span or 1.0
    least = min(_LEAST, span) or 1.0
    return np.maximum(np.maximum(np.ptp(whole, axis=0), _OF_SIZE * np.abs(whole).max(axis=0)), least)
