"""How far rows are from others, as a share of what they range over."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_OF_SIZE = 0.05  # of a number's own size: a number that hardly varies is judged by that
_LEAST = 0.01


def share_off(rows: NDArray[Any], others: NDArray[Any], whole: NDArray[Any]) -> float:
    """The largest difference of rows [n, ...] from others, as a share of the span of `whole`; of vectors and series,
    where a column of ages lies beside one of incomes, of each column's own. Of integers, of which rounding moves a few
    to the next, the mean of a row. NaN where there are NaN; infinite where shapes are others."""
    if rows.shape != others.shape:
        return np.inf
    off = np.abs(rows.astype(np.float64) - others.astype(np.float64)) / _span(whole.astype(np.float64))
    if rows.dtype.kind in "iub" and off.size:
        off = off.reshape(len(off), -1).mean(axis=1)
    return float(off.max(initial=0))


def _span(whole: NDArray[np.float64]) -> Any:
    if not whole.size:
        return 1.0
    span = float(np.ptp(whole))
    if whole.ndim not in (2, 3):
        return span or 1.0
    # A series [n, steps, columns] or [n, columns, steps] has fewer columns than steps.
    along = (0, 1 if whole.shape[1] >= whole.shape[2] else 2) if whole.ndim == 3 else 0
    least = min(_LEAST, span) or 1.0
    widest = np.maximum(
        np.ptp(whole, axis=along, keepdims=True), _OF_SIZE * np.abs(whole).max(axis=along, keepdims=True)
    )
    return np.maximum(widest, least)
