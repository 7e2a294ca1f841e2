"""Signals: one number a sample, cheap to compute, whose distribution drift would move."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.bundle import SampleSpec

MEAN, STD, SATURATED_SHARE, CRITIC_SCORE = "mean", "std", "saturated_share", "critic_score"

_GREY_LEVELS = 255


def sample_signals(samples: NDArray[np.float32], spec: SampleSpec) -> dict[str, NDArray[np.float64]]:
    """Signals of samples float32 [n, *shape], each float64 [n], NaN where the sample is not finite.

    mean, std: over the values of the sample.
    saturated_share: share of values that an 8-bit image would show as pure black or white; images only.
    """
    flat = samples.reshape(len(samples), -1)
    with np.errstate(invalid="ignore", over="ignore"):
        signals = {MEAN: flat.mean(axis=1, dtype=np.float64), STD: flat.std(axis=1, dtype=np.float64)}
        if spec.kind == "image" and spec.value_range is not None:
            low, high = spec.value_range
            half_step = (high - low) / (2 * _GREY_LEVELS)
            saturated = (flat <= low + half_step) | (flat >= high - half_step)
            signals[SATURATED_SHARE] = np.where(np.isfinite(signals[MEAN]), saturated.mean(axis=1), np.nan)
    return signals


def signal_names(spec: SampleSpec, *, has_critic: bool) -> list[str]:
    """The signals a bundle has."""
    names = [MEAN, STD]
    if spec.kind == "image":
        names.append(SATURATED_SHARE)
    if has_critic:
        names.append(CRITIC_SCORE)
    return names
