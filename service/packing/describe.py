"""What a generator's samples are, from their shape and values, where nobody says it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from latentserve.service.bundle import Column, SampleSpec
from latentserve.service.bundle.manifest import first_fault
from latentserve.service.errors import BundleError
from latentserve.service.packing.closing import Form, Layout
from latentserve.service.packing.layout import CHANNELS, Kind, find_layout
from latentserve.service.packing.value_range import OTHERWISE, Range, clipped_share, judge_range

_SAMPLE_RATE = 16_000  # Hz, of speech
_OF_TYPE: dict[str, Range] = {"bool": (0, 1), "uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65_535)}
_FULL_SCALE = {"uint8": (128.0, 128.0), "int8": (0.0, 128.0), "int16": (0.0, 32_768.0)}  # shift, divisor: of sound
_LOUDEST = 2.0  # peak of sound that is meant for [-1, 1]
_WHOLE = 1 << 24  # float32 holds all integers up to it
_MOST_LOST = 1e-4  # of the span of a column, by rounding to float32


@dataclass(frozen=True)
class SampleHints:
    """What the user says of the samples; None: look.

    Attributes:
        kind: what a sample is.
        value_range: of a picture, black and white; of sound, its full scale.
        columns: of a table, or their names.
        sample_rate: of sound, in hertz.
        layout: which axis is what, of what the graph gives: n rows, c channels, h height, w width, t frames.
        shape: in which the numbers of a row are read before that.
    """

    kind: Kind | None = None
    value_range: tuple[float, float] | None = None
    columns: Sequence[str | Column] | None = None
    sample_rate: int | None = None
    layout: Layout | None = None
    shape: Sequence[int] | None = None


class Described(NamedTuple):
    """How a row of what a graph gives becomes a sample (`closing.close`), what that is, and what was guessed of it, one
    sentence each with the way to say otherwise."""

    form: Form
    sample: SampleSpec
    remarks: list[str]


def describe_output(
    rows: NDArray[Any],
    source: str,
    hints: SampleHints,
    *,
    dtype: str | None = None,
    bounds: Range | None = None,
) -> Described:
    """Of rows [n, ...] as a graph gave them, over all its labels and conditions.

    Args:
        rows: any real numbers.
        source: what errors name.
        hints: what the user says.
        dtype: numpy's name of the type that the graph gave them in; None: that of `rows`.
        bounds: what no value can leave (`bounds.output_bounds`), if the graph tells.

    Raises BundleError where the hints contradict the rows.
    """
    dtype = dtype or str(rows.dtype)
    if dtype == "float64" and (peak := float(np.abs(rows).max(initial=0))) > float(np.finfo(np.float32).max):
        raise BundleError(f"{source}: values go up to {peak:.3g}, and samples are float32: scale them in the graph")
    kind, form, remarks = find_layout(rows.shape[1:], source, hints.kind, hints.layout, hints.shape)
    if dtype == "float64" and (lost := _lost(rows)) > _MOST_LOST:
        remarks = [*remarks, f"float64 values lose up to {lost:.1%} of their span, for samples are float32"]
    if len(rows) > 1 and (rows == rows[:1]).all():
        remarks = [*remarks, "all samples are the same, whatever is drawn: the latent makes no difference"]
    if kind != "table" and hints.columns is not None:
        raise BundleError(
            f"{source}: columns are of a table, and samples are of kind {kind}; --kind table says otherwise"
        )
    if kind != "audio" and hints.sample_rate is not None:
        raise BundleError(
            f"{source}: a sample rate is of audio, and samples are of kind {kind}; --kind audio says otherwise"
        )
    if kind == "audio" and dtype[0] in "iu":
        form, said = _full_scale(rows, form, dtype)
        remarks = [*remarks, said]
        bounds = None
    elif dtype in _OF_TYPE and bounds is None:
        bounds = _OF_TYPE[dtype]
    if kind == "audio" and hints.sample_rate is None:
        remarks = [*remarks, f"{_SAMPLE_RATE:,} Hz is taken for the sample rate; --sample-rate says otherwise"]
    if dtype in ("int32", "int64", "uint32", "uint64") and np.abs(rows.astype(np.float64)).max(initial=0) > _WHOLE:
        remarks = [*remarks, f"{dtype} values beyond 2^24 are rounded, for samples are float32"]
    if hints.value_range is not None and not hints.value_range[0] < hints.value_range[1]:
        raise BundleError(f"{source}: value_range must be LO HI with LO < HI")
    value_range = hints.value_range
    if value_range is None and kind in ("image", "audio"):
        judge = judge_range if kind == "image" else _judge_sound
        value_range, doubt = judge(form.apply(rows), bounds)
        remarks = [*remarks, *([doubt] if doubt else [])]
    described = {
        "kind": kind,
        "shape": form.shape,
        "value_range": value_range,
        "channels": CHANNELS[form.shape[0]] if kind == "image" else None,
        "columns": _columns(form.shape, source, hints.columns) if kind == "table" else None,
        "sample_rate": (hints.sample_rate or _SAMPLE_RATE) if kind == "audio" else None,
    }
    try:
        sample = SampleSpec.model_validate(described)
    except ValidationError as error:
        raise BundleError(f"{source}: samples of shape {form.shape} cannot be: {first_fault(error)}") from None
    return Described(form, sample, remarks)


def _columns(shape: list[int], source: str, columns: Sequence[str | Column] | None) -> Sequence[str | Column]:
    columns = columns or [f"column_{index}" for index in range(shape[0])]
    if len(columns) != shape[0]:
        raise BundleError(f"{source}: {len(columns)} columns are named; samples have {shape[0]}")
    names = Counter(column if isinstance(column, str) else column.name for column in columns)
    if twice := next((name for name, times in names.items() if times > 1), None):
        raise BundleError(f"{source}: two columns are called {twice}")
    return columns


def _lost(rows: NDArray[Any]) -> float:
    """The largest share of its span that a value loses as float32; of a vector, of its column's."""
    off = np.abs(rows - rows.astype(np.float32))
    axis = 0 if rows.ndim == 2 else None
    span = np.ptp(rows, axis=axis)
    return float(np.max(off.max(axis=axis) / np.where(span, span, np.inf), initial=0))


def _full_scale(rows: NDArray[Any], form: Form, dtype: str) -> tuple[Form, str]:
    """Of sound in integers: what makes [-1, 1] of it."""
    peak = float(np.abs(rows.astype(np.float64)).max(initial=0))
    wide = (0.0, 32_768.0) if peak <= 1 << 15 else (0.0, float(1 << 31))
    shift, divisor = _FULL_SCALE.get(dtype, wide)
    taken = f"({dtype} - {shift:g})" if shift else dtype
    return replace(form, shift=shift, divisor=divisor), f"sound in {taken} is divided by {divisor:g}, to be in [-1, 1]"


def _judge_sound(samples: NDArray[np.float32], _bounds: Range | None = None) -> tuple[Range | None, str | None]:
    """Its full scale where that is not [-1, 1], the scale of all sound; and what is to be said of it."""
    peak = float(np.abs(samples).max(initial=0))
    if peak > _LOUDEST:
        full = 32_768.0 if 256 <= peak <= 1 << 15 else peak
        return (-full, full), f"values go up to {peak:.4g}, so [-{full:.4g}, {full:.4g}] is full scale; {OTHERWISE}"
    clipped = clipped_share(samples, (-1.0, 1.0))
    said = f"{clipped:.2%} of values lie beyond [-1, 1] and are clipped where sound is written; {OTHERWISE}"
    return None, said if clipped else None
