"""Distances that see features by their mean and covariance: Frechet and Mahalanobis."""

from typing import NamedTuple

import numpy as np

from training.evaluation.resampling import Floats, Measured, Resampling

WIDEST = 256  # features, of which covariances can be resampled in seconds
_RANK = 1e-10  # of the largest variance: what varies less is a constant


class Moments(NamedTuple):
    """Mean float64 [d] and unbiased covariance float64 [d, d]."""

    mean: Floats
    covariance: Floats

    @classmethod
    def of(cls, features: Floats) -> "Moments":
        """Of features [N, d], N at least 2."""
        return cls(features.mean(axis=0), np.cov(features, rowvar=False).reshape(features.shape[1], -1))

    @classmethod
    def drawn(cls, features: Floats, resampling: Resampling) -> list["Moments"]:
        """In each draw."""
        centre = features.mean(axis=0)
        centred = features - centre
        width = features.shape[1]
        ends = [*resampling.starts[1:].tolist(), len(features)]
        outer = np.stack(
            [(part := centred[start:end]).T @ part for start, end in zip(resampling.starts, ends, strict=True)]
        )
        count = resampling.weights @ resampling.sizes
        means = resampling.weights @ resampling.block_sums(centred) / count[:, None]
        squares = (resampling.weights @ outer.reshape(len(outer), -1)).reshape(-1, width, width)
        return [
            cls(centre + mean, (square - n * np.outer(mean, mean)) / (n - 1))
            for mean, square, n in zip(means, squares, count, strict=True)
        ]


def frechet_distance(first: Moments, second: Moments) -> float:
    """|m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2) (Heusel et al. 2017, GANs Trained by a Two Time-Scale Update
    Rule, equation 6), the squared Wasserstein-2 distance of Gaussians with these moments.

    The trace of the root is that of (S1^(1/2) S2 S1^(1/2))^(1/2), which is symmetric: real and finite even where a
    covariance is singular.
    """
    root = _root(first.covariance)
    product = np.linalg.eigvalsh(root @ second.covariance @ root)
    away = ((first.mean - second.mean) ** 2).sum()
    spread = np.trace(first.covariance) + np.trace(second.covariance)
    return float(max(away + spread - 2 * np.sqrt(product.clip(0)).sum(), 0.0))


def mahalanobis_distance(real: Moments, fake: Moments) -> float:
    """((m - m_r)' S_r^-1 (m - m_r))^(1/2): how far the fakes' mean is from the reals', in their standard deviations
    (Mahalanobis 1936). Directions in which reals do not vary are left out."""
    values, vectors = np.linalg.eigh(real.covariance)
    kept = values > _RANK * max(values[-1], 0)
    along = (fake.mean - real.mean) @ vectors[:, kept]
    return float(np.sqrt((along**2 / values[kept]).sum()))


def moment_distances(
    real: Floats, fake: Floats, chances: tuple[Resampling, Resampling] | None
) -> tuple[Measured, Measured]:
    """Frechet and Mahalanobis distance of features [N, d] and [M, d], resampled if they are no wider than 256."""
    of_real, of_fake = Moments.of(real), Moments.of(fake)
    frechet, mahalanobis = frechet_distance(of_real, of_fake), mahalanobis_distance(of_real, of_fake)
    if chances is None or real.shape[1] > WIDEST:
        return Measured(frechet), Measured(mahalanobis)
    pairs = list(zip(Moments.drawn(real, chances[0]), Moments.drawn(fake, chances[1]), strict=True))
    return (
        Measured(frechet, np.array([frechet_distance(*pair) for pair in pairs])),
        Measured(mahalanobis, np.array([mahalanobis_distance(*pair) for pair in pairs])),
    )


def _root(covariance: Floats) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    root: Floats = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    return root
