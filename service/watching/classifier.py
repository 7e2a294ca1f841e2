"""A small classifier: which label a sample looks like, by its features. Multinomial logistic regression."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # it loads `scipy.optimize` where that is named, which a server need not wait for
from numpy.typing import NDArray
from scipy.special import log_softmax

MOST_LABELS = 1_000  # with more, fitting takes longer than the reference itself

_HELD_OUT = 5  # every fifth row
_ROWS_PER_LABEL = 8  # fewer teach nothing
_PENALTY = 1e-3  # on half the squared weights, of standardised features
_ITERATIONS = 100
_ENOUGH = 1e-4  # of the loss, by which an iteration must lower it
_SECONDS = 15.0

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Classifier:
    """Logits W x + b of standardised features x.

    Attributes:
        weights: float64 [d, labels].
        bias: float64 [labels].
        accuracy: share of held-out rows whose own label has the largest logit.
        chance: the same of the best constant answer.
        rows: it was fitted on.
    """

    weights: Floats
    bias: Floats
    accuracy: float
    chance: float
    rows: int

    @classmethod
    def fit(cls, features: Floats, labels: Labels, count: int) -> Classifier | None:
        """Fitted by L-BFGS on standardised features float64 [n, d] and labels int64 [n] in 0 .. count - 1, a fifth of
        the rows held out; None where there are fewer than two labels, too many, or too few rows of them."""
        if not 2 <= count <= MOST_LABELS or len(features) < _ROWS_PER_LABEL * count:
            return None
        held = np.arange(len(features)) % _HELD_OUT == _HELD_OUT - 1
        x, y = features[~held], labels[~held]
        n, d = x.shape
        row = np.arange(n)
        deadline = time.monotonic() + _SECONDS

        def loss(flat: Floats) -> tuple[float, Floats]:
            """Mean cross-entropy with its gradient."""
            weights, bias = flat[: d * count].reshape(d, count), flat[d * count :]
            log_share = log_softmax(x @ weights + bias, axis=1)
            value = -log_share[row, y].mean() + _PENALTY / 2 * (weights**2).sum()
            residual = np.exp(log_share)
            residual[row, y] -= 1
            residual /= n
            gradient = x.T @ residual + _PENALTY * weights
            return float(value), np.concatenate([gradient.ravel(), residual.sum(axis=0)])

        def stop(intermediate_result: Any) -> None:
            if time.monotonic() > deadline:
                raise StopIteration

        start = np.zeros((d + 1) * count)
        options = {"maxiter": _ITERATIONS, "ftol": _ENOUGH}
        best = scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B", callback=stop, options=options).x
        weights, bias = best[: d * count].reshape(d, count), best[d * count :]
        guessed = (features[held] @ weights + bias).argmax(axis=1)
        accuracy = float((guessed == labels[held]).mean())
        chance = float(np.bincount(labels[held], minlength=count).max() / held.sum())
        return cls(weights, bias, accuracy, chance, n)

    @property
    def useful(self) -> bool:
        """Whether it is right often enough for its margin to mean something: twice as often as chance, or, where
        chance is right more often than not, in half of what chance gets wrong."""
        return self.accuracy >= min(2 * self.chance, (1 + self.chance) / 2)

    def margin(self, features: Floats, labels: Labels) -> Floats:
        """The logit of each row's asked label less the largest other, float64 [n]."""
        logits = self._logits(features)
        row = np.arange(len(labels))
        asked = logits[row, labels]
        logits[row, labels] = -np.inf
        return asked - logits.max(axis=1)

    def label(self, features: Floats) -> Labels:
        """The label that each row looks like, int64 [n]: the one with the largest logit."""
        return self._logits(features).argmax(axis=1).astype(np.int64, copy=False)

    def _logits(self, features: Floats) -> Floats:
        return features @ self.weights + self.bias

    def to_arrays(self) -> dict[str, Any]:
        """What `from_arrays` takes."""
        return {
            "weights": self.weights,
            "bias": self.bias,
            "accuracy": np.float64(self.accuracy),
            "chance": np.float64(self.chance),
            "rows": np.int64(self.rows),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], size: int) -> Classifier:
        """Raises KeyError and ValueError where the arrays are not such a classifier's, of `size` features."""
        weights, bias = arrays["weights"].astype(np.float64), arrays["bias"].astype(np.float64)
        if weights.shape != (size, len(bias)) or len(bias) < 2:
            raise ValueError(f"a classifier of shapes {weights.shape} and {bias.shape}")
        return cls(weights, bias, float(arrays["accuracy"]), float(arrays["chance"]), int(arrays["rows"]))
