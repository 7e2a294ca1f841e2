"""What a generator's samples are, from their shape and values, where nobody says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Column, SampleSpec
from latentserve.service.errors import BundleError

Kind = Literal["image", "table", "audio", "array"]

_NOMINAL_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
_SLACK = 0.1  # of a nominal range, by which outliers of a generator without a last tanh may leave it
_SAMPLE_RATE = 16_000  # Hz, of speech


@dataclass(frozen=True)
class SampleHints:
    """What the user says of the samples; None: look."""

    kind: Kind | None = None
    value_range: tuple[float, float] | None = None
    columns: Sequence[str | Column] | None = None
    sample_rate: int | None = None


def describe_samples(samples: NDArray[np.float32], source: str, hints: SampleHints) -> SampleSpec:
    """The specification of samples float32 [n, *shape]. Raises BundleError naming
    `source` where the hints contradict them."""
    shape = list(samples.shape[1:])
    channels = {1: "L", 3: "RGB", 4: "RGBA"}.get(shape[0]) if len(shape) == 3 else None
    kind = hints.kind or ("image" if channels is not None else "array")
    if kind == "image" and channels is None:
        raise BundleError(f"{source}: samples of shape {shape} are no images; [1, 3 or 4 channels, height, width] is")
    if hints.value_range is not None and not hints.value_range[0] < hints.value_range[1]:
        raise BundleError(f"{source}: value_range must be LO HI with LO < HI")
    columns = hints.columns
    if kind == "table":
        if len(shape) != 1:
            raise BundleError(f"{source}: samples of shape {shape} are no rows of a table; [columns] is")
        columns = columns or [f"column_{index}" for index in range(shape[0])]
        if len(columns) != shape[0]:
            raise BundleError(f"{source}: {len(columns)} columns are named; samples have {shape[0]}")
    return SampleSpec.model_validate(
        {
            "kind": kind,
            "shape": shape,
            "value_range": hints.value_range or (_value_range(samples) if kind == "image" else None),
            "channels": channels if kind == "image" else None,
            "columns": columns if kind == "table" else None,
            "sample_rate": (hints.sample_rate or _SAMPLE_RATE) if kind == "audio" else None,
        }
    )


def _value_range(samples: NDArray[np.float32]) -> tuple[float, float]:
    """The usual range of images that the samples keep to, else their own."""
    low, high = (float(bound) for bound in np.quantile(samples, [0.001, 0.999]))
    for nominal in _NOMINAL_RANGES:
        slack = _SLACK * (nominal[1] - nominal[0])
        if low >= nominal[0] - slack and high <= nominal[1] + slack:
            return nominal
    low, high = float(samples.min()), float(samples.max())
    return (low, high) if low < high else (low, low + 1)
