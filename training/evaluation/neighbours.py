"""Precision, recall, density and coverage: samples within reach of their k nearest neighbours of the other kind.

Precision and recall: Kynkaanniemi et al. 2019, Improved Precision and Recall Metric, equations 1 and 2. Density and
coverage: Naeem et al. 2020, Reliable Fidelity and Diversity Metrics, equations 3 and 4, with their k of 5. A sample's
reach is the distance to its k-th nearest other sample of its own kind.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.evaluation.resampling import Floats

K = 5
_AT_ONCE = 1_000  # rows


class Within(NamedTuple):
    """What precision, recall, density and coverage are means of.

    Attributes:
        precise: bool [M], of each fake: whether it is within reach of any real.
        dense: float64 [M], of each fake: reals that it is within reach of, over k.
        recalled: bool [N], of each real: whether it is within reach of any fake.
        covered: bool [N], of each real: whether any fake is within its reach.
    """

    precise: NDArray[np.bool_]
    dense: Floats
    recalled: NDArray[np.bool_]
    covered: NDArray[np.bool_]


def reaches(features: Floats, k: int = K) -> Floats:
    """Squared distance float64 [N] of each of features [N, d] to its k-th nearest other row, of at least two."""
    columns = torch.from_numpy(features)
    found = [
        # The nearest of all is the row itself.
        squared_distances(part, columns).topk(min(k + 1, len(features)), largest=False).values[:, -1]
        for part in torch.split(columns, _AT_ONCE)
    ]
    return torch.cat(found).numpy()


def within_reach(real: Floats, fake: Floats, real_reaches: Floats, fake_reaches: Floats, k: int = K) -> Within:
    """Who is within whose reach, of features [N, d] and [M, d] with squared reaches [N] and [M]."""
    reals, of_real = torch.from_numpy(real), torch.from_numpy(real_reaches)
    recalled = torch.zeros(len(real), dtype=torch.bool)
    covered = torch.zeros(len(real), dtype=torch.bool)
    counts = []
    for part, own in zip(
        torch.split(torch.from_numpy(fake), _AT_ONCE),
        torch.split(torch.from_numpy(fake_reaches), _AT_ONCE),
        strict=True,
    ):
        distances = squared_distances(part, reals)
        inside = distances < of_real
        counts.append(inside.sum(dim=1))
        covered |= inside.any(dim=0)
        recalled |= (distances < own[:, None]).any(dim=0)
    count = torch.cat(counts).numpy()
    return Within(count > 0, count / k, recalled.numpy(), covered.numpy())


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """[n, d] and [m, d] to [n, m]."""
    distances = torch.addmm((second**2).sum(dim=1)[None, :], first, second.T, alpha=-2)
    return distances.add_((first**2).sum(dim=1)[:, None]).clamp_(min=0)
