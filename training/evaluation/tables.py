"""Tables, column by column and pair by pair: total variation between histograms.

Categories are compared as they are, numbers in ten bins of equal mass; what SDMetrics calls TVComplement and
ContingencySimilarity is 1 minus these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from latentserve.service.bundle import Column
from latentserve.training.evaluation.resampling import Floats, Measured, Resampling
from latentserve.training.evaluation.views import Samples

BINS = 10
MOST_KINDS = 20  # of a column; rarer categories are one kind
MOST_COLUMNS = 40  # in pairs; beyond, they are chosen at random

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class ColumnRow:
    """One column, or a pair.

    Attributes:
        name: of the column, or of both.
        difference: total variation distance between generated and real histograms.
        floor: between held-out real and real ones.
        wasserstein: of a column of numbers, in its own unit.
    """

    name: str
    difference: float
    floor: float
    wasserstein: float | None = None

    def to_json(self) -> dict[str, Any]:
        """What report.json says of it."""
        return {"name": self.name, "value": self.difference, "floor": self.floor, "wasserstein": self.wasserstein}


class TableBaseline:
    """Real rows [N, columns] of either part, and their bins."""

    def __init__(
        self, columns: list[Column], reference: Samples, held: Samples, chances: tuple[Resampling, Resampling]
    ) -> None:
        self._columns, self._reference, self._chances = columns, reference, chances
        self._bins = [_bins(reference[:, at], column) for at, column in enumerate(columns)]
        self._real, self._held = self._codes(reference), self._codes(held)
        chosen = np.sort(np.random.default_rng(0).permutation(len(columns))[:MOST_COLUMNS])
        self._pairs = list(combinations(chosen.tolist(), 2))

    def columns(self, rows: Samples) -> tuple[Measured, float, list[ColumnRow]]:
        """Mean over columns of what generated rows [N, columns] differ by, of what held-out real rows do, and each."""
        found = self._compare([(at,) for at in range(len(self._columns))], self._codes(rows))
        distances = [self._wasserstein(at, rows[:, at]) for at in range(len(self._columns))]
        return self._summary(found, [column.name for column in self._columns], distances)

    def pairs(self, rows: Samples) -> tuple[Measured, float, list[ColumnRow]]:
        """The same over pairs of columns."""
        found = self._compare(self._pairs, self._codes(rows))
        names = [" and ".join(self._columns[at].name for at in pair) for pair in self._pairs]
        return self._summary(found, names, [None] * len(names))

    def _summary(
        self, found: list[tuple[Measured, float]], names: list[str], distances: list[float | None]
    ) -> tuple[Measured, float, list[ColumnRow]]:
        drawn = np.mean([measured.drawn for measured, _ in found if measured.drawn is not None], axis=0)
        values = [measured.value for measured, _ in found]
        rows = [
            ColumnRow(name, measured.value, floor, distance)
            for name, (measured, floor), distance in zip(names, found, distances, strict=True)
        ]
        return Measured(float(np.mean(values)), drawn), float(np.mean([floor for _, floor in found])), rows

    def _compare(self, groups: Sequence[tuple[int, ...]], fake: list[Codes]) -> list[tuple[Measured, float]]:
        results = []
        for group in groups:
            real, held, made = (_joint([codes[at] for at in group]) for codes in (self._real, self._held, fake))
            kinds = MOST_KINDS ** len(group)
            value = _total_variation(*(np.bincount(codes, minlength=kinds)[None] for codes in (real, made)))[0]
            floor = _total_variation(*(np.bincount(codes, minlength=kinds)[None] for codes in (real, held)))[0]
            counts = (_drawn(of, each, kinds) for of, each in zip(self._chances, (real, made), strict=True))
            results.append((Measured(float(value), _total_variation(*counts)), float(floor)))
        return results

    def _codes(self, rows: Samples) -> list[Codes]:
        return [
            _code(rows[:, at], column, bins)
            for at, (column, bins) in enumerate(zip(self._columns, self._bins, strict=True))
        ]

    def _wasserstein(self, at: int, values: Samples) -> float | None:
        column = self._columns[at]
        if column.categories is not None:
            return None
        real, made = (
            of if column.missing is None else of[of != np.float32(column.missing)]
            for of in (self._reference[:, at], values)
        )
        return float(wasserstein_distance(real, made)) if len(real) and len(made) else None


def _bins(values: Samples, column: Column) -> Floats:
    """Of categories, those with a kind of their own, the most frequent first; of numbers, inner edges of bins."""
    if column.categories is not None:
        counts = np.bincount(np.rint(values).astype(np.int64), minlength=len(column.categories))
        return np.argsort(-counts, kind="stable")[: MOST_KINDS - 1].astype(np.float64)
    present = values if column.missing is None else values[values != np.float32(column.missing)]
    return np.unique(np.quantile(present, np.arange(1, BINS) / BINS)) if len(present) else np.zeros(0)


def _code(values: Samples, column: Column, bins: Floats) -> Codes:
    """Kinds int64 [n] below MOST_KINDS."""
    if column.categories is not None:
        place = np.full(max(len(column.categories), 1), MOST_KINDS - 1)
        place[bins.astype(np.int64)] = np.arange(len(bins))
        return place[np.rint(values).astype(np.int64).clip(0, len(place) - 1)]
    codes = np.searchsorted(bins, values, side="right")
    return codes if column.missing is None else np.where(values == np.float32(column.missing), BINS, codes)


def _joint(codes: list[Codes]) -> Codes:
    joint = np.zeros_like(codes[0])
    for each in codes:
        joint = joint * MOST_KINDS + each
    return joint


def _drawn(resampling: Resampling, codes: Codes, kinds: int) -> Floats:
    """Counts in each draw, float64 [DRAWS, kinds]."""
    block = np.repeat(np.arange(len(resampling.starts)), resampling.sizes.astype(np.int64))
    counts = np.bincount(block * kinds + codes, minlength=len(resampling.starts) * kinds)
    drawn: Floats = resampling.weights @ counts.reshape(-1, kinds)
    return drawn


def _total_variation(first: NDArray[Any], second: NDArray[Any]) -> Floats:
    """Between the shares that counts [n, kinds] are, [n]."""
    shares = (counts / counts.sum(axis=1, keepdims=True) for counts in (first, second))
    distance: Floats = np.abs(next(shares) - next(shares)).sum(axis=1) / 2
    return distance
