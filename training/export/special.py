"""Functions of numbers that exporters have no operators for, by steps that they have."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

# Wichura (1988), algorithm AS 241, PPND16: the normal quantile by three ratios of polynomials, lowest powers first.
_CENTRE = (
    (3.3871328727963666080, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125,
     45921.953931549871457, 67265.770927008700853, 33430.575583588128105, 2509.0809287301226727),
    (1.0, 42.313330701600911252, 687.18700749205790830, 5394.1960214247511077, 21213.794301586595867,
     39307.895800092710610, 28729.085735721942674, 5226.4952788528545610),
)  # fmt: skip
_TAIL = (
    (1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550, 3.64784832476320460504,
     1.27045825245236838258, 0.241780725177450611770, 0.0227238449892691845833, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187, 1.67638483018380384940, 0.689767334985100004550, 0.148103976427480074590,
     0.0151986665636164571966, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
)  # fmt: skip
_FAR = (
    (6.65790464350110377720, 5.46378491116411436990, 1.78482653991729133580, 0.296560571828504891230,
     0.0265321895265761230930, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 0.599832206555887937690, 0.136929880922735805310, 0.0148753612908506148525, 7.86869131145613259100e-4,
     1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15),
)  # fmt: skip


def _polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    made = torch.full_like(x, coefficients[-1])
    for one in reversed(coefficients[:-1]):
        made = made * x + one
    return made


def _ratio(x: Tensor, of: tuple[Sequence[float], Sequence[float]]) -> Tensor:
    return _polynomial(x, of[0]) / _polynomial(x, of[1])


def _quantile(q: Tensor, tail: Tensor) -> Tensor:
    """Of N(0, 1), where a half and q lie below, and `tail` on the lesser side."""
    centre = q * _ratio((0.180625 - q * q).clamp(min=0), _CENTRE)
    r = torch.sqrt(-torch.log(tail))
    outer = torch.where(r <= 5, _ratio(r.clamp(max=5) - 1.6, _TAIL), _ratio(r.clamp(5, 40) - 5, _FAR))
    outer = torch.where(tail == 0, math.inf, outer)
    return torch.where(q.abs() <= 0.425, centre, torch.sign(q) * outer)


def _ndtri(_func: Any, p: Tensor, *, out: None = None) -> Tensor:
    p = p if p.is_floating_point() else p.float()
    return _quantile(p - 0.5, torch.minimum(p, 1 - p))


def _erfinv(_func: Any, y: Tensor, *, out: None = None) -> Tensor:
    y = y if y.is_floating_point() else y.float()
    return _quantile(y / 2, (1 - y.abs()) / 2) * math.sqrt(0.5)


def _erfinv_(func: Any, y: Tensor) -> Tensor:
    return y.copy_(_erfinv(func, y))


def _cumprod(func: Any, x: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:
    """By doubling: after each step, products of twice as many."""
    if dtype is not None:
        x = x.to(dtype)
    if not x.is_floating_point() or not isinstance(x.shape[dim], int):
        return func(x, dim)
    reach = 1
    while reach < x.shape[dim]:
        before = torch.ones_like(x.narrow(dim, 0, reach))
        x = x * torch.cat([before, x.narrow(dim, 0, x.shape[dim] - reach)], dim)
        reach *= 2
    return x


def _hypot(_func: Any, x: Tensor, y: Tensor, *, out: None = None) -> Tensor:
    return torch.sqrt(x * x + y * y)


def _lgamma(_func: Any, x: Tensor, *, out: None = None) -> Tensor:
    """Below a half by reflection."""
    x = x if x.is_floating_point() else x.float()
    own = x.double()
    mirrored = own < 0.5
    made = log_gamma(torch.where(mirrored, 1 - own, own))
    sine = torch.sin(math.pi * (own - torch.floor(own)))
    return torch.where(mirrored, math.log(math.pi) - torch.log(sine) - made, made).to(x.dtype)


REPLACED: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.special.ndtri: _ndtri,
    torch.erfinv: _erfinv,
    torch.special.erfinv: _erfinv,
    Tensor.erfinv: _erfinv,
    Tensor.erfinv_: _erfinv_,
    torch.hypot: _hypot,
    Tensor.hypot: _hypot,
    torch.lgamma: _lgamma,
    torch.special.gammaln: _lgamma,
    Tensor.lgamma: _lgamma,
    torch.cumprod: _cumprod,
    Tensor.cumprod: _cumprod,
}
"""Functions, and what computes the same: of the function itself, and its arguments."""


def log_gamma(x: Tensor) -> Tensor:
    """Of numbers above 0, in double precision: Stirling's series, from 8 further on."""
    x = x.double()
    y = x + 8
    series = (y - 0.5) * torch.log(y) - y + 0.5 * math.log(2 * math.pi) + 1 / (12 * y) - 1 / (360 * y**3)
    return series + 1 / (1260 * y**5) - torch.log(x.unsqueeze(-1) + torch.arange(8.0, device=x.device)).sum(-1)


def log_factorial(k: Tensor) -> Tensor:
    """Of whole numbers from 0 on, in double precision."""
    return log_gamma(k.double() + 1)
