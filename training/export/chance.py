"""What a module draws while it runs: numbers from its inputs take the place of torch's own, so that rows repeat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from latentserve.training.errors import ExportError
from latentserve.training.export import linear_algebra
from latentserve.training.export.exact import nearest

Draw = Literal["normal", "uniform"]

_BELOW_ONE = 1 - 2**-24  # the largest float32 below 1: torch draws from [0, 1)


@dataclass(frozen=True)
class Drawn:
    """Numbers that a module drew: the name of the function, from N(0, 1) or uniform on [0, 1), in this shape."""

    function: str
    prior: Draw
    shape: tuple[int, ...]


class Chance(TorchFunctionMode):
    """While it is entered, whatever torch functions draw is taken from `given` in turn, float32 of the shape that is
    drawn; without it, from torch. `drawn` says what that was. Also, functions are computed here by steps that ONNX has
    in the same meaning (`exact`).

    In the place of what draws come steps that compute with numbers from N(0, 1), or uniform on [0, 1): of a chance they
    have the distribution, not the stream, of torch's.

    What is computed of weights alone (`linear_algebra`) is in `computed`, in order; given as `known` it is not computed
    again.
    """

    def __init__(self, given: Sequence[Tensor] | None = None, known: Sequence[Any] | None = None) -> None:
        super().__init__()
        self.drawn: list[Drawn] = []
        self.computed: list[Any] = []
        self._given = None if given is None else list(given)
        self._known = known

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called by torch in the place of each of its functions; none of those within it comes here."""
        kwargs = kwargs or {}
        if (replace := _REPLACED.get(func)) is not None:
            return replace(self, func, *args, **kwargs)
        if (compute := linear_algebra.REPLACED.get(func)) is not None:
            return compute(self._look_up, func, *args, **kwargs)
        return func(*args, **kwargs)

    def _look_up(self, compute: Callable[[], Any]) -> Any:
        """What it gave when the module ran before."""
        place = len(self.computed)
        if self._known is not None:
            self.computed.append(None)
            return self._known[place] if place < len(self._known) else None
        try:
            self.computed.append(compute())
        except RuntimeError:  # it may have no inverse, and be needed for none
            self.computed.append(None)
        return None

    def draw(self, function: str, prior: Draw, shape: Sequence[int], like: Tensor) -> Tensor:
        """Numbers of the type and on the device of `like`."""
        place = len(self.drawn)
        self.drawn.append(Drawn(function, prior, tuple(shape)))
        if self._given is None:
            with torch._C.DisableTorchFunction():
                drawn = torch.randn if prior == "normal" else torch.rand
                return drawn(tuple(shape), dtype=torch.float32, device=like.device).to(like.dtype)
        if place >= len(self._given):
            raise ExportError(f"draws more numbers than before: {function}, number {place + 1}, is new")
        given = self._given[place]
        if prior == "uniform":
            given = given.clamp(max=_BELOW_ONE)
        if tuple(given.shape[1:]) != tuple(shape[1:]):  # several a row, of its first axis
            given = given.reshape(-1, *shape[1:])
        return given.to(like.dtype)


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
    return chance.draw("randn", "normal", *_new(args, kwargs))


def _rand(chance: Chance, func: Any, *args: Any, **kwargs: Any) -> Tensor:
    return chance.draw("rand", "uniform", *_new(args, kwargs))


def _randn_like(chance: Chance, func: Any, x: Tensor, **kwargs: Any) -> Tensor:
    return chance.draw("randn_like", "normal", x.shape, _like(x, kwargs))


def _rand_like(chance: Chance, func: Any, x: Tensor, **kwargs: Any) -> Tensor:
    return chance.draw("rand_like", "uniform", x.shape, _like(x, kwargs))


def _randint(chance: Chance, func: Any, *args: Any, **kwargs: Any) -> Tensor:
    low, high, size = args if len(args) > 2 else (0, *args) if len(args) > 1 else (
        kwargs.get("low", 0), args[0] if args else kwargs["high"], kwargs["size"]
    )  # fmt: skip
    u = chance.draw("randint", "uniform", tuple(size), torch.empty(0, device=kwargs.get("device")))
    return (u * (high - low)).floor().to(kwargs.get("dtype") or torch.int64) + low


def _randint_like(chance: Chance, func: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return _randint(chance, func, *args, tuple(x.shape), dtype=kwargs.get("dtype") or x.dtype, device=x.device)


def _normal(chance: Chance, func: Any, mean: Any, std: Any = 1.0, size: Any = None, **kwargs: Any) -> Tensor:
    like = next((one for one in (mean, std) if isinstance(one, Tensor)), None)
    if like is None:
        return chance.draw("normal", "normal", *_new((size,), kwargs)) * std + mean
    both = [one for one in (mean, std) if isinstance(one, Tensor)]
    shape = both[0].shape if len(both) == 1 else (both[0] + both[1]).shape
    return chance.draw("normal", "normal", shape, like) * std + mean


def _normal_(chance: Chance, func: Any, x: Tensor, mean: float = 0.0, std: float = 1.0, **_: Any) -> Tensor:
    return x.copy_(chance.draw("normal_", "normal", x.shape, x) * std + mean)


def _uniform_(chance: Chance, func: Any, x: Tensor, *args: float, **kwargs: Any) -> Tensor:
    low, high = _two(args, kwargs, "from", "to", (0.0, 1.0))
    return x.copy_(chance.draw("uniform_", "uniform", x.shape, x) * (high - low) + low)


def _two(args: Sequence[float], kwargs: dict[str, Any], one: str, other: str, default: Any) -> tuple[float, float]:
    return (
        args[0] if args else kwargs.get(one, default[0]),
        args[1] if len(args) > 1 else kwargs.get(other, default[1]),
    )


def _exponential_(chance: Chance, func: Any, x: Tensor, lambd: float = 1.0, **_: Any) -> Tensor:
    return x.copy_(_exponential(chance, x) / lambd)


def _exponential(chance: Chance, x: Tensor) -> Tensor:
    # Of 1 - u, which is above 0; and not of less than float32 can tell from 0.
    u = chance.draw("exponential_", "uniform", x.shape, x.float())
    return (-torch.log((1 - u).clamp(min=2**-24))).clamp(min=2**-24).to(x.dtype)


def _bernoulli(chance: Chance, func: Any, x: Tensor, p: Any = None, **_: Any) -> Tensor:
    share = x if p is None else p
    return (chance.draw("bernoulli", "uniform", x.shape, x.float()) < share).to(x.dtype)


def _bernoulli_(chance: Chance, func: Any, x: Tensor, p: Any = 0.5, **_: Any) -> Tensor:
    return x.copy_((chance.draw("bernoulli_", "uniform", x.shape, x.float()) < p).to(x.dtype))


def _multinomial(chance: Chance, func: Any, x: Tensor, num_samples: int, replacement: bool = False, **_: Any) -> Tensor:
    if num_samples > 1 and not replacement:
        raise ExportError("draws several of a multinomial without replacement; that cannot be drawn from a row's seed")
    u = chance.draw("multinomial", "uniform", (*x.shape[:-1], num_samples), x.float())
    ends = torch.cumsum(x.float() / x.float().sum(-1, keepdim=True), -1)[..., :-1]
    return (u.unsqueeze(-1) >= ends.unsqueeze(-2)).sum(-1)


def _gumbel_softmax(
    chance: Chance, func: Any, x: Tensor, tau: float = 1.0, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """As torch.nn.functional has it."""
    soft = ((x - torch.log(_exponential(chance, x))) / tau).softmax(dim)
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
    kept = chance.draw(func.__name__, "uniform", shape, x.float()) >= p
    return x * kept.to(x.dtype) / (1 - p) if p < 1 else torch.zeros_like(x)


_OF_CHANNELS = (F.dropout1d, F.dropout2d, F.dropout3d)
_REPLACED: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.randn: _randn,
    torch.rand: _rand,
    torch.randn_like: _randn_like,
    torch.rand_like: _rand_like,
    torch.randint: _randint,
    torch.randint_like: _randint_like,
    torch.normal: _normal,
    Tensor.normal_: _normal_,
    Tensor.uniform_: _uniform_,
    Tensor.exponential_: _exponential_,
    Tensor.bernoulli: _bernoulli,
    torch.bernoulli: _bernoulli,
    Tensor.bernoulli_: _bernoulli_,
    Tensor.multinomial: _multinomial,
    torch.multinomial: _multinomial,
    F.gumbel_softmax: _gumbel_softmax,
    F.dropout: _dropout,
    **dict.fromkeys(_OF_CHANNELS, _dropout),
    torch.dropout: _dropout,
    F.interpolate: lambda _chance, func, *args, **kwargs: nearest(*args, **kwargs),
}
