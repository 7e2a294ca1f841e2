"""How a table's row is shown to networks: mode-specific normalisation of numbers, one-hot categories.

A number is a place relative to one mode of its column, a = (x - mean) / std, and which mode, as one-hot (Xu et al.
2019, Modeling Tabular Data using Conditional GAN, section 4.2); a missing one is at 0 of a mode of its own. Four
things differ from the paper: the mode is the likeliest one, not a drawn one, so that a row has one code and a critic
can be asked about it; a is not clipped, so that decoding gives the row back, and not divided by 4, so that places
differ as much as categories; and a value that is a twentieth of a column or more (the 0 of most incomes from capital)
is a mode of its own, which a mixture would smear.
"""

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture

from latentserve.service.bundle import Column

MODES = 10  # of a mixture at the most
LEAST_WEIGHT = 0.005  # of a mixture's mode
FREQUENT = 0.05  # share of a column from which one value is a mode of its own

_FITTED_TO = 10_000  # rows at the most, chosen at random
_CONCENTRATION = 1e-3  # of the Dirichlet prior on weights: unneeded modes die out
_POINT = 1e-6  # standard deviation of a frequent value's mode, in the column's
_LEAST_STD = 1e-30  # float32 holds it and its inverse


@dataclass(frozen=True)
class Coding:
    """One column's.

    Attributes:
        categories: their number; 0: the column is of numbers, and the rest is theirs.
        means, stds, weights: of the modes: frequent values first, then those of the mixture.
        points: how many of the modes are frequent values.
        low, high: least and largest value, within which decoded ones are kept.
        decimals: that decoded values are rounded to; None: they are not.
        missing: the number that stands for a missing value; None: none is missing.
    """

    categories: int = 0
    means: list[float] = field(default_factory=list)
    stds: list[float] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    points: int = 0
    low: float = 0.0
    high: float = 0.0
    decimals: int | None = None
    missing: float | None = None

    @property
    def choices(self) -> int:
        """Width of the one-hot part: categories, or modes and whether the value is missing."""
        return self.categories or len(self.means) + (self.missing is not None)

    @property
    def width(self) -> int:
        """Width of the whole code."""
        return self.choices + (self.categories == 0)


@dataclass(frozen=True)
class TableTransform:
    """The codes of all columns, one after the other: of a number `a`, then its mode; of a category, which it is."""

    codings: tuple[Coding, ...]

    @classmethod
    def fit(cls, rows: NDArray[np.float32], columns: Sequence[Column]) -> "TableTransform":
        """Fit to rows [N, columns] of values, places in categories, and `missing`. The same rows give the same."""
        return cls(tuple(_fit(rows[:, at], column) for at, column in enumerate(columns)))

    @property
    def width(self) -> int:
        """Width D of a coded row."""
        return sum(coding.width for coding in self.codings)

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Where the one-hot parts are in a coded row: [start, stop). What is in none of them is an `a`."""
        spans, start = [], 0
        for coding in self.codings:
            stop = start + coding.width
            spans.append((stop - coding.choices, stop))
            start = stop
        return spans

    def chosen(self, rows: NDArray[np.float32]) -> NDArray[np.int64]:
        """Which entry of each one-hot part is on, int64 [N, columns], for rows [N, columns]."""
        return np.stack([_chosen(rows[:, at], coding) for at, coding in enumerate(self.codings)], axis=1)

    def shares(self, rows: NDArray[np.float32], labels: NDArray[np.int64], kinds: int) -> list[list[float]]:
        """For each of the kinds of labels, how often each entry of the one-hot parts is on in its rows: those of all
        columns, on end. A label without rows has the shares of all rows."""
        parts = []
        for coding, chosen in zip(self.codings, self.chosen(rows).T, strict=True):
            counts = np.bincount(labels * coding.choices + chosen, minlength=kinds * coding.choices)
            counts = counts.reshape(kinds, coding.choices)
            counts = np.where(counts.sum(axis=1, keepdims=True) > 0, counts, counts.sum(axis=0))
            parts.append(counts / counts.sum(axis=1, keepdims=True))
        listed: list[list[float]] = np.concatenate(parts, axis=1).tolist()
        return listed

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values that `from_json` makes a transform of."""
        return [asdict(coding) for coding in self.codings]

    @classmethod
    def from_json(cls, values: list[dict[str, Any]]) -> "TableTransform":
        """What `to_json` gave."""
        return cls(tuple(Coding(**coding) for coding in values))


def _fit(values: NDArray[np.float32], column: Column) -> Coding:
    if column.categories is not None:
        return Coding(categories=len(column.categories))
    present = values if column.missing is None else values[values != np.float32(column.missing)]
    means, stds, weights, points = _modes(present.astype(np.float64))
    low, high = float(present.min()), float(present.max())
    return Coding(0, means, stds, weights, points, low, high, column.decimals, column.missing)


def _modes(values: NDArray[np.float64]) -> tuple[list[float], list[float], list[float], int]:
    """Means, standard deviations and weights of the modes, numbers that float32 holds, and how many are values."""
    spread = float(values.std())
    known, counts = np.unique(values, return_counts=True)
    frequent = counts >= FREQUENT * len(values)
    means, weights = known[frequent], counts[frequent] / len(values)
    stds = np.full(len(means), _POINT * spread)
    rest = values[~np.isin(values, means)]
    if len(rest):
        more = _mixture(rest)
        means, stds = np.concatenate([means, more[0]]), np.concatenate([stds, more[1]])
        weights = np.concatenate([weights, more[2] * len(rest) / len(values)])
    parts = (np.asarray(part, np.float32).tolist() for part in (means, np.maximum(stds, _LEAST_STD), weights))
    return (*parts, int(frequent.sum()))


def _mixture(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Means, standard deviations and weights of a mixture of as many Gaussians as the values need."""
    centre, spread = values.mean(), values.std()
    if len(values) > _FITTED_TO:
        values = np.random.default_rng(0).choice(values, _FITTED_TO, replace=False)
    if len(values) < MODES or spread == 0:
        return np.array([centre]), np.array([spread or max(abs(centre), 1.0)]), np.ones(1)
    mixture = BayesianGaussianMixture(
        n_components=MODES,
        init_params="k-means++",
        weight_concentration_prior=_CONCENTRATION,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # any mixture is a transform
        mixture.fit(((values - centre) / spread)[:, None])
    kept = np.flatnonzero(mixture.weights_ >= LEAST_WEIGHT)
    weights = mixture.weights_[kept]
    stds = np.sqrt(mixture.covariances_[kept, 0, 0]) * spread
    return mixture.means_[kept, 0] * spread + centre, stds, weights / weights.sum()


def _chosen(values: NDArray[np.float32], coding: Coding) -> NDArray[np.int64]:
    """As `latentserve.training.networks.samples` has it, for one column."""
    if coding.categories:
        return values.astype(np.int64)
    means, stds, weights = (np.array(part) for part in (coding.means, coding.stds, coding.weights))
    away = (values.astype(np.float64)[:, None] - means) / stds
    mode = (np.log(weights / stds) - away**2 / 2).argmax(axis=1)
    return mode if coding.missing is None else np.where(values == np.float32(coding.missing), len(means), mode)
