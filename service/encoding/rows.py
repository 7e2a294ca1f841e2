"""Rows as documents take them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

SampleArray = NDArray[np.float32] | NDArray[np.uint8]  # as they are, or 8-bit images already
Labels = NDArray[np.int64]
Conditions = NDArray[np.float32]
Numbers = NDArray[np.int64]
Scores = NDArray[np.float32]
Values = TypeVar("Values", bound=NDArray[Any])

PART_NUMBERS = 1 << 14  # that are written at a time


def in_parts(samples: Values) -> Iterator[Values]:
    """Samples [n, ...], as many at a time as hold few numbers, at least one."""
    rows = max(1, PART_NUMBERS // max(1, math.prod(samples.shape[1:])))
    for start in range(0, len(samples), rows):
        yield cast("Values", samples[start : start + rows])


class Rows(NamedTuple):
    """Samples [n, *shape], and what is known of each.

    `labels` int64 [n] or None, `conditions` float32 [n, k] or None. `numbers` int64 [n]: which row of its seed each is;
    None: they follow one another. `scores` float32 [n], where rows were chosen by them.
    """

    samples: SampleArray
    labels: Labels | None = None
    conditions: Conditions | None = None
    numbers: Numbers | None = None
    scores: Scores | None = None

    def in_parts(self) -> Iterator[Rows]:
        """As many at a time as hold few numbers."""
        start = 0
        for samples in in_parts(self.samples):
            stop = start + len(samples)
            yield self.take(slice(start, stop))
            start = stop

    def take(self, some: slice) -> Rows:
        """Some of them."""
        found: list[Any] = [None if values is None else values[some] for values in self]
        return Rows(*found)

    @staticmethod
    def join(parts: Sequence[Rows]) -> Rows:
        """All of them, in order; one part at least."""
        if len(parts) == 1:
            return parts[0]
        fields: list[Any] = [
            None if values[0] is None else np.concatenate(values) for values in zip(*parts, strict=True)
        ]
        return Rows(*fields)
