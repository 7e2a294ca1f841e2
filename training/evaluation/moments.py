"""Distances that see features by their mean and covariance: Frechet and Mahalanobis."""

import numpy as np

from latentserve.service.packing.fidelity import Moments, frechet
from latentserve.training.evaluation.resampling import Floats, Measured, Resampling

WIDEST = 256  # features, of which covariances can be resampled in seconds
_RANK = 1e-10  # of the largest variance: what varies less is a constant


def drawn_moments(features: Floats, resampling: Resampling) -> list[Moments]:
    """Of features [N, d], in each draw."""
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
        Moments(centre + mean, (square - n * np.outer(mean, mean)) / (n - 1))
        for mean, square, n in zip(means, squares, count, strict=True)
    ]


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
    distance, mahalanobis = frechet(of_real, of_fake), mahalanobis_distance(of_real, of_fake)
    if chances is None or real.shape[1] > WIDEST:
        return Measured(distance), Measured(mahalanobis)
    pairs = list(zip(drawn_moments(real, chances[0]), drawn_moments(fake, chances[1]), strict=True))
    return (
        Measured(distance, np.array([frechet(*pair) for pair in pairs])),
        Measured(mahalanobis, np.array([mahalanobis_distance(*pair) for pair in pairs])),
    )
