"""Wasserstein-1 distance along directions: of single columns, and sliced (Rabin et al. 2012, Bonneel et al. 2015)."""

import numpy as np
from numpy.typing import NDArray

from latentserve.training.evaluation.resampling import Floats, Measured, Resampling

DIRECTIONS = 32
MOST_COLUMNS = 64  # beyond, those of a mean over columns are chosen at random


def directions(width: int) -> Floats:
    """Random unit vectors float64 [width, DIRECTIONS], always the same for a width."""
    drawn = np.random.default_rng(0).standard_normal((width, DIRECTIONS))
    return drawn / np.linalg.norm(drawn, axis=0)


def some_columns(width: int) -> Floats:
    """Unit vectors along columns, float64 [width, at most MOST_COLUMNS]."""
    chosen = np.sort(np.random.default_rng(0).permutation(width)[:MOST_COLUMNS])
    return np.eye(width)[:, chosen]


def wasserstein_distance(real: Floats, fake: Floats, chances: tuple[Resampling, Resampling] | None) -> Measured:
    """Mean over columns of W1 = integral |F - G| between columns of [N, p] and [M, p]."""
    shares = None if chances is None else _shares(*chances)
    found = [_along(x, y, shares) for x, y in zip(real.T, fake.T, strict=True)]
    values = [each.value for each in found]
    drawn = [each.drawn for each in found if each.drawn is not None]
    return Measured(float(np.mean(values)), np.mean(drawn, axis=0) if drawn else None)


def _along(real: Floats, fake: Floats, shares: NDArray[np.float32] | None) -> Measured:
    """W1 of values [N] and [M], a sum over the gaps between neighbours of the merged order."""
    merged = np.concatenate([real, fake])
    order = np.argsort(merged, kind="stable")
    gaps = np.diff(merged[order])
    of_real = np.concatenate([np.full(len(real), 1 / len(real)), np.full(len(fake), -1 / len(fake))])
    value = float(np.abs(np.cumsum(of_real[order])[:-1]) @ gaps)
    if shares is None:
        return Measured(value)
    above = np.cumsum(shares[:, order], axis=1)[:, :-1]
    return Measured(value, (np.abs(above, out=above) @ gaps.astype(np.float32)).astype(np.float64))


def _shares(of_real: Resampling, of_fake: Resampling) -> NDArray[np.float32]:
    """What each real adds to F, and each fake to -G, in each draw: [DRAWS, N + M]. Single floats: six digits are enough
    to see how far draws lie apart."""
    shares = [each.per_row / each.per_row.sum(axis=1, keepdims=True) for each in (of_real, of_fake)]
    return np.concatenate([shares[0], -shares[1]], axis=1, dtype=np.float32)
