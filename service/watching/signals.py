"""Signals: one number a sample, cheap to compute, whose distribution drift would move."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import SampleSpec
from latentserve.service.sampling.sampler import BatchDone
from latentserve.service.sampling.served_graph import (
    HIGH_FREQUENCY,
    MEAN,
    NONFINITE,
    SATURATED_SHARE,
    STD,
    Output,
    signal_columns,
)

CRITIC_SCORE, LABEL_MARGIN = "critic_score", "label_margin"
COLUMN = "column:"  # before a table's column, which may be called anything
MOST_COLUMNS = 15  # of a table that are signals: the first; each is sixty series

_GREY_LEVELS = 255


def sample_signals(
    samples: NDArray[np.float32] | None, spec: SampleSpec, columns: NDArray[np.float32] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Signals of samples float32 [n, *shape], each float64 [n], NaN where the sample is not finite. What the engine
    computed of them already, its output `signals`, is taken from `columns` float32 [n, S]; with these only a table's
    samples are needed.

    mean, std: over the values of the sample; not of a table, whose columns have nothing to do with each other.
    saturated_share: share of values that an 8-bit image would show as pure black or white; images only.
    high_frequency: mean squared difference of neighbouring pixels along H and W, over all channels, as a share of the
    span of values squared; images only.
    column:NAME: the value of one of a table's first MOST_COLUMNS columns.
    """
    if columns is None:
        assert samples is not None  # noqa: S101, one of the two is given
        signals = _computed(samples, spec)
    else:
        named = zip(signal_columns(spec), columns.T.astype(np.float64), strict=True)
        signals = {name: values for name, values in named if name != NONFINITE}
    if samples is not None:
        flat, finite = samples.reshape(len(samples), -1), np.isfinite(signals[MEAN])
        for index, name in enumerate(_column_names(spec)):
            signals[name] = np.where(finite, flat[:, index].astype(np.float64), np.nan)
    if spec.columns:
        del signals[MEAN], signals[STD]
    return signals


def signal_outputs(spec: SampleSpec, outputs: Sequence[Output]) -> tuple[Output, ...]:
    """What `batch_signals` needs of an engine that has these outputs."""
    if "signals" not in outputs:
        return ("sample",)
    return ("signals", "sample") if spec.columns else ("signals",)


def batch_signals(batches: Sequence[BatchDone], spec: SampleSpec) -> dict[str, NDArray[np.float64]]:
    """The signals of every row of batches, as `sample_signals`, and `nonfinite`: how many of its values are not finite.
    From what the engine computed beside the samples, where it did."""
    computed = all("signals" in batch.made for batch in batches)
    columns = samples = None
    if computed:
        columns = np.concatenate([batch.made["signals"] for batch in batches])
    if not computed or spec.columns:
        samples = np.concatenate([batch.made["sample"] for batch in batches])
    signals = sample_signals(samples, spec, columns)
    if columns is not None:
        signals[NONFINITE] = columns[:, signal_columns(spec).index(NONFINITE)].astype(np.float64)
    elif samples is not None:
        signals[NONFINITE] = (~np.isfinite(samples.reshape(len(samples), -1))).sum(axis=1).astype(np.float64)
    return signals


def signal_names(spec: SampleSpec, *, has_critic: bool) -> list[str]:
    """The signals that need no more than a sample and its critic's score, in order."""
    names = _column_names(spec) or [name for name in signal_columns(spec) if name != NONFINITE]
    if has_critic:
        names.append(CRITIC_SCORE)
    return names


def _computed(samples: NDArray[np.float32], spec: SampleSpec) -> dict[str, NDArray[np.float64]]:
    """What the engine would have computed."""
    flat = samples.reshape(len(samples), -1)
    with np.errstate(invalid="ignore", over="ignore"):
        signals = {MEAN: flat.mean(axis=1, dtype=np.float64), STD: flat.std(axis=1, dtype=np.float64)}
        finite = np.isfinite(signals[MEAN])
        if spec.kind == "image" and spec.value_range is not None:
            low, high = spec.value_range
            half_step = (high - low) / (2 * _GREY_LEVELS)
            saturated = (flat <= low + half_step) | (flat >= high - half_step)
            signals[SATURATED_SHARE] = np.where(finite, saturated.mean(axis=1), np.nan)
            signals[HIGH_FREQUENCY] = np.where(finite, _neighbour_difference(samples) / (high - low) ** 2, np.nan)
    return signals


def _column_names(spec: SampleSpec) -> list[str]:
    return [f"{COLUMN}{column.name}" for column in (spec.columns or [])[:MOST_COLUMNS]]


def _neighbour_difference(images: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean squared difference of neighbours along the last two axes of [n, C, H, W], float64 [n]."""
    n, channels, height, width = images.shape
    total = np.zeros(n)
    for step in (np.diff(images, axis=2), np.diff(images, axis=3)):
        flat = step.reshape(n, -1)
        total += np.einsum("ij,ij->i", flat, flat)
    return total / max(1, channels * ((height - 1) * width + height * (width - 1)))
