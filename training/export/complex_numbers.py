"""Functions and weights of complex numbers that exporters know of real ones alone, by real and imaginary parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

_Part = Callable[[Any], Any]


def is_complex(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether one of a function's arguments, or of a list among them, is complex, or the type that it is told."""
    if isinstance(dtype := kwargs.get("dtype"), torch.dtype) and dtype.is_complex:
        return True
    for one in args:
        if isinstance(one, complex) or (isinstance(one, Tensor) and one.is_complex()):
            return True
        if isinstance(one, tuple | list) and any(isinstance(part, Tensor) and part.is_complex() for part in one):
            return True
    return False


def compute(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a function gives of complex arguments."""
    if (steps := _STEPS.get(func)) is not None:
        return steps(func, *args, **kwargs)
    if func in _NEW and (dtype := kwargs.get("dtype")) is not None:
        real = func(*args, **{**kwargs, "dtype": dtype.to_real()})
        return torch.complex(real, torch.zeros_like(real))
    if func in _MOVES:
        return torch.complex(func(*map(_real, args), **kwargs), func(*map(_imaginary, args), **kwargs))
    if any(isinstance(one, complex) for one in args):
        device = next(one.device for one in args if isinstance(one, Tensor))
        args = tuple(_tensor(one, device) for one in args)
    return func(*args, **kwargs)


def _real(one: Any) -> Any:
    return one.real if isinstance(one, Tensor) and one.is_complex() else one


def _imaginary(one: Any) -> Any:
    if not isinstance(one, Tensor):
        return one
    return one.imag if one.is_complex() else torch.zeros_like(one) if one.is_floating_point() else one


def _tensor(one: Any, device: torch.device) -> Any:
    if isinstance(one, complex):
        return torch.complex(torch.tensor(one.real, device=device), torch.tensor(one.imag, device=device))
    if isinstance(one, Tensor) and one.is_floating_point():
        return torch.complex(one, torch.zeros_like(one))
    return one


def _exp(_func: Any, x: Tensor) -> Tensor:
    size = torch.exp(x.real)
    return torch.complex(size * torch.cos(x.imag), size * torch.sin(x.imag))


def _sqrt(_func: Any, x: Tensor) -> Tensor:
    """The root whose real part is not negative: its larger part first, of which the other follows without loss."""
    larger = torch.sqrt((_size(x) + x.real.abs()) / 2)
    other = x.imag.abs() / (2 * torch.where(larger == 0, torch.ones_like(larger), larger))
    is_right = x.real >= 0
    imaginary = torch.where(is_right, other, larger)
    return torch.complex(torch.where(is_right, larger, other), torch.where(x.imag < 0, -imaginary, imaginary))


def _log(_func: Any, x: Tensor) -> Tensor:
    return torch.complex(torch.log(_size(x)), torch.atan2(x.imag, x.real))


def _angle(_func: Any, x: Tensor) -> Tensor:
    return torch.atan2(x.imag, x.real)


def _conjugate(_func: Any, x: Tensor) -> Tensor:
    return torch.complex(x.real, -x.imag)


def _size(x: Tensor) -> Tensor:
    return torch.sqrt(x.real * x.real + x.imag * x.imag)


def _of_two(func: Any, *args: Any, **kwargs: Any) -> Any:
    """What is linear in two operands: (a + bi)(c + di) = ac - bd + (ad + bc)i."""
    places = [place for place, one in enumerate(args) if isinstance(one, Tensor)]
    if len(places) != 2 or any(isinstance(one, Tensor) for one in kwargs.values()):
        return func(*args, **kwargs)

    def of(first: _Part, second: _Part) -> Tensor:
        given = list(args)
        given[places[0]], given[places[1]] = first(args[places[0]]), second(args[places[1]])
        made: Tensor = func(*given, **kwargs)
        return made

    return torch.complex(of(_real, _real) - of(_imaginary, _imaginary), of(_real, _imaginary) + of(_imaginary, _real))


def _linear(func: Any, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    made = _of_two(func, x, weight)
    return made if bias is None else made + bias


def _put(_func: Any, whole: Tensor, place: Any, part: Any) -> None:
    """`whole[place] = part`, of both parts."""
    whole.real[place] = _real(part)
    whole.imag[place] = _imaginary(part) if isinstance(part, Tensor) and part.is_complex() else 0.0


def _power(func: Any, x: Any, exponent: Any) -> Any:
    if not isinstance(exponent, int) or exponent < 1:
        return func(x, exponent)
    made = x
    for _ in range(exponent - 1):
        made = made * x
    return made


_STEPS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.exp: _exp,
    Tensor.exp: _exp,
    torch.sqrt: _sqrt,
    Tensor.sqrt: _sqrt,
    torch.log: _log,
    Tensor.log: _log,
    torch.conj: _conjugate,
    Tensor.conj: _conjugate,
    torch.angle: _angle,
    Tensor.angle: _angle,
    torch.einsum: _of_two,
    torch.bmm: _of_two,
    Tensor.bmm: _of_two,
    F.linear: _linear,
    torch.pow: _power,
    Tensor.pow: _power,
    Tensor.__pow__: _power,
    Tensor.__setitem__: _put,
    Tensor.square: lambda _func, x: x * x,
    torch.square: lambda _func, x: x * x,
}
_NEW = {torch.zeros, torch.ones}
_MOVES = {
    Tensor.__getitem__, torch.unsqueeze, Tensor.unsqueeze, Tensor.repeat, torch.where, Tensor.where, F.pad,
    torch.repeat_interleave, Tensor.repeat_interleave,
}  # fmt: skip


class _Parts(nn.Module):
    """A complex weight of two real ones."""

    def forward(self, real: Tensor, imaginary: Tensor) -> Tensor:
        return torch.complex(real, imaginary)

    def right_inverse(self, whole: Tensor) -> tuple[Tensor, Tensor]:
        """The two of it."""
        return whole.real.clone(), whole.imag.clone()


@contextmanager
def weights_in_parts(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Within the block, each complex weight and buffer is made of two real ones; afterwards it is what it was."""
    parts = dict.fromkeys(part for module in modules for part in module.modules())
    kept = [
        (part, held, name, tensor)
        for part in parts
        for held in (part._parameters, part._buffers)
        for name, tensor in list(held.items())
        if tensor is not None and tensor.is_complex()
    ]
    for part, _, name, _ in kept:
        parametrize.register_parametrization(part, name, _Parts())
    try:
        yield
    finally:
        for part, held, name, tensor in kept:
            parametrize.remove_parametrizations(part, name)
            for others in (part._parameters, part._buffers, part.__dict__):
                others.pop(name, None)
            held[name] = tensor  # type: ignore[assignment]  # of the kind that is held here
