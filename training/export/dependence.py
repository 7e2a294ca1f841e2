"""Where in a generator rows begin to depend on what shares their batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from latentserve.service.bundle import Inputs
from latentserve.service.packing.spans import share_off
from latentserve.training.export.adapter import Adapter, evaluating

_FEW, _MORE = [3, 1], [0, 1, 2, 3]  # rows of the two batches: out of order, for a row may depend on those before it
_ONE_PLACE, _NEXT_PLACE, _OTHERS = (
    [1, 2, 3, 0],
    [0, 1, 2, 3],
    [1, 0, 0, 0],
)  # the same row: first, second, beside others
_ALIKE = 1e-3  # of a value's span: further off, and it is no rounding


class _Seen(NamedTuple):
    function: str
    place: str
    value: Tensor


class _Watch(TorchFunctionMode):
    """Keeps what each function gives, and which module calls it."""

    def __init__(self, named: dict[nn.Module, str]) -> None:
        super().__init__()
        self.seen: list[_Seen] = []
        self._named, self._within = named, list[nn.Module]()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called by torch in the place of each of its functions."""
        made = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if isinstance(made, Tensor) and made.is_floating_point() and made.ndim and not name.startswith("__get"):
            self.seen.append(_Seen(name.strip("_"), self._place(), made.detach()))
        return made

    def _place(self) -> str:
        module = next((one for one in reversed(self._within) if one in self._named), None)
        if module is None:
            return "forward"
        path = self._named[module]
        return f"{path} ({type(module).__name__})" if path else f"{type(module).__name__}.forward"

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within the block."""
        before = register_module_forward_pre_hook(lambda module, _inputs: self._within.append(module))
        after = register_module_forward_hook(lambda _module, _inputs, _made: self._leave())
        try:
            with self:
                yield
        finally:
            before.remove()
            after.remove()

    def _leave(self) -> None:
        self._within.pop()


def depends(adapter: Adapter, inputs: Inputs) -> float:
    """How far a row is from the same row beside others, as a share of the samples' span (`share_off`); NaN where
    samples are not finite. `inputs`: four rows."""
    whole = adapter.run(inputs)
    return share_off(whole[_FEW], adapter.run(inputs.take(np.array(_FEW))), whole)


def is_dependent(share: float) -> bool:
    """Whether that is no rounding."""
    return share > _ALIKE


def told_dependence(adapter: Adapter, inputs: Inputs, share: float) -> str:
    """What is to be said of a generator whose rows depend on each other."""
    if adapter.elsewhere:
        return f"generator: draws by {adapter.elsewhere}, which no graph has, and gives other rows by that at times"
    if _of_place(adapter, inputs):
        return (
            "generator: a row is another one at another place of its batch; it must be the same wherever it lies "
            "(numbers that a fixed seed draws for the whole batch are to be drawn for one row)"
        )
    place = _first(adapter, inputs)
    where = "" if place is None else f", from {place} on"
    return (
        f"generator: its rows depend on what shares their batch (off by {share:.3g} of their span){where}; a row "
        "must be the same alone and among others"
    )


def _of_place(adapter: Adapter, inputs: Inputs) -> bool:
    """Whether rows depend on their place alone, and not on what lies at others."""
    one, following, beside = (adapter.run(inputs.take(np.array(of))) for of in (_ONE_PLACE, _NEXT_PLACE, _OTHERS))
    return not is_dependent(share_off(one[0], beside[0], one)) and is_dependent(share_off(one[0], following[1], one))


def _first(adapter: Adapter, inputs: Inputs) -> str | None:
    """The first function whose rows are others in a batch of two than in one of four, and the layer that calls it;
    None: none is seen."""
    if adapter.batch is not None:
        return None
    named: dict[nn.Module, str] = {}
    for root in adapter.held:
        for path, module in root.named_modules():
            named.setdefault(module, path)
    runs = []
    for rows in (_FEW, _MORE):
        with evaluating(adapter), torch.no_grad(), (watch := _Watch(named)).watching():
            adapter(*adapter.tensors(inputs.take(np.array(rows))))
        runs.append(watch.seen)
    for few, more in zip(*runs, strict=False):
        each, rest = divmod(more.value.shape[0], len(_MORE))
        if few.function != more.function or rest or few.value.shape != (each * len(_FEW), *more.value.shape[1:]):
            continue
        blocks = more.value.unflatten(0, (len(_MORE), each))[_FEW].flatten(0, 1).double()
        span = more.value.double().max() - more.value.double().min()
        if not (few.value.double() - blocks).abs().max() <= _ALIKE * (span or 1.0):
            return f"{few.function} in {few.place}"
    return None
