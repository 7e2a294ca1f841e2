"""What samples are compared with reals by, once a tick: the Frechet distance in a fixed space, diversity, and rank."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import pdist
from sklearn.decomposition import PCA
from torch import Tensor

from latentserve.service.packing.fidelity import Moments, frechet
from latentserve.training.data.conditions import quantiles, ranks

COMPONENTS = 32  # principal ones, at the most
ROWS_A_COMPONENT = 8  # so that a covariance of them is no accident
SPLITS = 16  # of reals, for the floor: in a few dimensions a single one is an accident, too
FEW = 64  # dimensions; in more, which many labels make, each split takes longer and is less of an accident
LIMIT = 200  # reals of a label that are looked at, at the most: 20,000 pairs
SPREAD = 1 << 26  # numbers of all reals whose spread is measured, at the most
ROUNDING = 1e-6  # of features of float32, as a share of their norm

Samples = NDArray[np.float32]
Labels = NDArray[np.int64]
Numbers = NDArray[np.float32] | None  # conditions [N, k]; None: there are none


class Space:
    """Principal components of some reals, what is left beyond them, the label, and the conditions.

    The distance from the components' plane tells blur and noise, which the components alone would not. Labels are
    joined one-hot, so that a sample of another class than was asked for counts, too ("On the Evaluation of Conditional
    GANs", DeVries et al. 2019, section 3: the Frechet joint distance), and conditions as ranks among the reals' of a
    total variance of 1; samples are brought to a total variance of 1, near that of the labels. All distances are in
    units of that variance.
    """

    def __init__(
        self, reals: Samples, labels: Labels, kinds: int, standardise: bool, conditions: Numbers = None
    ) -> None:
        """Of reals [M, ...] with labels [M] below `kinds`, 0 for none; `standardise`: numbers have their own units."""
        flat = reals.reshape(len(reals), -1)
        # In double precision, in which a number that is always the same has no deviation.
        deviation = flat.std(axis=0, dtype=np.float64) if standardise else np.ones(flat.shape[1])
        self._scale = np.where(deviation > 0, deviation, 1).astype(np.float32)
        self._kinds = kinds
        self._quantiles = [] if conditions is None else [quantiles(column) for column in conditions.T]
        count = max(1, min(COMPONENTS, flat.shape[1], len(flat) // ROWS_A_COMPONENT))
        with np.errstate(invalid="ignore"):  # shares of a variance of 0, which nobody asks for
            self._components = PCA(count, random_state=0).fit(flat / self._scale)
        self._unit = 1.0
        spread = math.sqrt(self._seen(reals).var(axis=0, dtype=np.float64).sum())
        size = float(np.linalg.norm(flat / self._scale)) / math.sqrt(len(flat))
        self._unit = spread if spread > ROUNDING * size else 1.0
        self._reference = Moments.of(self.of(reals, labels, conditions))

    def distance(self, samples: Samples, labels: Labels, conditions: Numbers = None) -> float:
        """Frechet distance of samples [N, ...] and what they were asked for from the reals; NaN where a sample is not
        finite."""
        if not np.isfinite(samples).all():
            return math.nan
        return frechet(Moments.of(self.of(samples, labels, conditions)), self._reference)

    def floor(self, reals: Samples, labels: Labels, rows: int, conditions: Numbers = None) -> tuple[float, float]:
        """How far `rows` reals of those given, [M, ...], are from the others: mean and deviation over splits."""
        points = self.of(reals, labels, conditions)
        rng = np.random.default_rng(0)
        splits = max(2, min(SPLITS, SPLITS * FEW // points.shape[1]))
        orders = [rng.permutation(len(points)) for _ in range(splits)]
        halves = [(Moments.of(points[order[:rows]]), Moments.of(points[order[rows:]])) for order in orders]
        distances = [frechet(some, others) for some, others in halves]
        return float(np.mean(distances)), float(np.std(distances))

    def of(self, samples: Samples, labels: Labels, conditions: Numbers = None) -> NDArray[np.float64]:
        """Samples [N, ...] and what they were asked for as points float64 [N, d]."""
        parts = [self._seen(samples)]
        if self._kinds:
            parts.append(np.eye(self._kinds)[labels])
        if conditions is not None:
            parts.append(ranks(conditions, self._quantiles) * math.sqrt(12 / len(self._quantiles)))
        return np.concatenate(parts, axis=1)

    def _seen(self, samples: Samples) -> NDArray[np.float64]:
        flat = samples.reshape(len(samples), -1) / self._scale
        within = self._components.transform(flat)
        beyond = np.linalg.norm(flat - self._components.inverse_transform(within), axis=1, keepdims=True)
        seen: NDArray[np.float64] = np.concatenate([within, beyond], axis=1) / self._unit
        return seen


def some_of_each(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows, int64, of the first LIMIT of each of the labels int64 [N]."""
    return np.concatenate([np.flatnonzero(labels == label)[:LIMIT] for label in np.unique(labels)])


def reals_of_each(labels: NDArray[np.int64], numbers: int) -> list[NDArray[np.int64]]:
    """Rows, int64, of the first of each of the labels int64 [N], for samples of so many numbers: LIMIT of each; fewer,
    but two, where they would hold more than SPREAD numbers, and at last of fewer labels."""
    kinds = np.unique(labels)
    most = max(2, min(LIMIT, SPREAD // (len(kinds) * numbers)))
    looked_at = max(1, min(len(kinds), SPREAD // (most * numbers)))
    some = kinds[np.linspace(0, len(kinds) - 1, looked_at).round().astype(np.int64)]
    return [np.flatnonzero(labels == label)[:most] for label in some]


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
