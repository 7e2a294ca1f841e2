"""Our evidence over many streams at once: the arithmetic is the service's, only the streams stand side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.drift.detectors.run_lengths import NEVER, Integers
from latentserve.service.watching.evidence import accumulate, bin_bets, log_mean, tolerant
from latentserve.service.watching.joint_head import JointHead
from latentserve.service.watching.multivariate import JointEvidence
from latentserve.service.watching.reference import BINS, Distribution

Floats = NDArray[np.float64]


class Bets:
    """M of streams of `signals` signals each, with references of N rows."""

    def __init__(self, streams: int, signals: int, reference_rows: int) -> None:
        ratios, weights = bin_bets()
        safe = tolerant(ratios, np.full(BINS, 1 / BINS), reference_rows, len(ratios) * signals)
        self.safe = np.ascontiguousarray(safe.T)
        self._log_weights = np.log(weights / signals)
        self._log_m = np.full((streams, signals, len(weights)), -np.inf)

    def update(self, gains: Floats, rows: int) -> Floats:
        """Take log L float64 [streams, signals, bets] summed over rows; returns log M, float64 [streams]."""
        self._log_m = accumulate(self._log_m, np.log(rows), gains)
        summed = log_mean(self._log_m, self._log_weights)
        return summed[:, 0] if summed.shape[1] == 1 else np.asarray(np.logaddexp.reduce(summed, axis=1))


def first_alarms(bins: Integers, reference_rows: int, run_lengths: Sequence[float]) -> list[Integers]:
    """Of streams of bins int [streams, signals, rows], the row of the first alarm at each promised run length."""
    bets = Bets(bins.shape[0], bins.shape[1], reference_rows)
    return _first(lambda row: bets.update(bets.safe[bins[:, :, row]], 1), len(bins), bins.shape[2], 1, run_lengths)


def first_alarms_without_drift(
    masses: Floats, reference_rows: int, run_length: float, rows: int, block: int, rng: np.random.Generator
) -> Integers:
    """Of streams with these true masses float64 [streams, signals, BINS], in blocks of so many rows."""
    streams, signals, _ = masses.shape
    bets = Bets(streams, signals, reference_rows)
    cumulative = np.cumsum(masses, axis=2)[:, :, None, :-1]

    def step(_: int) -> Floats:
        drawn = (rng.random((streams, signals, block, 1)) > cumulative).sum(axis=3)
        return bets.update(bets.safe[drawn].sum(axis=2), block)

    return _first(step, streams, rows // block, block, [run_length])[0]


def first_joint_alarms(head: JointHead, vectors: Floats, run_lengths: Sequence[float], block: int) -> list[Integers]:
    """Of streams of vectors [streams, blocks, width], each the sum over `block` rows."""
    joint, rows = JointEvidence(head, len(vectors)), np.full(len(vectors), block)

    def step(index: int) -> Floats:
        return joint.update(vectors[:, index].astype(np.float64), rows)

    return _first(step, len(vectors), vectors.shape[1], block, run_lengths)


def bins_of(values: Floats, references: Sequence[Distribution], rng: np.random.Generator) -> Integers:
    """The bins of streams float64 [streams, rows], each by its own reference: int64 [streams, rows]."""
    return np.stack([reference.bins(row, rng) for reference, row in zip(references, values, strict=True)])


def true_masses(reference: Distribution, below: Floats, at_most: Floats) -> Floats:
    """The chance of each bin, float64 [BINS], of values with P(x < edge) and P(x <= edge) at the reference's edges.

    Values are spread evenly over the stretch of u that the reference gives to an edge, or to between two.
    """
    knots = np.stack([reference.below, reference.at_most], axis=1).ravel()
    chances = np.stack([below, at_most], axis=1).ravel()
    levels = np.interp(np.arange(BINS + 1) / BINS, [0.0, *knots, 1.0], [0.0, *chances, 1.0])
    return np.diff(levels)


def _first(
    step: Callable[[int], Floats], streams: int, steps: int, block: int, run_lengths: Sequence[float]
) -> list[Integers]:
    first = [np.full(streams, NEVER) for _ in run_lengths]
    for index in range(steps):
        value = step(index)
        for found, run_length in zip(first, run_lengths, strict=True):
            found[(value >= np.log(run_length)) & (found == NEVER)] = (index + 1) * block
        if all((found != NEVER).all() for found in first):
            break
    return first
