"""Which of the things that a module gives is the sample."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from latentserve.training.errors import ExportError


def tensors_of(given: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a tuple, list, dict, dataclass or object, with its name: `0`, `sample`, `0.rgb`. What holds none
    has none."""
    if isinstance(given, Tensor):
        yield path, given
        return
    parts: Mapping[Any, Any]
    if isinstance(given, Mapping):
        parts = given
    elif isinstance(given, tuple) and hasattr(given, "_fields"):
        parts = dict(zip(given._fields, given, strict=True))
    elif isinstance(given, tuple | list):
        parts = dict(enumerate(given))
    elif dataclasses.is_dataclass(given) and not isinstance(given, type):
        parts = {field.name: getattr(given, field.name) for field in dataclasses.fields(given)}
    elif hasattr(given, "__dict__") and not isinstance(given, type | torch.nn.Module):
        parts = {name: one for name, one in vars(given).items() if isinstance(one, Tensor)}
    else:
        return
    for name, part in parts.items():
        yield from tensors_of(part, f"{path}.{name}" if path else str(name))


def pick_output(given: Any, told: str | int | None, rows: int) -> tuple[str, Tensor]:
    """The sample of what a module gave for so many rows, and its name. Raises ExportError: there is none, or several
    and none is told."""
    found = dict(tensors_of(given))
    shown = ", ".join(f"{name} {_shape(tensor, rows)}" for name, tensor in found.items())
    if told is not None:
        places = [name for place, name in enumerate(found) if str(told) == name or told == place]
        if not places:
            raise ExportError(f"generator: output={told!r} is told; it gives {shown or type(given).__name__}")
        return places[0], found[places[0]]
    if isinstance(given, Distribution):
        raise ExportError(
            f"generator: gives a distribution, {type(given).__name__}; say what of it the sample is, as "
            "call=lambda module, z: module(z).mean"
        )
    if not found:
        before = "; give the tensor before .numpy()" if isinstance(given, np.ndarray) else ""
        raise ExportError(f"generator: gives {type(given).__name__}, in which there is no tensor{before}")
    shapes = {tensor.shape for tensor in found.values()}
    if isinstance(given, list | tuple) and len(found) == rows and len(shapes) == 1 and rows not in shapes.pop():
        raise ExportError(
            "generator: gives a list of samples, one a latent; make one tensor of them, as "
            "call=lambda module, z: torch.stack(module(z))"
        )
    samples = {
        name: tensor
        for name, tensor in found.items()
        if tensor.shape[:1] == (rows,) or (tensor.ndim > 1 and rows in tensor.shape)
    } or found
    if len(samples) > 1:
        names = " or ".join(f"output={int(name) if name.isdigit() else name!r}" for name in samples)
        raise ExportError(f"generator: gives several outputs: {shown}; which is the sample? Say {names}")
    return next(iter(samples.items()))


def take_output(given: Any, name: str) -> Tensor:
    """The tensor by this name."""
    return given if name == "" else dict(tensors_of(given))[name]


def _shape(tensor: Tensor, rows: int) -> str:
    axes = list(tensor.shape)
    return f"[{', '.join(['N' if axes[:1] == [rows] else str(axes[0]), *map(str, axes[1:])])}]" if axes else "[]"
