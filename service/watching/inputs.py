"""Latents that clients send: whether they could have been drawn from the prior, and whether they repeat."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtr, ndtr, ndtri

from latentserve.service.bundle import Latent

INPUT_NORM, INPUT_MEAN = "input_norm", "input_mean"
INPUTS = (INPUT_NORM, INPUT_MEAN)

_WINDOW = 65_536  # latents that are remembered
_EDGE = 1e-9  # a latent so far out in the tail of the prior's norm is nobody's draw
_LEAST_U = 2.0**-53


def input_signals(z: NDArray[np.float32], latent: Latent) -> dict[str, NDArray[np.float64]]:
    """Signals of latents float32 [n, dim], each float64 [n], uniform on (0, 1) if they are drawn from the prior.

    input_norm: F(|z|^2), F the chi-square distribution with dim degrees of freedom; it moves with the spread of the
    latents, and with truncation. input_mean: Phi(sqrt(dim) mean(z)). A uniform prior's are made normal first.
    """
    normal = z.astype(np.float64)
    if latent.prior == "uniform":
        normal = ndtri(np.clip((normal + 1) / 2, _LEAST_U, 1 - _LEAST_U))
    return {
        INPUT_NORM: chdtr(latent.dim, np.square(normal).sum(axis=1)),
        INPUT_MEAN: ndtr(np.sqrt(latent.dim) * normal.mean(axis=1)),
    }


def implausible(norms: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which latents, by their `input_norm`, a generator cannot be blamed for: bool [n]."""
    return (norms < _EDGE) | (norms > 1 - _EDGE)


class Repeats:
    """Remembers latents, in a bounded window: the same latent gives the same sample, which is evidence only once."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._order: deque[int] = deque()

    def first(self, z: NDArray[np.float32], labels: NDArray[np.int64] | None) -> NDArray[np.bool_]:
        """Which rows are there for the first time, bool [n], of latents float32 [n, dim] and labels int64 [n]."""
        found = np.ones(len(z), np.bool_)
        for row, latent in enumerate(z):
            key = hash((latent.tobytes(), None if labels is None else int(labels[row])))
            if key in self._seen:
                found[row] = False
                continue
            self._seen.add(key)
            self._order.append(key)
            if len(self._order) > _WINDOW:
                self._seen.discard(self._order.popleft())
        return found
