"""Functions of torch that ONNX has in another meaning or not at all, by steps that both have in the same."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from latentserve.training.export import special, spectra


def nearest(x: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", *args: Any, **kw: Any) -> Any:
    """`torch.nn.functional.interpolate`; where it takes nearest neighbours and is no whole multiple, as a choice of
    rows and columns along each axis: runtimes find the place of the source by another rounding."""
    if mode not in ("nearest", "nearest-exact") or not all(isinstance(axis, int) for axis in x.shape[2:]):
        return F.interpolate(x, size, scale_factor, mode, *args, **kw)
    made = _sizes(x.shape[2:], size, scale_factor)
    if mode == "nearest" and all(out % has == 0 for out, has in zip(made, x.shape[2:], strict=True)):
        return F.interpolate(x, size, scale_factor, mode, *args, **kw)
    for axis, (place, out) in enumerate(zip(x.shape[2:], made, strict=True), start=2):
        if out == place and mode == "nearest":
            continue
        told = None if scale_factor is None or kw.get("recompute_scale_factor") else _each(scale_factor, len(made))
        factor = None if told is None else float(told[axis - 2])
        x = x.index_select(axis, torch.tensor(_sources(place, out, factor, mode), device=x.device))
    return x


def _sizes(has: Sequence[int], size: Any, scale_factor: Any) -> list[int]:
    if size is not None:
        return [int(one) for one in _each(size, len(has))]
    return [int(axis * factor) for axis, factor in zip(has, _each(scale_factor, len(has)), strict=True)]


def _each(value: Any, axes: int) -> list[Any]:
    return list(value) if isinstance(value, tuple | list) else [value] * axes


@functools.cache  # a module runs before it is traced, and what is traced cannot be looked at
def _sources(has: int, out: int, factor: float | None, mode: str) -> list[int]:
    """Which place each of the new ones is taken from: torch's own answer for 0, 1, 2, ..."""
    places = torch.arange(has, dtype=torch.float64)[None, None]
    taken = F.interpolate(places, out, mode=mode) if factor is None else F.interpolate(places, None, factor, mode)
    return [int(place) for place in taken[0, 0]]


REPLACED: dict[Callable[..., Any], Callable[..., Any]] = {
    F.interpolate: lambda _func, *args, **kwargs: nearest(*args, **kwargs),
    **special.REPLACED,
    **spectra.REPLACED,
}
"""Functions, and what computes the same: of the function itself, and its arguments."""
