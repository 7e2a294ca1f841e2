"""Kernel distance between two sets of features, as KID takes it: how far real samples are from generated ones."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_RESAMPLINGS = 200
_QUANTILES = (0.025, 0.975)
_PERMUTATIONS = 1999
_AT_ONCE = 250  # permutations

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


def permutation_p(first: Floats, second: Floats) -> float:
    """The share of random divisions of all rows of [n, d] and [m, d] into n and m whose distance is not below that of
    these, itself among them: exactly uniform (in steps of 1/2000) where both come from one distribution, whatever it
    is (Phipson & Smyth 2010, Permutation p-values should never be zero).
    """
    rng = np.random.default_rng(0)
    rows = np.concatenate([first, second])
    kernel = _kernel(rows, rows)
    kernel -= kernel.mean()  # a constant cancels in the distance, and here leaves more digits to the rest
    np.fill_diagonal(kernel, 0)
    single = kernel.astype(np.float32)
    sums, total = kernel.sum(axis=1), float(kernel.sum())
    n, m = len(first), len(second)
    in_first = np.zeros((1, n + m), np.float32)
    in_first[:, :n] = 1
    found = [_divided(single, sums, total, in_first)]
    for start in range(0, _PERMUTATIONS, _AT_ONCE):
        divisions = np.repeat(in_first, min(_AT_ONCE, _PERMUTATIONS - start), axis=0)
        found.append(_divided(single, sums, total, rng.permuted(divisions, axis=1)))
    distances = np.concatenate(found)
    return float((distances >= distances[0]).mean())


def _divided(kernel: NDArray[np.float32], sums: Floats, total: float, in_first: NDArray[np.float32]) -> Floats:
    """The unbiased distance of each division, float64 [draws], from a kernel [N, N] of diagonal 0, the sums of its
    rows, and which rows are in the first part, 0 or 1 [draws, N]."""
    n = in_first.sum(axis=1, dtype=np.float64)
    m = len(kernel) - n
    within = _form(in_first, kernel, in_first).astype(np.float64)
    from_first = in_first.astype(np.float64) @ sums
    between = from_first - within
    distances: Floats = (
        within / (n * (n - 1)) + (total - 2 * from_first + within) / (m * (m - 1)) - 2 * between / (n * m)
    )
    return distances


def _resampled(n: int, rng: np.random.Generator) -> Floats:
    """How often each of n rows is drawn, float64 [_RESAMPLINGS, n]."""
    return rng.multinomial(n, np.full(n, 1 / n), _RESAMPLINGS).astype(np.float64)


def _form(a: NDArray[Any], matrix: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    return np.einsum("ij,ij->i", a @ matrix, b)


def _kernel(first: Floats, second: Floats) -> Floats:
    return (first @ second.T / first.shape[1] + 1) ** 3
