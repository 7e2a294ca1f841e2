"""Whether samples are copies: how near the nearest training sample is, beside how near it is to unseen real samples."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata

from latentserve.training.data import Dataset
from latentserve.training.evaluation.distances import squared_distances
from latentserve.training.evaluation.resampling import Floats, Measured, Resampling, share
from latentserve.training.evaluation.views import Samples, View, at_once

ROWS = 1_000  # samples of each side that neighbours are looked for
MOST = 100_000  # training samples that they are looked for among
NEAR = 0.01  # share of held-out samples that are nearer than what is called a copy

_MOST = 10_000  # training rows at once


class Nearest(NamedTuple):
    """Of each sample: distance float64 [n], and row int64 [n], of the nearest training sample."""

    distance: Floats
    row: NDArray[np.int64]


def searched(train: Dataset) -> int:
    """How many training samples neighbours are looked for among."""
    return min(len(train), MOST)


def nearest(samples: Samples, train: Dataset, view: View, told: Callable[[int], None] = lambda _: None) -> Nearest:
    """The nearest training samples, by Euclidean distance of what the view shows, of samples [n, *shape]; it is told
    of how many more were looked at."""
    among = np.sort(np.random.default_rng(0).permutation(len(train))[: searched(train)])
    seen = torch.from_numpy(view.of(samples)).flatten(1)
    best = torch.full((len(seen),), torch.inf)
    rows = torch.zeros(len(seen), dtype=torch.int64)
    together = at_once(samples, _MOST)
    for start in range(0, len(among), together):
        part = torch.from_numpy(view.of(train.take(among[start : start + together]))).flatten(1)
        found, at = squared_distances(seen, part).min(dim=1)
        rows = torch.where(found < best, at + start, rows)
        best = torch.minimum(found, best)
        told(len(part))
    row = among[rows.numpy()]
    # Once more for the one that was found: of equal samples a difference of squares is rarely exactly 0.
    squares = []
    for start in range(0, len(row), together):
        found_ones = view.of(train.take(row[start : start + together]))
        away = found_ones.reshape(len(found_ones), -1) - seen.numpy()[start : start + together]
        squares.append((away.astype(np.float64) ** 2).sum(axis=1))
    return Nearest(np.sqrt(np.concatenate(squares)), row)


def memorisation(fake: Floats, held: Floats, chances: tuple[Resampling, Resampling] | None) -> Measured:
    """P(fake < held) + P(fake = held) / 2 over pairs of distances [n] and [m]: the Mann-Whitney statistic of the test
    for data-copying (Meehan et al. 2020, A Non-Parametric Test to Detect Data-Copying, section 3)."""
    ranks = rankdata(np.concatenate([held, fake]))
    n, m = len(held), len(fake)
    value = float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))
    if chances is None:
        return Measured(value)
    order = np.argsort(held)
    # Of each fake, the share of held-out samples that are farther; in each draw, means over both.
    above = 1 - (np.searchsorted(held[order], fake, "left") + np.searchsorted(held[order], fake, "right")) / (2 * n)
    below = (np.searchsorted(np.sort(fake), held, "left") + np.searchsorted(np.sort(fake), held, "right")) / (2 * m)
    # To first order (Hoeffding's projection) a draw moves by what both sides' means move.
    drawn = chances[1].means(above) + chances[0].means(below) - value
    return Measured(value, drawn)


def copies(fake: Floats, held: Floats, resampling: Resampling | None) -> tuple[Measured, float]:
    """Share of fakes not farther than the nearest hundredth of one half of the held-out samples, and of their other
    half."""
    near = float(np.quantile(held[::2], NEAR))
    close = fake <= near
    return share(close, resampling), float((held[1::2] <= near).mean())
