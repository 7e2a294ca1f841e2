"""Distances and shares between features of real samples and of generated ones, each with its bootstrap draws.

Frechet (Heusel et al. 2017), kernel (Binkowski et al. 2018), Mahalanobis and Wasserstein-1 distances; precision, recall
(Kynkaanniemi et al. 2019, equations 1 and 2), density and coverage (Naeem et al. 2020, equations 3 and 4, with their k
of 5) by the k nearest neighbours. A sample's *reach* is the distance to its k-th nearest other sample of its own kind.

*Holes* are our own: the share of reals without a generated sample where there are k = 50 real ones, or a twentieth of
all. Chance leaves none, exp(-50) of them; what is left out is a group of its own, which coverage cannot tell from bad
luck.

Features are float64 [N, d]. Everything is made in blocks of rows, so that memory does not grow with N squared.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from latentserve.service.packing.fidelity import Moments, frechet
from latentserve.training.evaluation.resampling import Floats, Measured, Resampling

WIDEST = 256  # features, of which covariances can be resampled in seconds
K = 5
WIDE = 50  # neighbours; of few reals a twentieth
DIRECTIONS = 32
MOST_COLUMNS = 64  # beyond, those of a mean over columns are chosen at random
_RANK = 1e-10  # of the largest variance: what varies less is a constant
_AT_ONCE = 100  # rows: their kernel with 10,000 others stays near the processor


# Means and covariances


def moment_distances(
    real: Floats, fake: Floats, chances: tuple[Resampling, Resampling] | None
) -> tuple[Measured, Measured]:
    """Frechet and Mahalanobis distance of features [N, d] and [M, d], resampled if they are no wider than 256."""
    of_real, of_fake = Moments.of(real), Moments.of(fake)
    distance, away = frechet(of_real, of_fake), mahalanobis_distance(of_real, of_fake)
    if chances is None or real.shape[1] > WIDEST:
        return Measured(distance), Measured(away)
    pairs = list(zip(_drawn_moments(real, chances[0]), _drawn_moments(fake, chances[1]), strict=True))
    return (
        Measured(distance, np.array([frechet(*pair) for pair in pairs])),
        Measured(away, np.array([mahalanobis_distance(*pair) for pair in pairs])),
    )


def mahalanobis_distance(real: Moments, fake: Moments) -> float:
    """((m - m_r)' S_r^-1 (m - m_r))^(1/2): how far the fakes' mean is from the reals', in their standard deviations
    (Mahalanobis 1936). Directions in which reals do not vary are left out."""
    away = fake.mean - real.mean
    inverse = np.linalg.pinv(real.covariance, rcond=_RANK, hermitian=True)
    return float(np.sqrt(np.maximum(away @ inverse @ away, 0)))


def _drawn_moments(features: Floats, resampling: Resampling) -> list[Moments]:
    """Of features [N, d], in each draw."""
    centre = features.mean(axis=0)
    centred = features - centre
    width = features.shape[1]
    outer = np.stack([(part := centred[rows]).T @ part for rows in resampling.blocks])
    count = resampling.weights @ resampling.sizes
    means = resampling.weights @ resampling.block_sums(centred) / count[:, None]
    squares = (resampling.weights @ outer.reshape(len(outer), -1)).reshape(-1, width, width)
    return [
        Moments(centre + mean, (square - n * np.outer(mean, mean)) / (n - 1))
        for mean, square, n in zip(means, squares, count, strict=True)
    ]


# Kernel


class WithinKernel:
    """Sums of the kernel between blocks of one set of features [N, d], each row's own value left out."""

    def __init__(self, features: Floats, resampling: Resampling) -> None:
        self.sums = kernel_sums(features, features, resampling, resampling)
        itself = ((features**2).sum(axis=1) / features.shape[1] + 1) ** 3
        self.own = resampling.block_sums(itself)
        self.resampling = resampling

    def means(self, weights: Floats) -> Floats:
        """Mean of the kernel over pairs of different rows, [draws], for weights [draws, G] of blocks; two copies
        of one row are no pair."""
        sizes = self.resampling.sizes
        total = np.einsum("ig,gh,ih->i", weights, self.sums, weights, optimize=True) - weights**2 @ self.own
        means: Floats = total / ((weights @ sizes) ** 2 - weights**2 @ sizes)
        return means


def kernel_distance(real: WithinKernel, fake: WithinKernel, between: Floats) -> Measured:
    """The unbiased squared MMD with the kernel (x.y / d + 1)^3 (Binkowski et al. 2018, Demystifying MMD GANs, section
    4; Gretton et al. 2012, equation 3), over all rows instead of the mean over subsets.

    `between` float64 [G, H] holds the sums of the kernel between blocks of reals and of fakes.
    """

    def distances(a: Floats, b: Floats) -> Floats:
        across = np.einsum("ig,gh,ih->i", a, between, b, optimize=True)
        count = (a @ real.resampling.sizes) * (b @ fake.resampling.sizes)
        return real.means(a) + fake.means(b) - 2 * across / count

    once = distances(np.ones((1, len(real.own))), np.ones((1, len(fake.own))))
    return Measured(float(once[0]), distances(real.resampling.weights, fake.resampling.weights))


def kernel_sums(first: Floats, second: Floats, of_first: Resampling, of_second: Resampling) -> Floats:
    """Sums of (x.y / d + 1)^3 over blocks of features [N, d] and [M, d], float64 [G, H]."""
    y = torch.from_numpy(second).T.contiguous()
    rows = []
    for start in range(0, len(first), _AT_ONCE):
        # Two products instead of a power, which would take most of the time.
        kernel = (torch.from_numpy(first[start : start + _AT_ONCE]) @ y).div_(first.shape[1]).add_(1)
        cubed = (kernel * kernel).mul_(kernel).numpy()
        rows.append(np.add.reduceat(cubed, of_second.starts, axis=1))
    return of_first.block_sums(np.concatenate(rows))


# Nearest neighbours


class WithinReach(NamedTuple):
    """Who is within whose reach, by blocks of the others, in which these are resampled.

    Attributes:
        reals: int32 [M, G], of each fake: reals of each block that it is within reach of.
        recalled: bool [H, N], of each real: whether it is within reach of a fake of each block.
        covered: bool [H, N], of each real: whether a fake of each block is within its reach.
        near: bool [H, N], the same of its wide reach.
    """

    reals: NDArray[np.int32]
    recalled: NDArray[np.bool_]
    covered: NDArray[np.bool_]
    near: NDArray[np.bool_]

    def measured(self, of_real: Resampling, of_fake: Resampling, k: int = K) -> dict[str, Measured]:
        """All of them, resampled over reals and fakes; reaches stay as they are."""
        by_reals = self.reals.T
        near = _share(self.near, of_fake, of_real)
        return {
            "precision": _share(by_reals > 0, of_real, of_fake),
            "recall": _share(self.recalled, of_fake, of_real),
            "density": _mean(by_reals / k, of_real, of_fake),
            "coverage": _share(self.covered, of_fake, of_real),
            "holes": Measured(1 - near.value, None if near.drawn is None else 1 - near.drawn),
        }


def reaches(features: Floats, *ks: int) -> Floats:
    """Squared distances float64 [len(ks), N] of each of features [N, d] to its k-th nearest other row, of at least
    two rows; K unless told otherwise."""
    nearest = [min(k, len(features) - 1) for k in ks or (K,)]
    distances, _ = NearestNeighbors(n_neighbors=max(nearest), algorithm="brute").fit(features).kneighbors()
    squared: Floats = distances.T[[k - 1 for k in nearest]] ** 2
    return squared


def real_reaches(features: Floats) -> Floats:
    """Of reals [N, d]: the reach, and the wide one, [2, N]."""
    return reaches(features, K, max(K, min(WIDE, len(features) // 20)))


def within_reach(
    real: Floats,
    fake: Floats,
    reaches_of_real: Floats,
    reaches_of_fake: Floats,
    of_real: Resampling,
    of_fake: Resampling,
) -> WithinReach:
    """Of features [N, d] and [M, d] with squared reaches [2, N], of reals both, and [1, M], and the blocks that either
    is resampled in."""
    reals, (narrow, wide) = torch.from_numpy(real), torch.from_numpy(reaches_of_real)
    counts, recalled, covered, near = [], [], [], []
    for rows in of_fake.blocks:
        distances = squared_distances(torch.from_numpy(fake[rows]), reals)
        inside = distances < narrow
        counts.append(np.add.reduceat(inside.numpy(), of_real.starts, axis=1, dtype=np.int32))
        covered.append(inside.any(dim=0).numpy())
        near.append((distances.amin(dim=0) <= wide).numpy())
        recalled.append((distances < torch.from_numpy(reaches_of_fake[0, rows, None])).any(dim=0).numpy())
    return WithinReach(np.concatenate(counts), np.stack(recalled), np.stack(covered), np.stack(near))


def _share(by_block: NDArray[np.bool_], blocks: Resampling, rows: Resampling) -> Measured:
    """Share of rows [M] for which it is so with any block, of truths [G, M]; in a draw, with any block drawn."""
    value = float(by_block.any(axis=0).mean())
    hits = (blocks.weights > 0).astype(np.float32) @ by_block.astype(np.float32) > 0
    per_row = rows.per_row
    return Measured(value, (hits * per_row).sum(axis=1) / per_row.sum(axis=1))


def _mean(by_block: Floats, blocks: Resampling, rows: Resampling) -> Measured:
    """Mean over rows of sums over blocks, of values [G, M]; in a draw, of blocks as often as they are drawn."""
    means = (blocks.weights @ rows.block_sums(by_block.T).T * rows.weights).sum(axis=1) / (rows.weights @ rows.sizes)
    return Measured(float(by_block.sum(axis=0).mean()), means)


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """[n, d] and [m, d] to [n, m]."""
    distances = torch.addmm((second**2).sum(dim=1)[None, :], first, second.T, alpha=-2)
    return distances.add_((first**2).sum(dim=1)[:, None]).clamp_(min=0)


# Wasserstein


def directions(width: int) -> Floats:
    """Random unit vectors float64 [width, DIRECTIONS], always the same for a width: of the sliced distance (Rabin et
    al. 2012, Bonneel et al. 2015)."""
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
