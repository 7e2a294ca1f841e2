"""What the numbers of a sample are expected to be, given the conditions it was made for.

An energy of 1 to 100 makes showers of 1 to 100: beside that, all else that could change in them is small, and a mode
that is lost would go unseen for long. So what conditions do by themselves is taken off before features are made of a
sample. It is fitted once, to rows that nothing else is measured on, and fixed from then on: however rough it is, the
reference and what is compared with it go through the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.polynomial.legendre import legvander
from numpy.typing import NDArray

from latentserve.service.bundle import Condition
from latentserve.service.sampling.latents import condition_probability

ROWS = 2048  # that it is fitted to

_LEAST = 10  # rows a term
_MOST_PAIRS = 8  # conditions whose products are terms, too
_ROUNDS = 3  # of weighted least squares
_DEGREE = 4
_FLOOR = 1e-3  # of a deviation over all conditions: what varies less is hardly known
_ROUNDING = 1e-5  # of a value: what varies less is rounding
_TINY = 1e-12

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GivenConditions:
    """Polynomials in the probabilities of the conditions under their priors.

    Attributes:
        mean: float64 [terms, d], of each number.
        deviation: float64 [terms, 1] or [terms, d], the logarithm of its standard deviation; one for all numbers that
            are on one scale.
        least: float64 [1] or [d], below which a deviation does not fall.
    """

    mean: Floats
    deviation: Floats
    least: Floats

    @classmethod
    def fit(
        cls, values: Floats, condition: NDArray[np.float32], conditions: Sequence[Condition], *, common: bool
    ) -> GivenConditions | None:
        """Fitted by least squares to values float64 [n, d] of rows of these conditions [n, k]; `common`: the numbers
        are on one scale. None where the rows are too few."""
        terms = _terms(condition, conditions)
        if len(values) < _LEAST * terms.shape[1] or not np.isfinite(values).all():
            return None
        weights = np.ones((len(values), 1))
        for _ in range(_ROUNDS):
            mean = _solved(terms * weights, values * weights)
            squares: Floats = np.square(values - terms @ mean)
            spread = squares.mean(axis=1, keepdims=True) if common else squares
            overall: Floats = spread.mean(axis=0)
            logs = np.log(spread + _TINY * (overall + _TINY)) / 2
            deviation = _solved(terms, logs)
            # A mean of logarithms is not the logarithm of a mean: brought to a mean square of 1.
            scaled = spread / np.exp(2 * terms @ deviation)
            deviation[0] += np.log(scaled.mean(axis=0) + _TINY) / 2
            # Where values are small, a small error of the mean is large: rows count by their deviations, as a whole.
            weights = 1 / np.exp((terms @ deviation).mean(axis=1, keepdims=True))
            weights /= weights.max()
        sizes = np.square(values).mean(axis=None if common else 0)
        least: Floats = np.maximum(_FLOOR * np.sqrt(overall), _ROUNDING * np.sqrt(sizes))
        least[least == 0] = 1
        return cls(mean, deviation, least)

    def standardised(
        self, values: Floats, condition: NDArray[np.float32] | None, conditions: Sequence[Condition]
    ) -> Floats:
        """Values float64 [n, d] less their expectation, over their deviation, given conditions float32 [n, k]; None:
        they are not known, and means over the priors are taken."""
        if condition is None:
            terms = np.zeros((1, len(self.mean)))
            terms[0, 0] = 1
        else:
            terms = _terms(condition, conditions)
        deviation = np.exp(np.clip(terms @ self.deviation, -50, 50))
        return np.asarray((values - terms @ self.mean) / np.maximum(deviation, self.least))

    def fits(self, inputs: int, conditions: int) -> bool:
        """Whether it is of so many numbers and conditions."""
        terms, d = self.mean.shape
        return terms == _count(conditions) and d == inputs

    def to_arrays(self) -> dict[str, Any]:
        """What `from_arrays` takes."""
        return {"given_mean": self.mean, "given_deviation": self.deviation, "given_least": self.least}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> GivenConditions | None:
        """None where the arrays hold none. Raises KeyError and ValueError: they are not such a one's."""
        if "given_mean" not in arrays:
            return None
        mean, deviation, least = (arrays[f"given_{name}"].astype(np.float64) for name in ("mean", "deviation", "least"))
        (terms, d), width = mean.shape, deviation.shape[-1]
        finite = all(np.isfinite(one).all() for one in (mean, deviation, least))
        if deviation.shape != (terms, width) or width not in (1, d) or least.shape != (width,) or not finite:
            raise ValueError(f"expectations of shapes {mean.shape}, {deviation.shape}, {least.shape}")
        if not (least > 0).all():
            raise ValueError("expectations of no deviation")
        return cls(mean, deviation, least)


def _solved(terms: Floats, values: Floats) -> Floats:
    return np.asarray(np.linalg.lstsq(terms, values, rcond=None)[0], np.float64)


def _terms(condition: NDArray[np.float32], conditions: Sequence[Condition]) -> Floats:
    """float64 [n, terms]: Legendre polynomials of each condition, whose means under a uniform
    distribution are 0, and products of two first ones."""
    columns = [
        condition_probability(one, own) for one, own in zip(conditions, condition.T.astype(np.float64), strict=True)
    ]
    found = [np.ones(len(condition))]
    first = [2 * u - 1 for u in columns]
    for t in first:
        found += list(legvander(t, _DEGREE).T[1:])
    if len(first) <= _MOST_PAIRS:
        found += [one * other for one, other in itertools.combinations(first, 2)]
    return np.stack(found, axis=1)


def _count(conditions: int) -> int:
    pairs = conditions * (conditions - 1) // 2 if conditions <= _MOST_PAIRS else 0
    return 1 + _DEGREE * conditions + pairs
