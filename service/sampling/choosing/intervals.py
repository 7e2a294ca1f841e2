"""Values as they are served -> the numbers of samples that they come from.

What a column serves of a number never falls where the number rises: all numbers that are served as values of a range
lie in a range of float32 themselves. Where it ends is found by trying, once; then a row costs two comparisons, and no
number has to become a value to be looked at.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Column, category_places, measured, shortest
from latentserve.service.sampling.pieces import Steps

_LARGEST = int(np.float32(np.finfo(np.float32).max).view(np.int32))  # its place among the finite numbers; 0 is zero's
_SIGN = np.int64(1 << 31)

Places = NDArray[np.int64]


class Intervals(NamedTuple):
    """Numbers from `lows` to `highs`, both among them: float32 [k], ascending, and none within another."""

    lows: NDArray[np.float32]
    highs: NDArray[np.float32]

    def hold(self, numbers: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which of the numbers lie in one of them; what is not finite does not."""
        if len(self.lows) == 1:
            return (numbers >= self.lows[0]) & (numbers <= self.highs[0])
        if not len(self.lows):
            return np.zeros(len(numbers), np.bool_)
        at = np.searchsorted(self.lows, numbers, side="right") - 1
        return (at >= 0) & (numbers <= self.highs[at])

    def take(self, some: slice) -> Intervals:
        """Some of them."""
        return Intervals(self.lows[some], self.highs[some])

    def within(self, other: Intervals) -> Intervals:
        """The parts of them that lie in another one, of which there is only one."""
        lows, highs = np.maximum(self.lows, other.lows[0]), np.minimum(self.highs, other.highs[0])
        there = lows <= highs
        return Intervals(lows[there], highs[there])


def numbers_of(column: Column, least: NDArray[np.float64], greatest: NDArray[np.float64]) -> Steps[Intervals]:
    """The numbers that a column serves as values from `least` to `greatest`, float64 [k] each: of a column with
    categories the places in them. Where there is no such value, a low end lies above its high one.
    """
    bounds = np.concatenate([least, greatest])
    beyond = np.arange(len(bounds)) >= len(least)  # a high end is the last number before those beyond it
    low, high = np.full(len(bounds), -_LARGEST), np.full(len(bounds), _LARGEST + 1)
    while (low < high).any():
        middle = (low + high) // 2
        served = _served(_number(np.minimum(middle, _LARGEST)), column)
        reached = np.where(beyond, served > bounds, served >= bounds) | (middle > _LARGEST)
        low, high = np.where(reached, low, middle + 1), np.where(reached, middle, high)
        yield
    lows, highs = low[: len(least)], low[len(least) :]
    none = lows > _LARGEST
    return Intervals(_number(np.where(none, _LARGEST, lows)), _number(np.where(none, -_LARGEST, highs - 1)))


def _served(numbers: NDArray[np.float32], column: Column) -> NDArray[np.float64] | Places:
    """What finite numbers are served as."""
    if column.categories is not None:
        return category_places(numbers, column)
    values: NDArray[np.float32] | NDArray[np.float64] = measured(numbers, column)
    return shortest(values) if values.dtype == np.float32 else values  # type: ignore[arg-type,return-value]


def _number(places: Places) -> NDArray[np.float32]:
    """The numbers at places among all finite ones."""
    return np.where(places < 0, _SIGN - places, places).astype(np.uint32).view(np.float32)
