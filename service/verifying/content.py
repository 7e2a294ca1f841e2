"""What is in a file, as it is compared: pictures, sounds, numbers, or values; and how far one content is from another.

A distance is 0 of equal contents and is told in parts of the full scale: the root of the mean squared difference of
pixels, of sound, of numbers; the share of a table's values that differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import get_sampling

Array = NDArray[Any]

_LEAST_PART = 0.5  # of a picture's sides, that a part of it has
_ROUNDING = 1e-6  # of a number, that programs lose of it
_FULL = {"u": 255.0, "i": 32768.0}


class Coding(NamedTuple):
    """How JPEG wrote a picture, as Pillow has it.

    Attributes:
        tables: of quantisation, each 64 steps; the first for brightness.
        sampling: of colours: 0 for all, 1 for half of them across, 2 for half of them each way; -1: another.
    """

    tables: Sequence[Sequence[int]]
    sampling: int


def coding_of(picture: Any) -> Coding:
    """Of a JPEG file that Pillow has opened."""
    tables = picture.quantization
    return Coding([tables[number] for number in sorted(tables)], get_sampling(picture))


class Content(NamedTuple):
    """Attributes:
    arrays: pictures uint8 [H, W, C], sounds int16 [frames, channels], or numbers of any shape, one or more.
    values: rows of a table, each a list of its values, or of its fields as text.
    pictures: whether the arrays are pictures, which may come back in another size.
    coding: of a picture that is a JPEG file.
    rounded: the file has finer values than these.
    """

    arrays: Sequence[Array] = ()
    values: Sequence[Sequence[Any]] = ()
    pictures: bool = False
    coding: Coding | None = None
    rounded: bool = False

    def equals(self, other: Content) -> bool:
        """Whether everything in both is the same."""
        if self.rounded or other.rounded:
            return False
        if len(self.arrays) != len(other.arrays) or len(self.values) != len(other.values):
            return False
        for one, two in zip(self.arrays, other.arrays, strict=True):
            if one.shape != two.shape or one.dtype != two.dtype or not np.array_equal(one, two, equal_nan=_float(one)):
                return False
        return all(map(_same_values, self.values, other.values))

    def distance(self, other: Content) -> float:
        """From what it should be, `other`; infinite where there is nothing to compare."""
        if len(self.arrays) != len(other.arrays) or len(self.values) != len(other.values):
            return math.inf
        if self.values:
            pairs = zip(_in_order(self.values, other.values[0]), other.values, strict=True)
            return float(np.mean([_values_distance(one, two) for one, two in pairs]))
        pairs_of = zip(self.arrays, other.arrays, strict=True)
        apart = _picture_distance if self.pictures and other.pictures else _distance
        squares = [apart(one, two) ** 2 for one, two in pairs_of]
        return math.sqrt(sum(squares) / len(squares)) if squares else math.inf


def _float(array: Array) -> bool:
    return array.dtype.kind == "f"


def _same(one: Any, two: Any) -> bool:
    return type(one) is type(two) and (one == two or (one != one and two != two))


def _same_values(one: Sequence[Any], two: Sequence[Any]) -> bool:
    return len(one) == len(two) and all(map(_same, one, two))


def _in_order(lines: Sequence[Sequence[Any]], names: Sequence[Any]) -> Sequence[Sequence[Any]]:
    """A table with these columns only, in their order; as it is, where it has not all of them, or they have no names.
    The first line is the names'."""
    places = {name: at for at, name in enumerate(lines[0]) if isinstance(name, str)}
    if len(set(names)) < len(names) or not all(name in places for name in names):
        return lines
    order = [places[name] for name in names]
    return [[line[at] for at in order] if len(line) == len(lines[0]) else line for line in lines]


def _values_distance(one: Sequence[Any], two: Sequence[Any]) -> float:
    if len(one) != len(two):
        return 1.0
    return sum(not _means_the_same(a, b) for a, b in zip(one, two, strict=True)) / max(1, len(one))


def _means_the_same(one: Any, two: Any) -> bool:
    """Whether two values are one, as programs write it: 3 and 3.0, a field that is empty and nothing."""
    if _same(one, two):
        return True
    a, b = _number(one), _number(two)
    return a is not None and b is not None and (a == b or (a != a and b != b) or abs(a - b) <= _ROUNDING * abs(b))


def _number(value: Any) -> float | None:
    """Not a number, where there is nothing; None: it is no number."""
    if value is None or value == "":
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _distance(one: Array, two: Array) -> float:
    """Of arrays of one shape, in parts of the full scale; of numbers without one, of the second's own spread."""
    if one.shape != two.shape or one.size == 0:
        return math.inf
    a, b = one.astype(np.float64), two.astype(np.float64)
    with np.errstate(all="ignore"):
        scale = _FULL.get(two.dtype.kind) or float(np.nanstd(b)) or 1.0
        found = math.sqrt(float(np.mean((a - b) ** 2))) / scale
    return found if math.isfinite(found) else math.inf


def _picture_distance(one: Array, two: Array) -> float:
    """The least of: one beside two at its size, and one as a part of two, wherever it was cut."""
    if one.shape[2] != two.shape[2]:
        return math.inf
    if one.shape == two.shape:
        return _distance(one, two)
    found = _distance(one, _resized(two, one.shape[1], one.shape[0]))
    height, width = one.shape[:2]
    if two.shape[0] * _LEAST_PART <= height <= two.shape[0] and two.shape[1] * _LEAST_PART <= width <= two.shape[1]:
        found = min(found, _part_distance(one, two))
    return found


def _resized(picture: Array, width: int, height: int) -> Array:
    planes = [Image.fromarray(np.ascontiguousarray(picture[..., plane])) for plane in range(picture.shape[2])]
    return np.stack([np.asarray(plane.resize((width, height), Image.Resampling.BICUBIC)) for plane in planes], axis=-1)


def _part_distance(part: Array, whole: Array) -> float:
    """Of a part from where in the whole it fits best."""
    height, width = whole.shape[0] - part.shape[0] + 1, whole.shape[1] - part.shape[1] + 1
    size = whole.shape[:2]
    ones = np.fft.rfft2(np.ones(part.shape[:2]), size).conj()
    total = np.zeros((height, width))
    for plane in range(part.shape[2]):
        a, b = part[..., plane].astype(np.float64), whole[..., plane].astype(np.float64)
        both = np.fft.rfft2(b**2) * ones - 2 * np.fft.rfft2(b) * np.fft.rfft2(a, size).conj()
        total += (a**2).sum() + np.fft.irfft2(both, size)[:height, :width]
    return math.sqrt(max(0.0, float(total.min())) / part.size) / _FULL["u"]
