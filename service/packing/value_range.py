"""What black and white are, of pictures that nobody tells it of: a range that their values fill.

A range that values merely stay inside of says nothing: those of a generator of [-1, 1] without a last tanh leave it by
a half, stay in [0, 255], and would be served black.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Range = tuple[float, float]

_NOMINAL: tuple[Range, ...] = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
_HALVES: Range = (-0.5, 0.5)
# (0 - mean) / std and (1 - mean) / std of the channels of ImageNet, as torchvision and everybody have them
_IMAGENET = np.array([[-2.118, -2.036, -1.804], [2.249, 2.429, 2.640]])
_IMAGENET_SLACK = 0.45

_AT_THE_END = 0.05  # of a range's span: values that come as near to an end reach it
_MOST_LOST = 0.02  # of its span, that clipping to it takes off a value on the average
_OVERSHOOT = 0.4  # of its span, by which the tails of a generator without a last tanh may leave it
_LEAST_USED = 0.2  # of its span
_LEAST_USED_OF_BOUNDS = 0.02  # where the graph itself shows the range
_TAIL = 0.001
_CLIPPED = 5e-4  # share of values worth a word
_MOST_VALUES = 1 << 22  # looked at, chosen at random

OTHERWISE = "--value-range LO HI says otherwise"


class Judgement(NamedTuple):
    """A range, and what is to be said of it; None: there is no doubt."""

    value_range: Range
    remark: str | None


def judge_range(samples: NDArray[np.float32], bounds: Range | None = None) -> Judgement:
    """The value range of pictures float32 [n, C, H, W], which no value of theirs can leave by `bounds`, where the graph
    tells that much (`output_bounds`)."""
    seen = _Seen(samples)
    if seen.low == seen.high:
        found = bounds if bounds is not None and bounds[0] < bounds[1] else (seen.low, seen.low + 1)
        return Judgement(found, f"all values are {seen.low:g}, so that {_shown(found)} is a guess; {OTHERWISE}")
    nominal = (*_NOMINAL, _HALVES)
    if bounds is not None:
        near = [one for one in nominal if np.allclose(one, bounds, rtol=0, atol=0.01 * (one[1] - one[0]))]
        # Bounds of an unusual range may be wider than what is meant, and are believed where they are reached.
        if near or seen.reaches(bounds):
            return _bounded(seen, near[0] if near else bounds, usual=bool(near))
    return _unbounded(seen)


def clipped_share(samples: NDArray[Any], value_range: Range) -> float:
    """Share of values beyond a range, further than rounding, which are shown as its ends."""
    low, high = value_range
    slack = 1e-3 * (high - low)
    return float(((samples < low - slack) | (samples > high + slack)).mean())


class _Seen:
    """What is looked at of values."""

    def __init__(self, samples: NDArray[np.float32]) -> None:
        self.low, self.high = float(samples.min()), float(samples.max())
        flat = samples.reshape(-1)
        if flat.size > _MOST_VALUES:
            flat = flat[np.random.default_rng(0).integers(0, flat.size, _MOST_VALUES)]
        self.values = flat
        self.tails: Range = tuple(float(bound) for bound in np.quantile(flat, [_TAIL, 1 - _TAIL]))  # type: ignore[assignment]
        ends = None
        if samples.ndim == 4 and samples.shape[1] == 3:
            ends = np.quantile(samples[:: max(1, len(samples) // 64)], [_TAIL, 1 - _TAIL], axis=(0, 2, 3))
        self.is_imagenet = ends is not None and bool((np.abs(ends - _IMAGENET) < _IMAGENET_SLACK).all())

    def reaches(self, wanted: Range) -> bool:
        """Whether some values come near either end."""
        slack = _AT_THE_END * (wanted[1] - wanted[0])
        return self.low <= wanted[0] + slack and self.high >= wanted[1] - slack

    def lost(self, wanted: Range) -> float:
        """What clipping to a range takes off a value on the average, as a share of its span."""
        return float(np.abs(self.values - self.values.clip(*wanted)).mean()) / (wanted[1] - wanted[0])

    def used(self, wanted: Range) -> float:
        """Share of a range between the tails."""
        return (min(self.tails[1], wanted[1]) - max(self.tails[0], wanted[0])) / (wanted[1] - wanted[0])

    def fits(self, wanted: Range) -> bool:
        """Whether values may be meant for a range: they fill a good part, and leave it by no more than tails do."""
        span = wanted[1] - wanted[0]
        over = max(wanted[0] - self.tails[0], self.tails[1] - wanted[1]) / span
        return self.used(wanted) >= _LEAST_USED and over <= _OVERSHOOT and self.lost(wanted) <= _MOST_LOST

    def own(self) -> Range:
        """From the least to the largest value, without tails that would leave the rest without contrast."""
        low, high = self.tails
        return (low, high) if low < high and self.high - self.low > 2 * (high - low) else (self.low, self.high)


def _bounded(seen: _Seen, bounds: Range, *, usual: bool) -> Judgement:
    """Of values that cannot leave `bounds`."""
    if (seen.high - seen.low) / (bounds[1] - bounds[0]) < _LEAST_USED_OF_BOUNDS:
        return _own(seen, f"values use only {_shown((seen.low, seen.high))} of {_shown(bounds)}, and are shown in that")
    if seen.reaches(bounds):
        return Judgement(bounds, None if usual else f"its last layers keep values in {_shown(bounds)}; {OTHERWISE}")
    return Judgement(
        bounds,
        f"its last layers keep values in {_shown(bounds)}, of which samples use {_shown((seen.low, seen.high))}; "
        f"{OTHERWISE}",
    )


def _unbounded(seen: _Seen) -> Judgement:
    """Of values that anything may have made."""
    if seen.is_imagenet:
        found = float(_IMAGENET[0].min()), float(_IMAGENET[1].max())
        return Judgement(found, _said(seen, found, "as pictures have that are normalised like ImageNet, so"))
    if seen.fits(_HALVES) and seen.reaches(_HALVES) and clipped_share(seen.values, _HALVES) < _CLIPPED:
        return Judgement(_HALVES, _said(seen, _HALVES, "so"))
    fitting = [one for one in _NOMINAL if seen.fits(one)]
    if not fitting:
        return _own(seen, f"values go from {seen.low:.4g} to {seen.high:.4g}, no usual range, and are shown in that")
    # The one that is filled best; where none is reached at both ends, the one that loses least.
    reached = [one for one in fitting if seen.reaches(one)]
    found = max(reached, key=seen.used) if reached else min(fitting, key=lambda one: (seen.lost(one), -seen.used(one)))
    strict = clipped_share(seen.values, found) == 0 and clipped_share(np.array([seen.low, seen.high]), found) == 0
    if strict and seen.reaches(found):
        return Judgement(found, None)
    return Judgement(found, _said(seen, found, "so"))


def _own(seen: _Seen, why: str) -> Judgement:
    return Judgement(seen.own(), f"{why}; {OTHERWISE}")


def _said(seen: _Seen, found: Range, why: str) -> str:
    clipped = clipped_share(seen.values, found)
    lost = f", beyond which {clipped:.2%} of values are clipped," if clipped >= _CLIPPED else ""
    return (
        f"values go from {seen.low:.4g} to {seen.high:.4g}, {why} {_shown(found)}{lost} is taken for black and white; "
        f"{OTHERWISE}"
    )


def _shown(value_range: Range) -> str:
    return f"[{value_range[0]:.4g}, {value_range[1]:.4g}]"
