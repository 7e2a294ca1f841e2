"""A signal's distribution as equal-mass bins, and the bins of many values at once.

A value x is mapped through the reference's distribution, u = F(x), so that without drift each of the BINS bins gets
the same share for every model, signal and unit. Where F jumps (a signal with atoms, such as a saturated share of
exactly 0), u is drawn uniformly from the jump, which keeps the shares exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 20

_SLOTS = 32  # of a row of the table: a power of two over BINS, for a search of a fixed number of steps
_STEPS = (16, 8, 4, 2, 1)
_ROUNDING = 1e-6  # of the largest edge: what two machines, or float32 and float64, make of the same atom
_LEAST_GAP = 1e-3  # of the gap between edges, which rounding may not blur
_PARTS = ("edges", "below", "at_most")

Floats = NDArray[np.float64]
Bins = NDArray[np.int64]


@dataclass(frozen=True)
class Distribution:
    """A signal's distribution F, known at m <= BINS - 1 different values (the quantiles at i / BINS), ascending.

    `edges`, `below` = P(x < edge) and `at_most` = P(x <= edge) are float64 [m]; `samples` is how many it is from.
    """

    edges: Floats
    below: Floats
    at_most: Floats
    samples: int = 0

    @classmethod
    def of(cls, values: Floats) -> Distribution:
        """Measured on reference values float64 [n], all finite."""
        ordered = np.sort(values)
        cuts = np.arange(1, BINS) * len(ordered) // BINS
        edges = np.unique(ordered[cuts])
        return cls(
            edges,
            np.searchsorted(ordered, edges, side="left") / len(ordered),
            np.searchsorted(ordered, edges, side="right") / len(ordered),
            len(ordered),
        )

    def bins(self, values: Floats, generator: np.random.Generator) -> Bins:
        """The bin of each value, int64 [n] in 0 .. BINS - 1; -1 where it is not finite."""
        return BinTable([self]).bins(values, np.zeros(len(values), np.int64), generator)


def distributions_to_arrays(distributions: Sequence[Distribution]) -> dict[str, Any]:
    """What `distributions_from_arrays` takes."""
    arrays = {"samples": np.array([each.samples for each in distributions], np.int64)}
    for part in _PARTS:  # NaN fills up what a distribution with atoms has fewer of
        filled = np.full((len(distributions), BINS - 1), np.nan)
        for row, each in zip(filled, distributions, strict=True):
            row[: len(each.edges)] = getattr(each, part)
        arrays[part] = filled
    return arrays


def distributions_from_arrays(arrays: Mapping[str, NDArray[Any]], count: int) -> list[Distribution]:
    """Raises KeyError and ValueError where the arrays are not those of so many distributions."""
    parts = [arrays[part].astype(np.float64) for part in _PARTS]
    samples = arrays["samples"]
    if any(part.shape != (count, BINS - 1) for part in parts) or samples.shape != (count,):
        raise ValueError(f"{count} distributions of shape {parts[0].shape}")
    found = []
    for *rows, n in zip(*parts, samples.tolist(), strict=True):
        known = np.isfinite(rows[0])
        if not known[0] or any((np.isfinite(row) != known).any() for row in rows) or not known[: known.sum()].all():
            raise ValueError("a distribution without edges")
        edges, below, at_most = (row[known] for row in rows)
        found.append(Distribution(edges, below, at_most, n))
    return found


class BinTable:
    """Several distributions side by side, so that values of any mixture of them are binned in one go."""

    def __init__(self, distributions: Sequence[Distribution]) -> None:
        size = (len(distributions), _SLOTS)
        edges, below, before = np.full(size, np.inf), np.ones(size), np.zeros(size)
        at_most, slack = np.ones(size), np.zeros(size)
        for row, each in enumerate(distributions):
            m = len(each.edges)
            edges[row, :m] = each.edges
            below[row, :m] = each.below
            at_most[row, :m] = each.at_most
            before[row, 1 : m + 1] = each.at_most
            blur = _ROUNDING * np.abs(each.edges).max()
            slack[row] = min(blur, _LEAST_GAP * np.diff(each.edges).min(initial=np.inf))
        self._edges, self._below, self._at_most, self._before, self._slack = (
            part.ravel() for part in (edges, below, at_most, before, slack)
        )

    def bins(self, values: Floats, which: Bins, generator: np.random.Generator) -> Bins:
        """The bin of each value under the distribution of that index, int64 of the shape of both; -1 where the value
        is not finite or the index is negative."""
        counted = np.isfinite(values) & (which >= 0)
        place = np.where(counted, which, 0) * _SLOTS
        slack = self._slack[place]
        least = values - slack
        for step in _STEPS:  # to the first edge >= x, or less than that by a rounding
            place += step * (self._edges[place + (step - 1)] < least)
        on_edge = self._edges[place] <= values + slack
        below = self._below[place]
        low = np.where(on_edge, below, self._before[place])
        high = np.where(on_edge, self._at_most[place], below)
        u = low + generator.random(values.shape) * (high - low)
        return np.where(counted, np.minimum((u * BINS).astype(np.int64), BINS - 1), -1)
