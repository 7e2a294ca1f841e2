"""What is measured of a run's samples once a tick, beside what its steps report."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import pdist
from torch import Tensor

LIMIT = 200  # reals of a label that are looked at, at the most: 20,000 pairs
ROUNDING = 1e-6  # of features of float32, as a share of their norm


def some_of_each(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows, int64, of the first LIMIT of each of the labels int64 [N]."""
    return np.concatenate([np.flatnonzero(labels == label)[:LIMIT] for label in np.unique(labels)])


def spread(samples: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean Euclidean distance between two samples of one label, averaged over labels.

    Args:
        samples: float32 [N, ...].
        labels: int64 [N].

    Returns:
        A distance in the samples' own unit; NaN where no label has two samples.
    """
    of_label = [samples[labels == label] for label in np.unique(labels)]
    means = [pdist(some.reshape(len(some), -1)).mean() for some in of_label if len(some) > 1]
    return float(np.mean(means)) if means else math.nan


def diversity(samples: NDArray[np.float32], labels: NDArray[np.int64], real_spread: float) -> float:
    """The samples' spread over that of reals: 0 when every label has collapsed into one sample, about 1 when healthy.

    NaN where reals have no spread to be compared with. Few samples do: the expectation does not depend on their number.
    """
    return spread(samples, labels) / real_spread if real_spread > 0 else math.nan


def effective_rank(features: Tensor) -> float:
    """How many directions features [N, d] vary in, from 1 to d: the exponential of the entropy of the shares that the
    singular values of the centred features have in their sum (Roy & Vetterli 2007, definition 1); 0 where none do."""
    features = features.double()
    centred = features - features.mean(0)
    values = torch.linalg.eigvalsh(centred.T @ centred).clamp(min=0).sqrt()
    values = values[values > ROUNDING * features.norm()]
    shares = values / values.sum()
    return float(torch.exp(-(shares * shares.log()).sum())) if len(shares) else 0.0
