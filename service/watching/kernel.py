"""Kernel distance between two sets of features, as KID takes it: how far real samples are from generated ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_RESAMPLINGS = 200
_QUANTILES = (0.025, 0.975)

Floats = NDArray[np.float64]


class Distance(NamedTuple):
    """An unbiased squared kernel distance (near 0, and as often below it, for equal distributions) and its 95 %
    interval."""

    value: float
    low: float
    high: float


def kernel_distance(first: Floats, second: Floats) -> Distance:
    """MMD^2 between features float64 [n, d] and [m, d], n and m at least 2, with the kernel (x.y / d + 1)^3.

    The unbiased estimate (Gretton et al. 2012, A kernel two-sample test, eq. 3; Binkowski et al. 2018, Demystifying MMD
    GANs, section 4). The interval is a bootstrap's over rows, in which a row is never paired with its own copy.
    """
    rng = np.random.default_rng(0)
    within_first, within_second = _kernel(first, first), _kernel(second, second)
    np.fill_diagonal(within_first, 0)
    np.fill_diagonal(within_second, 0)
    between = _kernel(first, second)

    def distances(a: Floats, b: Floats) -> Floats:
        """For weights float64 [draws, n] and [draws, m] of the rows."""
        return (
            _form(a, within_first, a) / (a.sum(axis=1) ** 2 - (a**2).sum(axis=1))
            + _form(b, within_second, b) / (b.sum(axis=1) ** 2 - (b**2).sum(axis=1))
            - 2 * _form(a, between, b) / (a.sum(axis=1) * b.sum(axis=1))
        )

    value = float(distances(np.ones((1, len(first))), np.ones((1, len(second))))[0])
    drawn = distances(_resampled(len(first), rng), _resampled(len(second), rng))
    low, high = np.quantile(drawn, _QUANTILES)
    return Distance(value, float(low), float(high))


def _resampled(n: int, rng: np.random.Generator) -> Floats:
    """How often each of n rows is drawn, float64 [_RESAMPLINGS, n]."""
    return rng.multinomial(n, np.full(n, 1 / n), _RESAMPLINGS).astype(np.float64)


def _form(a: Floats, matrix: Floats, b: Floats) -> Floats:
    return np.einsum("ij,ij->i", a @ matrix, b)


def _kernel(first: Floats, second: Floats) -> Floats:
    return (first @ second.T / first.shape[1] + 1) ** 3
