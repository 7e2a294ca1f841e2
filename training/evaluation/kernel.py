"""Kernel distance of many samples: blocks of the kernel are added up as they are made."""

import numpy as np
import torch

from latentserve.training.evaluation.resampling import Floats, Measured, Resampling

_AT_ONCE = 100  # rows: their kernel with 10,000 others stays near the processor


class Within:
    """Sums of the kernel between blocks of one set of features [N, d], each row's own value left out."""

    def __init__(self, features: Floats, resampling: Resampling) -> None:
        self.sums = block_sums(features, features, resampling, resampling)
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


def kernel_distance(real: Within, fake: Within, between: Floats) -> Measured:
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


def block_sums(first: Floats, second: Floats, of_first: Resampling, of_second: Resampling) -> Floats:
    """Sums of (x.y / d + 1)^3 over blocks of features [N, d] and [M, d], float64 [G, H]."""
    y = torch.from_numpy(second).T.contiguous()
    rows = []
    for start in range(0, len(first), _AT_ONCE):
        kernel = (torch.from_numpy(first[start : start + _AT_ONCE]) @ y).div_(first.shape[1]).add_(1)
        cubed = (kernel * kernel).mul_(kernel).numpy()
        rows.append(np.add.reduceat(cubed, of_second.starts, axis=1))
    return of_first.block_sums(np.concatenate(rows))
