"""What a module draws while it runs: numbers from its inputs take the place of torch's own, so that rows repeat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from latentserve.training.errors import ExportError
from latentserve.training.export import exact, linear_algebra, samplers
from latentserve.training.export.complex_numbers import compute, is_complex
from latentserve.training.export.devices import DevicesAtHand
from latentserve.training.export.precision import FullPrecision

Draw = Literal["normal", "uniform"]

_BELOW_ONE = 1 - 2**-24  # the largest float32 below 1: torch draws from [0, 1)


@dataclass(frozen=True)
class Drawn:
    """Numbers that a module drew.

    Attributes:
        function: by which function of torch.
        prior: what takes their place is from: N(0, 1), or uniform on [0, 1).
        shape: of what takes their place.
        own: what torch drew itself; None: it was not asked.
        state: of the generator that was asked, before it was.
        faithful: whether steps with what torch drew give what torch's function gives.
    """

    function: str
    prior: Draw
    shape: tuple[int, ...]
    own: Tensor | None = None
    state: bytes = b""
    faithful: bool = True


@dataclass(frozen=True)
class Kept:
    """What torch itself drew, to be given again."""

    own: Tensor


class Chance(TorchFunctionMode):
    """While it is entered, whatever torch functions draw is taken from `given` in turn: float32 numbers of the shape
    that is drawn, or what torch itself drew before. Without it, torch draws. `drawn` says what that was. Also,
    functions are computed here by steps that ONNX has in the same meaning (`exact`).

    In the place of what draws come steps that compute with numbers from N(0, 1), or uniform on [0, 1) (`samplers`): of
    a chance they have the distribution, not the stream, of torch's.

    What is computed of weights alone (`linear_algebra`) is in `computed`, in order; given as `known` it is not computed
    again.
    """

    def __init__(self, given: Sequence[Tensor | Kept] | None = None, known: Sequence[Any] | None = None) -> None:
        super().__init__()
        self.drawn: list[Drawn] = []
        self.computed: list[Any] = []
        self._given = given
        self._known = known
        self.precision = FullPrecision()
        self.devices = DevicesAtHand()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called by torch in the place of each of its functions; none of those within it comes here."""
        func, args = self._settled(func), tuple(map(self._settled_argument, args))
        kwargs = {name: self._settled_argument(one) for name, one in (kwargs or {}).items()}
        if (sampler := samplers.REPLACED.get(func)) is not None:
            return sampler(self, func, *args, **kwargs)
        if (solve := linear_algebra.REPLACED.get(func)) is not None:
            return solve(self._look_up, func, *args, **kwargs)
        if (same := exact.REPLACED.get(func)) is not None:
            return same(func, *args, **kwargs)
        if is_complex(args, kwargs):
            return compute(func, args, kwargs)
        return func(*args, **kwargs)

    def _settled(self, func: Any) -> Any:
        return self.devices.function(self.precision.function(func))

    def _settled_argument(self, one: Any) -> Any:
        return self.devices.of(self.precision.of(one))

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

    @property
    def as_torch(self) -> bool:
        """Whether what is drawn next is what torch draws, or drew."""
        return self._given is None or isinstance(self._next(), Kept)

    def draw(
        self,
        function: str,
        prior: Draw,
        shape: Sequence[int],
        like: Tensor,
        own: Callable[[], Tensor],
        generator: torch.Generator | None = None,
        of: Callable[[Tensor], Tensor] | None = None,
        *,
        faithful: bool = True,
    ) -> Tensor:
        """What `own` draws of torch, which depends on nothing but the state of a generator; or `of` the given numbers,
        of the type and on the device of `like`."""
        if self._given is None:
            state, drawn = _state(generator, like.device), own()
            self.drawn.append(Drawn(function, prior, tuple(shape), drawn.clone(), state, faithful))
            return drawn
        given = self._next()
        self.drawn.append(Drawn(function, prior, tuple(shape)))
        if given is None:
            raise ExportError(f"draws more numbers than before: {function}, number {len(self.drawn)}, is new")
        if isinstance(given, Kept):
            return given.own
        if prior == "uniform":
            given = given.clamp(max=_BELOW_ONE)
        given = given.to(like.dtype)
        return given if of is None else of(given)

    def _next(self) -> Tensor | Kept | None:
        place = len(self.drawn)
        return self._given[place] if self._given is not None and place < len(self._given) else None


class Unseen(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, notes the operators that draw from torch itself."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called by torch in the place of each of its operators."""
        before = torch.get_rng_state()
        made = func(*args, **(kwargs or {}))
        if torch.Tag.nondeterministic_seeded in func.tags and not torch.equal(before, torch.get_rng_state()):
            self.operators.append(func.overloadpacket.__name__.strip("_"))
        return made


def _state(generator: torch.Generator | None, device: torch.device) -> bytes:
    if generator is not None:
        state = generator.get_state()
    else:
        state = torch.get_rng_state() if device.type == "cpu" else torch.get_device_module(device).get_rng_state(device)
    return state.numpy().tobytes()
