"""The two-sided CUSUM of a signal of known mean and deviation that is told the size of the shift (Page 1954)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from benchmarks.drift.detectors.run_lengths import NEVER, Integers

_STATES = 300


def threshold(reference: float, run_length: float) -> float:
    """h of a two-sided CUSUM with reference value k and this mean run length: by bisection on the chain of Brook and
    Evans (1972, An approach to the probability distribution of CUSUM run length); each side has twice the length.

    The bracket is found from below, e^2 times the length a step: a chain of a length near 1e16 is singular to a
    computer."""
    low, high = 0.0, 0.5
    while _one_sided(reference, high) < 2 * run_length:
        low, high = high, high + 1 / reference
    for _ in range(30):
        middle = (low + high) / 2
        if _one_sided(reference, middle) < 2 * run_length:
            low = middle
        else:
            high = middle
    return high


def first_alarms(values: NDArray[np.float64], reference: float, limit: float) -> Integers:
    """Of streams float64 [streams, rows], the row of the first alarm, from 1; NEVER."""
    up, down = np.zeros(len(values)), np.zeros(len(values))
    first = np.full(len(values), NEVER)
    for row, column in enumerate(values.T, start=1):
        up = np.maximum(0, up + column - reference)
        down = np.maximum(0, down - column - reference)
        first = np.where((np.maximum(up, down) >= limit) & (first == NEVER), row, first)
    return first


def _one_sided(reference: float, limit: float) -> float:
    width = 2 * limit / (2 * _STATES - 1)
    states = np.arange(_STATES) * width
    steps = states[None, :] - states[:, None] + reference
    chances = ndtr(steps + width / 2) - ndtr(steps - width / 2)
    chances[:, 0] = ndtr(steps[:, 0] + width / 2)
    return float(np.linalg.solve(np.eye(_STATES) - chances, np.ones(_STATES))[0])
