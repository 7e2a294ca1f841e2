"""Which conditions are asked for, by bins, and evidence that they are asked for in another mix than their priors'."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentserve.service.bundle import Condition
from latentserve.service.sampling.latents import condition_at, condition_probability
from latentserve.service.watching.alarm import Alarm
from latentserve.service.watching.mix import MixEvidence

CONDITION_BINS = 10  # of equal mass under the prior, at the most

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class ConditionBins:
    """The bins of one condition: as likely as each other under its prior, unless some of its values are more likely
    than a bin by themselves.

    Attributes:
        edges: float32 [bins + 1], ascending: a bin holds its lower edge and not its upper one, the last one both.
        masses: float64 [bins], the probability of each under the prior.
    """

    def __init__(self, condition: Condition) -> None:
        self._condition = condition
        found = np.unique(condition_at(condition, np.linspace(0, 1, CONDITION_BINS + 1)))
        self.edges = found if len(found) > 1 else np.repeat(found, 2)
        # A value that is drawn is rounded to float32: those from half a step below an edge on reach it.
        inner = self.edges[1:-1]
        reached = (inner.astype(np.float64) + np.nextafter(inner, np.float32(-np.inf))) / 2
        self.masses = np.diff(condition_probability(condition, reached), prepend=0.0, append=1.0)

    def __len__(self) -> int:
        return len(self.masses)

    def of(self, values: NDArray[np.float32]) -> Integers:
        """The bin of each value, int64 [n]."""
        return np.searchsorted(self.edges[1:-1], values, side="right").astype(np.int64)

    @cached_property
    def names(self) -> list[str]:
        """Of each bin: from where to where."""
        for digits in (4, 9):
            edges = [f"{edge:.{digits}g}" for edge in self.edges.tolist()]
            if len(set(edges)) == len(edges):
                break
        return [f"{low} to {high}" for low, high in pairwise(edges)]

    @property
    def told(self) -> list[str]:
        """What a shift of the mix to each bin is called, and then what one away from each is."""
        unit = f" {self._condition.unit}" if self._condition.unit else ""
        ways = ("more often", "less often")
        return [f"{self._condition.name} of {name}{unit} {way}" for way in ways for name in self.names]


def condition_bins(conditions: Sequence[Condition] | None) -> list[ConditionBins]:
    """Of each condition."""
    return [ConditionBins(condition) for condition in conditions or ()]


class ConditionEvidence:
    """The evidence on all conditions of a model, each by itself, of rows that it was asked for in: each takes the
    threshold of all of them. Of the alarms that stand the one that was renewed most often is told."""

    def __init__(self, bins: Sequence[ConditionBins], threshold: float) -> None:
        """`threshold`: the run length promised, in rows."""
        self._bins = bins
        self._mixes = [MixEvidence(one.masses, threshold * len(bins)) if len(one) > 1 else None for one in bins]
        self.names = [name for one in bins for name in one.told]

    @property
    def log_value(self) -> float:
        """log M of the loudest, to compare with the logarithm of the threshold of all; -inf before the first row."""
        return max((mix.log_value for mix in self._mixes if mix), default=-math.inf) - math.log(len(self._mixes))

    @property
    def alarm(self) -> Alarm | None:
        """The alarm that stands, if one does; its `signal` is one of `names`."""
        found: Alarm | None = None
        first = 0
        for bins, mix in zip(self._bins, self._mixes, strict=True):
            if mix and mix.alarm and (found is None or mix.alarm.again > found.again):
                found = replace(mix.alarm, signal=first + len(bins) * mix.alarm.less + mix.alarm.signal)
            first += 2 * len(bins)
        return found

    def observe(self, totals: ArrayLike) -> None:
        """Take the state of counters that only grow: rows by the bin asked for, [conditions, CONDITION_BINS]."""
        for bins, mix, own in zip(self._bins, self._mixes, np.asarray(totals, np.float64), strict=True):
            if mix:
                mix.observe(own[: len(bins)])

    def to_json(self) -> str:
        """The state as text, for `restore`."""
        return json.dumps([mix.to_json() if mix else None for mix in self._mixes])

    def restore(self, text: str) -> bool:
        """Go on from a saved state; a condition whose part does not fit begins anew. Whether all of them fitted."""
        try:
            state = list(json.loads(text))
        except (ValueError, TypeError):
            return False
        if len(state) != len(self._mixes):
            return False
        restored = [mix.restore(str(own)) for mix, own in zip(self._mixes, state, strict=True) if mix]
        return all(restored)
