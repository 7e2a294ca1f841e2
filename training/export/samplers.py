"""Functions of torch that draw, as steps that compute with numbers from N(0, 1), or uniform on [0, 1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from latentserve.training.export.special import log_factorial

if TYPE_CHECKING:
    from latentserve.training.export.chance import Chance


def _like(x: Tensor, kwargs: dict[str, Any]) -> Tensor:
    dtype, device = kwargs.get("dtype") or x.dtype, kwargs.get("device") or x.device
    return torch.empty(0, dtype=dtype, device=device)


def _new(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[int, ...], Tensor]:
    """Of `randn(2, 3)` or `randn((2, 3))` or `randn(size=...)`: the shape, and a tensor of the type."""
    size = kwargs.get("size", args)
    if len(size) == 1 and isinstance(size[0], tuple | list):
        size = size[0]
    dtype = kwargs.get("dtype") or torch.get_default_dtype()
    return tuple(size), torch.empty(0, dtype=dtype, device=kwargs.get("device"))


def _randn(chance: Chance, func: Any, *args: Any, **kwargs: Any) -> Tensor:
    shape, like = _new(args, kwargs)
    return chance.draw("randn", "normal", shape, like, lambda: func(*args, **kwargs), kwargs.get("generator"))


def _rand(chance: Chance, func: Any, *args: Any, **kwargs: Any) -> Tensor:
    shape, like = _new(args, kwargs)
    return chance.draw("rand", "uniform", shape, like, lambda: func(*args, **kwargs), kwargs.get("generator"))


def _randn_like(chance: Chance, func: Any, x: Tensor, **kwargs: Any) -> Tensor:
    like = _like(x, kwargs)
    return chance.draw("randn_like", "normal", x.shape, like, lambda: func(x, **kwargs), kwargs.get("generator"))


def _rand_like(chance: Chance, func: Any, x: Tensor, **kwargs: Any) -> Tensor:
    like = _like(x, kwargs)
    return chance.draw("rand_like", "uniform", x.shape, like, lambda: func(x, **kwargs), kwargs.get("generator"))


def _randint(chance: Chance, func: Any, *args: Any, **kwargs: Any) -> Tensor:
    low, high, size = args if len(args) > 2 else (0, *args) if len(args) > 1 else (
        kwargs.get("low", 0), args[0] if args else kwargs["high"], kwargs["size"]
    )  # fmt: skip
    device = torch.empty(0, device=kwargs.get("device"))
    return _integers(
        chance, low, high, tuple(size), kwargs.get("dtype") or torch.int64, device, kwargs.get("generator")
    )


def _randint_like(chance: Chance, func: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    low, high = args if len(args) > 1 else (kwargs.get("low", 0), args[0] if args else kwargs["high"])
    device = torch.empty(0, device=kwargs.get("device") or x.device)
    return _integers(chance, low, high, tuple(x.shape), kwargs.get("dtype") or x.dtype, device, None)


def _integers(
    chance: Chance,
    low: int,
    high: int,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    like: Tensor,
    generator: torch.Generator | None,
) -> Tensor:
    return chance.draw(
        "randint",
        "uniform",
        shape,
        like,
        lambda: torch.randint(low, high, shape, dtype=dtype, device=like.device, generator=generator),
        generator,
        lambda u: (u * (high - low)).floor().to(dtype) + low,
    )


def _randperm(chance: Chance, func: Any, n: int, **kwargs: Any) -> Tensor:
    like = torch.empty(0, device=kwargs.get("device"))
    own, dtype = (lambda: func(n, **kwargs)), kwargs.get("dtype") or torch.int64
    return chance.draw("randperm", "uniform", (n,), like, own, kwargs.get("generator"), lambda u: u.argsort().to(dtype))


def _standard_normal(
    chance: Chance, name: str, shape: Sequence[int], like: Tensor, generator: torch.Generator | None
) -> Tensor:
    def own() -> Tensor:
        return torch.empty(tuple(shape), dtype=like.dtype, device=like.device).normal_(generator=generator)

    return chance.draw(name, "normal", shape, like, own, generator)


def _normal(
    chance: Chance, func: Any, mean: Any, std: Any = 1.0, size: Any = None, generator: Any = None, **kwargs: Any
) -> Tensor:
    like = next((one for one in (mean, std) if isinstance(one, Tensor)), None)
    if like is None:
        return _standard_normal(chance, "normal", *_new((size,), kwargs), generator) * std + mean
    both = [one for one in (mean, std) if isinstance(one, Tensor)]
    shape = both[0].shape if len(both) == 1 else (both[0] + both[1]).shape
    return _standard_normal(chance, "normal", shape, like, generator) * std + mean


def _normal_(
    chance: Chance, func: Any, x: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None
) -> Tensor:
    return x.copy_(_standard_normal(chance, "normal_", x.shape, x, generator) * std + mean)


def _log_normal_(
    chance: Chance, func: Any, x: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Any = None
) -> Tensor:
    return x.copy_((_standard_normal(chance, "log_normal_", x.shape, x, generator) * std + mean).exp())


def _standard_uniform(
    chance: Chance, name: str, shape: Sequence[int], like: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    def own() -> Tensor:
        return torch.rand(tuple(shape), dtype=like.dtype, device=like.device, generator=generator)

    return chance.draw(name, "uniform", shape, like, own, generator)


def _uniform_(chance: Chance, func: Any, x: Tensor, *args: float, generator: Any = None, **kwargs: Any) -> Tensor:
    low, high = _two(args, kwargs, "from", "to", (0.0, 1.0))
    return x.copy_(_standard_uniform(chance, "uniform_", x.shape, x, generator) * (high - low) + low)


def _two(args: Sequence[float], kwargs: dict[str, Any], one: str, other: str, default: Any) -> tuple[float, float]:
    return (
        args[0] if args else kwargs.get(one, default[0]),
        args[1] if len(args) > 1 else kwargs.get(other, default[1]),
    )


def _exponential_(chance: Chance, func: Any, x: Tensor, lambd: float = 1.0, *, generator: Any = None) -> Tensor:
    return x.copy_(_exponential(chance, "exponential_", x.shape, x, generator) / lambd)


def _exponential(
    chance: Chance, name: str, shape: Sequence[int], like: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    def own() -> Tensor:
        return torch.empty(tuple(shape), dtype=like.dtype, device=like.device).exponential_(generator=generator)

    # Of 1 - u, which is above 0; and not of less than float32 can tell from 0.
    def of(u: Tensor) -> Tensor:
        return (-torch.log((1 - u.float()).clamp(min=2**-24))).clamp(min=2**-24).to(like.dtype)

    return chance.draw(name, "uniform", shape, like, own, generator, of)


def _cauchy_(
    chance: Chance, func: Any, x: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Any = None
) -> Tensor:
    def own() -> Tensor:
        return torch.empty_like(x).cauchy_(generator=generator)

    numbers = chance.draw(
        "cauchy_", "uniform", x.shape, x, own, generator, lambda u: torch.tan(torch.pi * (u - 0.5 + 2**-25))
    )
    return x.copy_(numbers * sigma + median)


def _geometric_(chance: Chance, func: Any, x: Tensor, p: float, *, generator: Any = None) -> Tensor:
    def own() -> Tensor:
        return torch.empty_like(x).geometric_(p, generator=generator)

    def of(u: Tensor) -> Tensor:
        return torch.ceil(torch.log1p(-u) / math.log1p(-p)).clamp(min=1)

    return x.copy_(chance.draw("geometric_", "uniform", x.shape, _at_least_float(x), own, generator, of))


def _random_(chance: Chance, func: Any, x: Tensor, *ends: int, generator: Any = None, **kwargs: Any) -> Tensor:
    low, high = ends if len(ends) > 1 else (kwargs.get("from", 0), ends[0] if ends else kwargs.get("to"))
    if high is None:
        return func(x, generator=generator)
    return x.copy_(_integers(chance, low, high, tuple(x.shape), x.dtype, x, generator))


def _bernoulli(chance: Chance, func: Any, x: Tensor, p: Any = None, *, generator: Any = None, **_: Any) -> Tensor:
    if p is None:
        return (_standard_uniform(chance, "bernoulli", x.shape, _at_least_float(x), generator) < x).to(x.dtype)
    return _share(chance, "bernoulli", x.shape, x, p, generator)


def _bernoulli_(chance: Chance, func: Any, x: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    if isinstance(p, Tensor):
        return x.copy_(_standard_uniform(chance, "bernoulli_", x.shape, _at_least_float(p), generator) < p)
    return x.copy_(_share(chance, "bernoulli_", x.shape, x, p, generator))


def _at_least_float(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _share(
    chance: Chance, name: str, shape: Sequence[int], like: Tensor, p: float, generator: torch.Generator | None = None
) -> Tensor:
    """Ones, with this probability, among zeros."""

    def own() -> Tensor:
        return torch.empty(tuple(shape), dtype=like.dtype, device=like.device).bernoulli_(p, generator=generator)

    return chance.draw(name, "uniform", shape, like.float(), own, generator, lambda u: (u < p).to(like.dtype))


def _multinomial(
    chance: Chance, func: Any, x: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None
) -> Tensor:
    if not replacement and (num_samples > 1 or chance.as_torch):  # as torch draws it, the largest of p / exponential
        waits = _exponential(chance, "multinomial", x.shape, x.float(), generator)
        shares = x / waits
        return shares.argmax(-1, keepdim=True) if num_samples == 1 else shares.topk(num_samples)[1]
    u = _emulated(chance, "multinomial", "uniform", (*x.shape[:-1], num_samples), x.float(), generator)
    ends = torch.cumsum(x.float() / x.float().sum(-1, keepdim=True), -1)[..., :-1]
    return (u.unsqueeze(-1) >= ends.unsqueeze(-2)).sum(-1)


def _gamma(chance: Chance, func: Any, shape: Tensor, generator: Any = None) -> Tensor:
    """Marsaglia and Tsang (2000): the first of a few tries that is taken, of which one is but for 1 in 10^7."""
    small = shape < 1
    d = torch.where(small, shape + 1, shape) - 1 / 3
    c = 1 / torch.sqrt(9 * d)
    x = _emulated(chance, "gamma", "normal", (*shape.shape, _TRIES), shape, generator)
    u = _emulated(chance, "gamma", "uniform", (*shape.shape, _TRIES + 1), shape, generator).clamp(min=2**-25)
    v = (1 + c.unsqueeze(-1) * x) ** 3
    bound = 0.5 * x * x + d.unsqueeze(-1) * (1 - v + torch.log(v.clamp(min=1e-30)))
    taken = (v > 0) & (torch.log(u[..., :-1]) < bound)
    made = d * v.gather(-1, _first(taken)).squeeze(-1).clamp(min=1e-30)
    return torch.where(small, made * u[..., -1] ** (1 / torch.where(small, shape, 1)), made)


def _dirichlet(chance: Chance, func: Any, x: Tensor, generator: Any = None) -> Tensor:
    parts = _gamma(chance, func, x, generator).clamp(min=torch.finfo(x.dtype).tiny)
    return parts / parts.sum(-1, keepdim=True)


def _poisson(chance: Chance, func: Any, rate: Tensor, generator: Any = None) -> Tensor:
    """By inversion below a rate of 10, and above it by Hormann's (1993) PTRS, the first of a few tries."""
    u = _emulated(chance, "poisson", "uniform", (*rate.shape, 2 * _POISSON_TRIES + 1), rate, generator)
    low, high = rate.double().clamp(max=10).unsqueeze(-1), rate.double().clamp(min=10).unsqueeze(-1)
    k = torch.arange(_ENDS, dtype=torch.float64, device=rate.device)
    ends = torch.cumsum(torch.exp(k * torch.log(low.clamp(min=1e-300)) - low - log_factorial(k)), -1)
    few = (u[..., -1:].double() > ends).sum(-1)
    one, two = u[..., :_POISSON_TRIES].double(), u[..., _POISSON_TRIES:-1].double().clamp(min=2**-25)
    b = 0.931 + 2.53 * torch.sqrt(high)
    a = -0.059 + 0.02483 * b
    one, edge = one - 0.5, (0.5 - (one - 0.5).abs()).clamp(min=2**-26)
    found = torch.floor((2 * a / edge + b) * one + high + 0.43)
    at_once = (edge >= 0.07) & (two <= 0.9277 - 3.6224 / (b - 2))
    never = (found < 0) | ((edge < 0.013) & (two > edge))
    least = torch.log(two * (1.1239 + 1.1328 / (b - 3.4)) / (a / (edge * edge) + b))
    kept = found.clamp(min=0)
    taken = at_once | (~never & (least <= -high + kept * torch.log(high) - log_factorial(kept)))
    many = kept.gather(-1, _first(taken)).squeeze(-1)
    return torch.where(rate < 10, few.to(many.dtype), many).to(rate.dtype)


def _binomial(chance: Chance, func: Any, count: Tensor, prob: Tensor, generator: Any = None) -> Tensor:
    """Of the outcome that is the rarer one: by inversion where fewer than 10 are expected, and else by Hormann's (1993)
    BTRS, the first of a few tries."""
    count, prob = count + torch.zeros_like(prob), prob + torch.zeros_like(count)
    u = _emulated(chance, "binomial", "uniform", (*count.shape, 2 * _BINOMIAL_TRIES + 1), count, generator)
    n, p = count.double(), torch.where(prob > 0.5, 1 - prob, prob).double()
    is_many = n * p >= 10
    few = _few(n.unsqueeze(-1), torch.where(is_many, 0.0, p).unsqueeze(-1), u[..., -1:].double())
    many = _many(
        torch.where(is_many, n, 40.0).unsqueeze(-1),
        torch.where(is_many, p, 0.5).unsqueeze(-1),
        u[..., :_BINOMIAL_TRIES].double(),
        u[..., _BINOMIAL_TRIES:-1].double().clamp(min=2**-25),
    )
    made = torch.where(is_many, many, few)
    return torch.where(prob > 0.5, n - made, made).to(count.dtype)


def _few(n: Tensor, p: Tensor, u: Tensor) -> Tensor:
    k = torch.arange(_ENDS, dtype=torch.float64, device=n.device)
    ways = log_factorial(n) - log_factorial(k) - log_factorial((n - k).clamp(min=0))
    share = torch.exp(ways + k * torch.log(p.clamp(min=1e-300)) + (n - k) * torch.log1p(-p))
    ends = torch.cumsum(torch.where(k <= n, share, 0.0), -1)
    return (u > ends).sum(-1).double()


def _many(n: Tensor, p: Tensor, one: Tensor, two: Tensor) -> Tensor:
    deviation = torch.sqrt(n * p * (1 - p))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * p
    alpha = (2.83 + 5.1 / b) * deviation
    mode = torch.floor((n + 1) * p)
    one, edge = one - 0.5, (0.5 - (one - 0.5).abs()).clamp(min=2**-26)
    found = torch.floor((2 * a / edge + b) * one + n * p + 0.5)
    kept = torch.minimum(found.clamp(min=0), n)
    height = log_factorial(mode) + log_factorial(n - mode) - log_factorial(kept) - log_factorial(n - kept)
    height = height + (kept - mode) * torch.log(p / (1 - p))
    at_once = (edge >= 0.07) & (two <= 0.92 - 4.2 / b)
    taken = at_once | (torch.log(two * alpha / (a / (edge * edge) + b)) <= height)
    return kept.gather(-1, _first((found == kept) & taken)).squeeze(-1)


def _first(taken: Tensor) -> Tensor:
    """The place of the first that is true, [..., 1]."""
    return taken.to(torch.int32).argmax(-1, keepdim=True)


def _emulated(
    chance: Chance, name: str, prior: Any, shape: Sequence[int], like: Tensor, generator: torch.Generator | None
) -> Tensor:
    """Numbers for steps that are others than torch's."""
    draw = torch.randn if prior == "normal" else torch.rand

    def own() -> Tensor:
        return draw(tuple(shape), dtype=like.dtype, device=like.device, generator=generator)

    return chance.draw(name, prior, shape, like, own, generator, faithful=False)


_TRIES = 6  # of which each is taken by 0.95 at the least
_POISSON_TRIES = 12  # by 0.75
_BINOMIAL_TRIES = 12  # by 0.8
_ENDS = 64  # above which there is less than 1e-25 where 10 are expected


def _gumbel_softmax(
    chance: Chance, func: Any, x: Tensor, tau: float = 1.0, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """As torch.nn.functional has it."""
    soft = ((x - torch.log(_exponential(chance, "gumbel_softmax", x.shape, x))) / tau).softmax(dim)
    if not hard:
        return soft
    return torch.zeros_like(soft).scatter(dim, soft.max(dim, keepdim=True)[1], 1.0)


def _dropout(chance: Chance, func: Any, x: Tensor, p: float = 0.5, train: bool = True, *_: Any, **kw: Any) -> Tensor:
    training = kw.get("training", train)
    if not training or p == 0:
        return x
    shape = tuple(x.shape)
    if func in _OF_CHANNELS:
        shape = (*shape[:2], *(1 for _ in shape[2:]))
    if p >= 1:
        return torch.zeros_like(x)
    return x * _share(chance, func.__name__, shape, x, 1 - p) / (1 - p)


def _alpha_dropout(
    chance: Chance, func: Any, x: Tensor, p: float = 0.5, train: bool = False, *_: Any, **kw: Any
) -> Tensor:
    """What keeps the mean and the variance of SELU (Klambauer et al. 2017)."""
    if not kw.get("training", train) or p == 0:
        return x
    shape = tuple(x.shape)
    if func in (F.feature_alpha_dropout, torch.feature_alpha_dropout):
        shape = (*shape[:2], *(1 for _ in shape[2:]))
    if p >= 1:
        return torch.zeros_like(x)
    scale = 1 / math.sqrt((_SELU_LOWEST**2 * p + 1) * (1 - p))
    kept = _share(chance, func.__name__, shape, x, 1 - p)
    return scale * (x * kept - _SELU_LOWEST * (1 - kept) + _SELU_LOWEST * p)


_SELU_LOWEST = 1.7580993408473766


def _rrelu(
    chance: Chance,
    func: Any,
    x: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    train: bool = False,
    *_: Any,
    **kw: Any,
) -> Any:
    if not kw.get("training", train):
        return F.leaky_relu(x, (lower + upper) / 2)
    u = _emulated(chance, "rrelu", "uniform", x.shape, x, kw.get("generator"))
    return torch.where(x > 0, x, x * (lower + (upper - lower) * u))


_OF_CHANNELS = (F.dropout1d, F.dropout2d, F.dropout3d)

REPLACED: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.randn: _randn,
    torch.rand: _rand,
    torch.randn_like: _randn_like,
    torch.rand_like: _rand_like,
    torch.randint: _randint,
    torch.randint_like: _randint_like,
    torch.randperm: _randperm,
    torch.normal: _normal,
    Tensor.normal_: _normal_,
    Tensor.log_normal_: _log_normal_,
    Tensor.uniform_: _uniform_,
    Tensor.exponential_: _exponential_,
    Tensor.cauchy_: _cauchy_,
    Tensor.geometric_: _geometric_,
    Tensor.random_: _random_,
    Tensor.bernoulli: _bernoulli,
    torch.bernoulli: _bernoulli,
    Tensor.bernoulli_: _bernoulli_,
    Tensor.multinomial: _multinomial,
    torch.multinomial: _multinomial,
    torch.poisson: _poisson,
    torch.binomial: _binomial,
    torch._standard_gamma: _gamma,
    torch._sample_dirichlet: _dirichlet,
    F.gumbel_softmax: _gumbel_softmax,
    F.dropout: _dropout,
    **dict.fromkeys(_OF_CHANNELS, _dropout),
    torch.dropout: _dropout,
    F.alpha_dropout: _alpha_dropout,
    torch.alpha_dropout: _alpha_dropout,
    F.feature_alpha_dropout: _alpha_dropout,
    torch.feature_alpha_dropout: _alpha_dropout,
    F.rrelu: _rrelu,
    torch.rrelu: _rrelu,
}
"""What draws, and how it is drawn: of a `Chance`, the function itself, and its arguments."""
