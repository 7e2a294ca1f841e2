"""Evidence that the features moved together, from sums over rows: what workers count adds up to what one would have.

A row is a vector (`joint_head`), of which only sums are needed. Three parts, each in the manner of `evidence`, of which
the mean is taken:

    mean     a likelihood ratio of the sum S of n rows, of variance v + (n t)^2 against v in every component, for a few
             sizes t of a shift in any direction; v = n (1 + n / N), as the mean of a reference of N rows has an error.
             As its covariance has one, too, y = |S|^2 / (N v) is no chi-square but the ratio of chi-squares with k and
             N - k degrees of freedom (Hotelling 1931, The generalization of Student's ratio), of density
             y^(k/2 - 1) (1 + y)^(-N/2) without drift; after it y / (1 + (n t)^2 / v) is
    norm     the bins of the row's norm before clipping, as those of any signal: spreads that changed
    cluster  how many rows fall into each cluster of the reference, and into unions of them: a mode lost or halved

The bets on norm and cluster keep the promise of `evidence` whatever the features are, with a reference of any size. The
one on the mean takes S for normal. That rests on the number of components, on the clipping (at the radius where the
square norm varies no more than a normal vector's, so that large sums are not more frequent) and on _MARGIN, and not on
a proof: over the directions of a generator's features, the worst has a variance proxy of 1.5 to 3.
benchmarks/drift/detection.py and benchmarks/drift/small_references.py measure what comes of it.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentserve.service.watching.alarm import Alarm, kept, raised
from latentserve.service.watching.evidence import (
    LEAST,
    Floats,
    accumulate,
    bin_bets,
    log_mean,
    read_state,
    tolerant,
    write_state,
)
from latentserve.service.watching.joint_head import JointHead
from latentserve.service.watching.reference import BINS

_SIZES = (0.25, 0.5, 1.0, 2.0)  # of the shift's norm, in standard deviations of one component
_MARGIN = 1.02  # on the variance of S
_LIFE = 32  # blocks for which a start of the lowest of the levels is kept; twice as many for each higher level
_LEVELS = 7
_LEFT = (0.02, 0.5)  # what is left of a cluster's mass, in a bet
_SHARES = (0.5, 0.25, 0.25)  # of the three parts


class JointEvidence:
    """M of streams side by side (arms, or repetitions in a simulation), each of its own summed vectors."""

    def __init__(self, head: JointHead, streams: int) -> None:
        self._components = head.size
        self._reference_rows = head.rows
        self._streams = streams
        ratios, weights = bin_bets()
        masses, least = np.full(BINS, 1 / BINS), min(norm.samples for norm in head.norms)
        self._norm_bets = tolerant(ratios, masses, least, len(ratios) * len(head.norms))
        self._norm_weights = np.log(weights)
        self._cluster_bets = _cluster_bets(head)
        parts = 1 if not head.measured else 3 if len(self._cluster_bets) else 2
        self._log_shares = np.log(np.array(_SHARES[:parts]) / sum(_SHARES[:parts]))
        self.restart()

    def restart(self) -> None:
        """Begin again from nothing."""
        none = self._streams, 0
        self.blocks = 0
        self.unspent = np.zeros(self._streams)
        self.ends = np.zeros(0, np.int64)
        self.sums = np.zeros((*none, self._components))
        self.rows = np.zeros(none)
        self.log_starts = np.zeros(none)
        self.log_norm = np.full((self._streams, len(self._norm_bets)), -np.inf)
        self.log_cluster = np.full((self._streams, len(self._cluster_bets)), -np.inf)

    def update(self, sums: Floats, rows: NDArray[np.int64]) -> Floats:
        """Take a block, sums float64 [streams, width] over rows int64 [streams]; returns log M, float64 [streams]."""
        split = self._components, self._components + BINS
        mean, norm, cluster = np.split(sums, split, axis=1)
        with np.errstate(divide="ignore"):
            log_rows = np.log(rows)[:, None]
        self.log_norm = accumulate(self.log_norm, log_rows, norm @ self._norm_bets.T)
        parts = [self._mean(mean, rows), log_mean(self.log_norm, self._norm_weights)]
        if len(self._cluster_bets):
            self.log_cluster = accumulate(self.log_cluster, log_rows, cluster @ self._cluster_bets.T)
            parts.append(_mean_of(self.log_cluster))
        return log_mean(np.stack(parts[: len(self._log_shares)], axis=1), self._log_shares)

    def _mean(self, sums: Floats, rows: NDArray[np.int64]) -> Floats:
        """log M of the mean, over starts. One in 2^level is kept for 2^level times as long and weighs so much more, as
        far as the rows seen allow; starts differ little from their neighbours once they are old."""
        self.blocks += 1
        level = min((self.blocks & -self.blocks).bit_length() - 1, _LEVELS - 1)
        weights = np.minimum(rows * (2 ** (level + 1) / (_LEVELS + 1)), self.unspent + rows)
        self.unspent = self.unspent + rows - weights
        alive = self.ends > self.blocks
        self.ends = np.append(self.ends[alive], self.blocks + (_LIFE << level))
        new = np.zeros((self._streams, 1, self._components))
        self.sums = np.concatenate([self.sums[:, alive], new], axis=1) + sums[:, None]
        self.rows = np.concatenate([self.rows[:, alive], new[:, :, 0]], axis=1) + rows[:, None]
        with np.errstate(divide="ignore"):
            self.log_starts = np.concatenate([self.log_starts[:, alive], np.log(weights)[:, None]], axis=1)
        k, reference = self._components, self._reference_rows
        variance = _MARGIN * self.rows * (1 + self.rows / reference)
        variance = np.where(self.rows > 0, variance, 1.0)
        squares = np.square(self.sums).sum(axis=2) / variance / reference
        logs = []
        for size in _SIZES:
            ratio = (self.rows * size) ** 2 / k / variance
            bet = reference / 2 * (np.log1p(squares) - np.log1p(squares / (1 + ratio))) - k / 2 * np.log1p(ratio)
            logs.append(log_mean(bet, self.log_starts))
        return _mean_of(np.stack(logs, axis=1))


class MultivariateEvidence:
    """The joint evidence of one model, summed over arms, with its alarm (see `alarm`)."""

    def __init__(self, head: JointHead, arms: int, threshold: float) -> None:
        """`threshold`: the run length promised, in rows of all arms together. Raises ValueError below 1 row."""
        if not threshold >= 1:
            raise ValueError("evidence needs a threshold of 1 row or more")
        self._joint = JointEvidence(head, arms)
        self._log_threshold = float(np.log(threshold))
        self._layout: dict[str, Any] = {"reference_rows": head.rows, "arms": arms, "width": head.width}
        self._per_arm: Floats
        self._totals = np.zeros((arms, head.width)), np.zeros(arms)
        self.rows = 0
        self._restart()
        self.alarm: Alarm | None = None

    @property
    def log_value(self) -> float:
        """log of the model's M, to compare with the logarithm of the threshold; -inf before the first row."""
        return float(np.logaddexp.reduce(self._per_arm))

    def observe(self, totals: ArrayLike, rows: ArrayLike) -> None:
        """Take the state of sums [arms, width] and counters [arms] over all rows, of all workers; an arm whose counter
        fell, or that is not finite, is only noted."""
        sums_now, rows_now = np.asarray(totals, np.float64), np.asarray(rows, np.float64)
        sums_then, rows_then = self._totals
        valid = np.isfinite(sums_now).all(axis=1) & np.isfinite(rows_now)
        self._totals = np.where(valid[:, None], sums_now, sums_then), np.where(valid, rows_now, rows_then)
        new = self._totals[1] - rows_then
        self.update(self._totals[0] - sums_then, np.maximum(new, 0))

    def update(self, sums: ArrayLike, rows: ArrayLike) -> None:
        """Take a block: the sum of new rows' vectors, float64 [arms, width], and their number, int64 [arms]. Arms whose
        sums are not finite are left out."""
        block, count = np.asarray(sums, np.float64), np.asarray(rows, np.int64)
        finite = np.isfinite(block).all(axis=1) & (count > 0)
        block, count = np.where(finite[:, None], block, 0.0), np.where(finite, count, 0)
        if not count.any():
            return
        self.rows += int(count.sum())
        self._per_arm = self._joint.update(block, count)
        if self.log_value < self._log_threshold / 2:
            self._half = self.rows
        if self.log_value < self._log_threshold:
            self.alarm = kept(self.alarm, self.rows)
            return
        # The first half of the evidence took about as long as the second.
        began = max(0, self.rows - 2 * max(self.rows - self._half, int(count.sum())))
        self.alarm = raised(self.alarm, self.rows, began, int(self._per_arm.argmax()))
        self._restart()

    def to_json(self) -> str:
        """The state as text, for `restore`."""
        joint = self._joint
        arrays = {name: np.maximum(getattr(joint, name), LEAST) for name in _STATE}
        counts = {"rows_seen": self.rows, "half": self._half, "blocks": joint.blocks}
        return write_state(layout=self._layout, totals=self._totals, alarm=self.alarm, **counts, **arrays)

    def restore(self, text: str) -> bool:
        """Go on from a saved state. False, with nothing changed, if it is damaged or of another head or layout."""
        joint = self._joint
        try:
            state = json.loads(text)
            if state["layout"] != self._layout:
                return False
            rows, half, blocks = (int(state[name]) for name in ("rows_seen", "half", "blocks"))
            alarm = Alarm(**state["alarm"]) if state["alarm"] else None
            starts = len(state["ends"])
            shapes = {name: getattr(joint, name).shape for name in _STATE} | {"ends": (starts,)}
            for name in ("sums", "rows", "log_starts"):
                shapes[name] = (shapes[name][0], starts, *shapes[name][2:])
            arrays = {name: read_state(state[name], shape) for name, shape in shapes.items()}
            sums, counted = (
                read_state(part, old.shape) for part, old in zip(state["totals"], self._totals, strict=True)
            )
        except (ValueError, KeyError, TypeError):
            return False
        for name, array in arrays.items():
            setattr(joint, name, np.where(array > LEAST, array, -np.inf))
        joint.ends, joint.blocks = arrays["ends"].astype(np.int64), blocks
        self.rows, self._half, self.alarm, self._totals = rows, half, alarm, (sums, counted)
        self._per_arm = np.full(joint.unspent.shape, -np.inf)
        return True

    def _restart(self) -> None:
        self._joint.restart()
        self._per_arm = np.full(self._joint.unspent.shape, -np.inf)
        self._half = self.rows


_STATE = ("unspent", "ends", "sums", "rows", "log_starts", "log_norm", "log_cluster")


def _mean_of(log_values: Floats) -> Floats:
    return log_mean(log_values, np.full(log_values.shape[-1], -np.log(log_values.shape[-1])))


def _cluster_bets(head: JointHead) -> Floats:
    """log likelihood ratios [bets, clusters] of a union that kept only a part of its mass."""
    if not len(head.unions):
        return np.zeros((0, len(head.shares)))
    inside = (head.unions @ head.shares)[:, None]
    ratios = [np.where(head.unions, left, (1 - left * inside) / (1 - inside)) for left in _LEFT]
    return tolerant(np.concatenate(ratios), head.shares, head.norms[0].samples, len(ratios) * len(head.unions))
