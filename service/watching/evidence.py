"""Sequential evidence that the output is no longer the reference's, with a run length that is promised, not tuned.

For every arm and signal, bets multiply up on the counts c of the equal-mass bins, block by block:

    M <- (rows + M) * exp(sum_b c_b * log L_b)

L is a likelihood ratio over the bins (a Gaussian signal that moved, or whose spread changed), made so small that its
mean under the reference is at most 1 (`tolerant`). Every row is a possible start of the drift and adds 1, so that the
mean of M never exceeds the rows seen: an alarm at M >= A comes, without drift, after A rows or more on average, for any
sizes and times of the blocks as long as these do not look at the content (an e-detector in the manner of
Shiryaev-Roberts: Shin, Ramdas, Rinaldo, arXiv 2203.03532). The same holds for averages of M, so one threshold does for
all bets, all signals, and the sum over the arms, each of which adds its own rows only. log M is linear in the counts:
increments summed over workers and replicas give the evidence that one process would have had.

There is no clock in it. Rows must be independent: a repeated latent counts once, or its rows are evidence many times.
"""

from __future__ import annotations

import json
import math
from statistics import NormalDist
from typing import Any

import numpy as np
import orjson
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr

from latentserve.service.watching.alarm import Alarm, kept, raised
from latentserve.service.watching.reference import BINS

Floats = NDArray[np.float64]

DOUBT = 0.01  # the share of references, at most, by whose own error a bet's mean exceeds 1

_SECONDS_A_DAY = 86_400
_WIDEST, _HALVINGS = 40.0, 60  # of the search for the worst masses
# In standard deviations of a Gaussian signal, with the relative weight of each direction. A smaller shift than the
# least is left to the tolerance; one between two of them costs at most a sixth of the growth.
_SHIFTS = {0.125: 1.0, 0.25: 2.0, 0.5: 2.0, 1.0: 2.0}
_SPREADS = {0.8: 1.0, 1.25: 1.0}


def run_length(rows_per_second: float, days: float = 30.0, detectors: int = 1) -> float:
    """The threshold A, in rows, for one false alarm in `days` at most at this rate of monitored rows.

    Of several detectors beside each other, each takes A for all of them: their average then has the promised one.
    """
    return rows_per_second * _SECONDS_A_DAY * days * detectors


def tolerance(reference_rows: ArrayLike, claims: int) -> Floats:
    """What the error of references of so many rows takes off a bet's mean, for each standard deviation that it has, to
    the first order: sqrt(2 log(claims / DOUBT) / N). See `tolerant`."""
    return np.sqrt(2 * _budget(reference_rows, claims))


def signal_tolerance(reference_rows: ArrayLike, cells: int) -> Floats:
    """The tolerance of the bets on each signal, float64 [signals], as `Evidence` has it of the same arguments."""
    return tolerance(reference_rows, _claims(np.size(reference_rows), cells))


def _budget(reference_rows: ArrayLike, claims: int) -> Floats:
    return np.asarray(math.log(claims / DOUBT) / np.asarray(reference_rows, np.float64), np.float64)


def _claims(signals: int, cells: int) -> int:
    """Every bet on every signal in every cell."""
    return len(bin_bets()[1]) * signals * cells


def tolerant(ratios: Floats, masses: Floats, reference_rows: float, claims: int) -> Floats:
    """The logarithm of likelihood ratios [bets, bins], made safe against the error of a reference of so many rows.

    Bins of mass m cut at the quantiles of N samples have in truth masses p that are Dirichlet(N m). Each ratio is
    divided by its largest mean sum_b p_b L_b over all p with N KL(m | p) <= log(claims / DOUBT). By Chernoff's bound
    (of which this is the dual, for p is a vector of gamma variables over their sum) the true mean is larger with a
    chance of DOUBT / claims at most, for a reference of any size: no normal approximation is in it. Over `claims` bets
    (signals, cells), DOUBT is a bound on the share of references by which any bet gains. Masses that were counted are
    not Dirichlet but multinomial, to which the same bound applies (Honda & Takemura 2010, An asymptotically optimal
    bandit algorithm for bounded support models, there KL_inf).

    The largest mean is at p_b ~ m_b / (t - L_b) for a t beyond the largest ratio, which is searched for.
    """
    budget, top = float(_budget(reference_rows, claims)), ratios.max(axis=1, keepdims=True)
    low, high = np.full_like(top, -_WIDEST), np.full_like(top, _WIDEST)  # of log(t - top)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        worst = masses / (top + np.exp(middle) - ratios)
        worst /= worst.sum(axis=1, keepdims=True)
        beyond = rel_entr(masses, worst).sum(axis=1, keepdims=True) > budget
        low, high = np.where(beyond, middle, low), np.where(beyond, high, middle)
    safe: Floats = np.log(ratios) - np.log((worst * ratios).sum(axis=1, keepdims=True))
    return safe


def accumulate(log_m: Floats, log_rows: ArrayLike, gains: ArrayLike) -> Floats:
    """M <- (rows + M) * exp(gains), on logarithms."""
    return np.asarray(np.logaddexp(log_m, log_rows) + np.asarray(gains), np.float64)


def log_mean(log_values: Floats, log_weights: Floats) -> Floats:
    """log sum_k weight_k * value_k over the last axis; -inf where every value is 0."""
    return np.asarray(np.logaddexp.reduce(log_values + log_weights, axis=-1), np.float64)


def bin_bets() -> tuple[Floats, Floats]:
    """Likelihood ratios [bets, BINS] of a Gaussian signal that moved or spread, and weights that sum to 1."""
    normal = NormalDist()
    edges = np.array([normal.inv_cdf(b / BINS) for b in range(1, BINS)])
    moved = [(NormalDist(sign * size, 1.0), weight) for size, weight in _SHIFTS.items() for sign in (1, -1)]
    spread = [(NormalDist(0.0, size), weight) for size, weight in _SPREADS.items()]
    ratios = [BINS * np.diff([0.0, *(after.cdf(float(edge)) for edge in edges), 1.0]) for after, _ in (*moved, *spread)]
    weights = np.array([weight for _, weight in (*moved, *spread)])
    return np.array(ratios), weights / weights.sum()


class Evidence:
    """The evidence of one model, over arms and signals.

    At the threshold the alarm is raised and the evidence starts again from nothing; the alarm stands, and is renewed
    each time the new evidence reaches the threshold, until that has not happened for long (see `alarm`).
    """

    def __init__(self, reference_rows: ArrayLike, arms: int, threshold: float, cells: int = 1) -> None:
        """`reference_rows` [signals]: the samples behind each signal's distribution, of its smallest cell (label,
        truncation) if it has one by `cells`. `threshold`: the run length promised, in rows of all arms together.

        Raises ValueError for a reference or a threshold of less than 1 row.
        """
        rows = np.asarray(reference_rows, np.float64)
        if rows.ndim != 1 or not rows.size or not (rows >= 1).all() or not threshold >= 1:
            raise ValueError(
                "evidence needs a reference of at least 1 row for each signal, and a threshold of 1 or more"
            )
        ratios, weights = bin_bets()
        masses = np.full(BINS, 1 / BINS)
        self._bets = np.stack([tolerant(ratios, masses, n, _claims(rows.size, cells)) for n in rows])
        self._log_weights = np.log(weights)
        self._log_threshold = float(np.log(threshold))
        self._layout: dict[str, Any] = {"reference_rows": rows.tolist(), "arms": arms, "cells": cells}
        self._shape = (arms, rows.size, len(ratios))
        self._totals = np.zeros((arms, rows.size, BINS)), np.zeros(arms)
        self._rows = 0
        self._alarm: Alarm | None = None
        self._log_m: Floats
        self._gain: Floats
        self._age: NDArray[np.int64]
        self._restart()

    @property
    def rows(self) -> int:
        """Rows of all arms so far."""
        return self._rows

    @property
    def alarm(self) -> Alarm | None:
        """The alarm that stands, if one does."""
        return self._alarm

    @property
    def log_value(self) -> float:
        """log of the model's M, to compare with the logarithm of the threshold; -inf before the first row."""
        return float(np.logaddexp.reduce(self.per_stream(), axis=None) - np.log(self._shape[1]))

    def per_stream(self) -> Floats:
        """log M of each stream, float64 [arms, signals]: which of them speak. The alarm is on `log_value`."""
        return log_mean(self._log_m, self._log_weights)

    def observe(self, totals: ArrayLike, rows: ArrayLike) -> None:
        """Take the state of counters that only grow: bins [arms, signals, BINS] and rows [arms], summed over workers.

        A counter that fell has started again. What it holds may be partly old, so that arm is only noted, and counts
        from there on; so is one that is not finite.
        """
        bins_now, rows_now = np.asarray(totals, np.float64), np.asarray(rows, np.float64)
        bins_then, rows_then = self._totals
        valid = np.isfinite(bins_now).all(axis=(1, 2)) & np.isfinite(rows_now)
        bins_now = np.where(valid[:, None, None], bins_now, bins_then)
        rows_now = np.where(valid, rows_now, rows_then)
        self._totals = bins_now, rows_now
        grew = (bins_now >= bins_then).all(axis=(1, 2)) & (rows_now >= rows_then)
        self.update(
            np.where(grew[:, None, None], bins_now - bins_then, 0.0).astype(np.int64),
            np.where(grew, rows_now - rows_then, 0.0).astype(np.int64),
        )

    def update(self, counts: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
        """Take a block: new counts int64 [arms, signals, BINS], and the rows int64 [arms] they come from.

        A signal may have seen fewer rows than its arm (the critic's does); one that saw none is left as it is.
        """
        if (counts < 0).any() or (rows < 0).any():
            raise ValueError("counts of a block cannot be negative")
        seen = np.any(counts, axis=2, keepdims=True)
        gains = np.einsum("asb,skb->ask", counts, self._bets)
        with np.errstate(divide="ignore"):
            log_rows = np.log(rows.astype(np.float64))[:, None, None]
        self._log_m = np.where(seen, accumulate(self._log_m, log_rows, gains), self._log_m)
        block = int(rows.sum())
        self._rows += block
        # The classical CUSUM of each bet, of which the last zero is the likeliest start of a drift.
        self._age = np.where(self._gain > 0, self._age, 0) + block
        self._gain = np.maximum(self._gain, 0.0) + gains
        self._judge()

    def to_json(self) -> str:
        """The state as text, for `restore`."""
        bins, rows = self._totals
        return write_state(
            layout=self._layout,
            rows=self._rows,
            log_m=np.maximum(self._log_m, LEAST),
            gain=self._gain,
            age=self._age,
            totals=[bins, rows],
            alarm=self._alarm,
        )

    def restore(self, text: str) -> bool:
        """Go on from a saved state. False, with nothing changed, if it is damaged or of another reference or layout.

        The threshold is not part of it: it may change between two runs.
        """
        try:
            state = json.loads(text)
            if state["layout"] != self._layout:
                return False
            rows, alarm = int(state["rows"]), Alarm(**state["alarm"]) if state["alarm"] else None
            log_m, gain, age = (read_state(state[name], self._shape) for name in ("log_m", "gain", "age"))
            totals = tuple(read_state(part, old.shape) for part, old in zip(state["totals"], self._totals, strict=True))
        except (ValueError, KeyError, TypeError):
            return False
        self._rows, self._alarm, self._age, self._gain = rows, alarm, age.astype(np.int64), gain
        self._log_m = np.where(log_m > LEAST, log_m, -np.inf)
        self._totals = totals[0], totals[1]
        return True

    def _restart(self) -> None:
        self._log_m = np.full(self._shape, -np.inf)
        self._gain = np.zeros(self._shape)
        self._age = np.zeros(self._shape, np.int64)

    def _judge(self) -> None:
        if self.log_value < self._log_threshold:
            self._alarm = kept(self._alarm, self._rows)
            return
        arm, signal, bet = np.unravel_index(np.argmax(self._log_m + self._log_weights), self._shape)
        began = self._rows - int(self._age[arm, signal, bet])
        self._alarm = raised(self._alarm, self._rows, began, int(arm), int(signal))
        self._restart()


LEAST = -1e300  # stands for the logarithm of nothing where a text cannot hold it


def write_state(**state: Any) -> str:
    """Numbers, arrays and an alarm as text."""
    return orjson.dumps(state, np.ndarray.tolist, orjson.OPT_SERIALIZE_NUMPY).decode()


def read_state(values: object, shape: tuple[int, ...]) -> Floats:
    """Finite numbers of this shape. Raises ValueError."""
    read = np.asarray(values, np.float64)
    if read.size == 0 and 0 in shape:
        read = read.reshape(shape)  # lists of nothing do not say how long it is
    if read.shape != shape or not np.isfinite(read).all():
        raise ValueError("malformed state")
    return read
