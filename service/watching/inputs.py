"""Latents that clients send: whether they could have been drawn from the prior, and whether they repeat."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtr, ndtr, ndtri

from latentserve.service.bundle import Latent, LatentPart

INPUT_NORM, INPUT_MEAN = "input_norm", "input_mean"
INPUTS = (INPUT_NORM, INPUT_MEAN)

_WINDOW = 65_536  # latents that are remembered
_EDGE = 1e-9  # a latent so far out in the tail of the prior's norm is nobody's draw
_NOWHERE = 40.0  # deviations from the mean, of a number that its prior cannot give


def input_signals(z: NDArray[np.float32], latent: Latent) -> dict[str, NDArray[np.float64]]:
    """Signals of latents float32 [n, dim], or [n, width] without their noise, each float64 [n], uniform on (0, 1) if
    they are drawn from the prior. Each part is first made standard normal by its own prior, shift, scale and
    truncation.

    input_norm: F(|z|^2), F the chi-square distribution with as many degrees of freedom as there are columns; it moves
    with the spread of the latents, and with truncation. input_mean: Phi(sqrt(columns) mean(z)).
    """
    columns = z.shape[1]
    squares, total = np.zeros((2, len(z)))
    ends = np.cumsum([0, *(part.width for part in latent.pieces)])
    for part, (start, stop) in zip(latent.pieces, pairwise(ends.tolist()), strict=True):
        if start >= columns:
            break  # noise, which the server draws
        normal = _normal(part, z[:, start:stop])
        squares += np.square(normal).sum(axis=1)
        total += normal.sum(axis=1)
    return {INPUT_NORM: chdtr(columns, squares), INPUT_MEAN: ndtr(total / np.sqrt(columns))}


def _normal(part: LatentPart, z: NDArray[np.float32]) -> NDArray[np.float64]:
    """A part's columns float64 [n, width], standard normal if they are drawn from its prior; far out where its prior
    has no mass."""
    value = (z.astype(np.float64) - part.shift) / part.scale
    truncation = 1.0 if part.noise else part.truncation
    if part.prior == "normal" and truncation == 1:
        return value
    u = (ndtr(value) if part.prior == "normal" else (value + 1) / 2) - 0.5
    beyond = np.abs(u) / truncation - 0.5
    # What is no further beyond an end than a float32 there is rounded by lies within.
    rounding = float(np.spacing(np.float32(abs(part.shift) + part.scale))) / (2 * part.scale * truncation)
    inside = np.clip(0.5 + u / truncation, rounding, 1 - rounding)
    return np.where(beyond > rounding, np.copysign(_NOWHERE, u), ndtri(inside))


def implausible(norms: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which latents, by their `input_norm`, a generator cannot be blamed for: bool [n]."""
    return (norms < _EDGE) | (norms > 1 - _EDGE)


class Repeats:
    """Remembers what rows were made from, in a bounded window: the same latent gives the same sample, which is evidence
    only once."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._order: deque[int] = deque()

    def first(
        self,
        z: NDArray[np.float32],
        labels: NDArray[np.int64] | None = None,
        conditions: NDArray[np.float32] | None = None,
    ) -> NDArray[np.bool_]:
        """Which rows are there for the first time, bool [n], of latents float32 [n, dim], labels int64 [n] and the
        conditions that were asked for, float32 [n, k], NaN where one was not."""
        found = np.ones(len(z), np.bool_)
        for row, latent in enumerate(z):
            label = None if labels is None else int(labels[row])
            key = hash((latent.tobytes(), label, None if conditions is None else conditions[row].tobytes()))
            if key in self._seen:
                found[row] = False
                continue
            self._seen.add(key)
            self._order.append(key)
            if len(self._order) > _WINDOW:
                self._seen.discard(self._order.popleft())
        return found
