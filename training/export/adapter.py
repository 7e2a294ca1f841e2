"""Any generator behind the one call that bundles have: z, and a label and a condition where it takes them -> sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributions import Distribution

from latentserve.service.bundle import Inputs
from latentserve.service.packing.foreign.original import run_blocks
from latentserve.service.packing.foreign.roles import ConditionRole, ConstantRole, LabelRole, LatentRole
from latentserve.service.packing.foreign.signature import Input, Signature
from latentserve.training.export.chance import Chance, Drawn, Kept
from latentserve.training.export.draws import OfRow, Once
from latentserve.training.export.outputs import take_output
from latentserve.training.export.target import Target


@dataclass(frozen=True)
class Argument:
    """One thing that a generator is called with; `keyword`: by which name, None by its place; `count`: it is the number
    of rows."""

    input: Input
    keyword: str | None = None
    count: bool = False


class Adapter(nn.Module):
    """forward(z float32 [N, dim][, label int64 [N]][, condition float32 [N, k]]) of a generator that takes other
    things: latents of any shape, one-hot labels, constants, numbers that it draws itself.

    Args:
        target: the generator.
        arguments: what it is called with, in order.
        listed: it takes them as one list.
        signature: of the arguments, and of the noise that takes the place of what it draws.
        draws: what stands for each time that it draws; None: it draws from torch, and `drawn` says what it drew in the
            last call.
        known: what is computed of weights alone, as it was in calls before.
        output: the name of the sample in what it gives.
        batch: rows that it takes at a time; None: any.
        axis: along which they lie in the sample.
        row: the shape of one, where it may come without an axis for rows; None: it never does.

    Attributes:
        reduced: types of fewer bits than float32 that it asked for, and did not get.
        lacking: kinds of devices that it asked for, and are not there.
        elsewhere: what it draws by beside torch, though that was seen to make no difference; empty: nothing.
    """

    def __init__(
        self,
        target: Target,
        arguments: Sequence[Argument],
        signature: Signature,
        *,
        listed: bool = False,
        draws: Sequence[OfRow | Once] | None = None,
        known: Sequence[Any] | None = None,
        output: str | None = None,
        batch: int | None = None,
        axis: int = 0,
        row: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.held = nn.ModuleList(target.modules)
        self.target, self.arguments, self.listed, self.output = target, list(arguments), listed, output
        self.signature, self.draws = signature, draws
        self.places = {one.name: place for one, place in self.signature.columns()}
        self.names = ["z"]
        self.names += ["label"] if self.signature.label is not None else []
        self.names += ["condition"] if self.signature.conditions is not None else []
        self.drawn: list[Drawn] = []
        self.known, self.computed = known, list[Any]()
        self.dtype = target.dtype
        self.reduced, self.lacking = set[torch.dtype](), set[str]()
        self.batch, self.axis, self.row = batch, axis, row
        self.elsewhere = ""

    def call(self, *arrays: Tensor) -> Any:
        """What the generator gives, whole."""
        args, kwargs = self._given(arrays)
        z = arrays[0]
        chance = Chance(None if self.draws is None else self._numbers(self.draws, z), self.known)
        with chance.precision.entered(), unchecked_distributions(), chance:
            made = self.target.function(*args, **kwargs)
        self.reduced |= chance.precision.seen
        self.lacking |= chance.devices.seen
        self.drawn, self.computed = chance.drawn, chance.computed
        return made

    def by_itself(self, *arrays: Tensor) -> Any:
        """The same without anything in the place of torch's functions."""
        args, kwargs = self._given(arrays)
        return self.target.function(*args, **kwargs)

    def _given(self, arrays: Sequence[Tensor]) -> tuple[list[Any], dict[str, Any]]:
        given = dict(zip(self.names, arrays, strict=True))
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for argument in self.arguments:
            value = given["z"].shape[0] if argument.count else self._value(argument.input, given)
            if argument.keyword is None:
                args.append(value)
            else:
                kwargs[argument.keyword] = value
        return [args] if self.listed else args, kwargs

    def forward(self, *arrays: Tensor) -> Tensor:
        """The sample [N, ...]: float32 of what has fewer bits, else in its own type."""
        sample = take_output(self.call(*arrays), self.output or "")
        if self.axis:
            sample = sample.movedim(self.axis, 0)
        if self.row is not None:
            sample = sample.reshape(arrays[0].shape[0], *self.row)
        return sample.float() if sample.dtype in (torch.float16, torch.bfloat16) else sample

    def run(self, inputs: Inputs) -> NDArray[Any]:
        """The same of arrays, in eval mode, and of any number of rows."""
        if self.batch is not None:
            return np.concatenate(run_blocks(self._run, inputs, self.batch))
        return self._run(inputs)

    def _run(self, inputs: Inputs) -> NDArray[Any]:
        with evaluating(self), torch.no_grad():
            made: NDArray[Any] = self(*self.tensors(inputs)).cpu().numpy()
        return made

    def tensors(self, inputs: Inputs) -> list[Tensor]:
        """Copies of arrays where the generator's weights are: a generator may write into what it is given."""
        fed = inputs.feed()
        return [torch.tensor(fed[name], device=self.target.device) for name in self.names]

    def _value(self, one: Input, given: dict[str, Tensor]) -> Any:
        match one.role:
            case LatentRole():
                return self._columns(one, given["z"], self.signature.latent.dim)
            case ConditionRole():
                columns = given["condition"]
                return self._columns(one, columns, len(self.signature.conditions or ()))
            case LabelRole("one-hot"):
                places = torch.arange(one.width, device=given["label"].device)
                hot = (given["label"].unsqueeze(1) == places).to(self.dtype)
                return hot if len(one.shape) == 1 else hot.reshape(-1, *one.shape)
            case LabelRole():
                return given["label"] if not one.shape else given["label"].unsqueeze(1)
            case ConstantRole(value):
                if value.size == 1 and not one.shape:
                    return value.item()
                constant = torch.from_numpy(np.asarray(value))
                return constant.to(given["z"].device, self.dtype if value.dtype.kind == "f" else constant.dtype)
        return None

    def _columns(self, one: Input, whole: Tensor, width: int) -> Tensor:
        place = self.places[one.name]
        piece = whole if place == slice(0, width) else whole[:, place]
        if one.dtype.kind == "i" and isinstance(one.role, LatentRole):
            piece = piece.floor().clamp(*one.role.wholes).long()
        else:
            piece = piece.to(self.dtype)
        if one.shape == (one.width,):
            return piece
        return piece.reshape(-1, *one.shape) if one.shape else piece.squeeze(1)

    def _numbers(self, draws: Sequence[OfRow | Once], z: Tensor) -> list[Tensor | Kept]:
        return [
            Kept(one.numbers(z)) if isinstance(one, Once) else one.numbers(z[:, self.places[one.input.name]])
            for one in draws
        ]


@contextmanager
def unchecked_distributions() -> Iterator[None]:
    """Without torch.distributions' looks at numbers, which a graph cannot have."""
    checked = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(checked)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode within the block, and nothing is compiled for so few rows; afterwards each part is in the mode it was
    in."""
    modes = {
        part: part.training for part in module.modules() if hasattr(part, "training")
    }  # one that is frozen has none
    for part in modes:
        try:
            part.train(False)
        except NotImplementedError:  # of torch.export, whose mode was settled when it was exported
            continue
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode
