"""What is exported of a module or a callable: the thing that is called, and the modules whose weights it holds."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import is_lazy

from latentserve.training.errors import ExportError

_WRAPPED = {
    "DataParallel", "DistributedDataParallel", "OptimizedModule", "FullyShardedDataParallel", "AveragedModel",
}  # fmt: skip
_MAKERS = ("decode", "generate", "inverse", "reverse", "sample")  # methods that samples may come from,
_PARTS = ("decoder", "generator", "netG", "G_ema", "G", "gen", "ema_model", "module", "model")  # and modules


@dataclass(frozen=True)
class Target:
    """What is called, and what it holds.

    Attributes:
        function: the call.
        modules: with the weights that it reads.
        parameters: the names of what it takes, with whether each must be given and may be given by place; None: it
            takes anything (`*args`).
        hint: what else may make samples, where it is a module that fails; empty: nothing is seen.
        any_keyword: it takes others by their names, too (`**kwargs`).
    """

    function: Callable[..., Any]
    modules: list[nn.Module]
    parameters: dict[str, inspect.Parameter] | None
    hint: str = ""
    any_keyword: bool = False

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        held = next((tensor for _, tensor in self.held()), None)
        return torch.device("cpu") if held is None else held.device

    @property
    def cuda(self) -> list[torch.device]:
        """The same, where torch draws on a GPU with a state of its own."""
        return [self.device] if self.device.type == "cuda" else []

    @property
    def dtype(self) -> torch.dtype:
        """The type that most of its weights have; float32 of one without weights."""
        sizes: dict[torch.dtype, int] = {}
        for _, tensor in self.held():
            if tensor.is_floating_point():
                sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.numel()
        return max(sizes, key=lambda one: sizes[one]) if sizes else torch.float32

    @contextmanager
    def in_float32(self) -> Iterator[list[str]]:
        """Within the block, weights of bfloat16, in which runtimes do not compute, are float32, and what is to be said
        of it is given; afterwards they are what they were."""
        held = [tensor for _, tensor in self.held() if tensor.dtype == torch.bfloat16]
        kept = [(tensor, tensor.data) for tensor in {id(tensor): tensor for tensor in held}.values()]
        for tensor, data in kept:
            tensor.data = data.float()
        try:
            yield ["its weights are bfloat16, and computed with in float32: samples are not rounded as torch's"] * bool(
                kept
            )
        finally:
            for tensor, data in kept:
                tensor.data = data

    def totals(self) -> dict[str, str]:
        """What its weights add up to, by their names: whether they change is seen without a copy of them."""
        return {name: _total(tensor) for name, tensor in self.held()}

    def changed(self, before: Mapping[str, str]) -> list[str]:
        """The names of those that add up to something else than in `totals` before, but for integers, which count."""
        return [name for name, tensor in self.held() if before.get(name) not in (None, _total(tensor))]

    @property
    def unset(self) -> list[str]:
        """The names of its layers that normalise by a mean and a variance of data, and have seen none."""
        parts = (one for module in self.modules for one in module.named_modules())
        return [
            name or type(part).__name__
            for name, part in parts
            if isinstance(part, _NormBase)
            and part.running_mean is not None
            and part.running_var is not None
            and bool((part.running_mean == 0).all() and (part.running_var == 1).all())
        ]

    def held(self) -> Iterator[tuple[str, Tensor]]:
        """Its weights and buffers, with their names."""
        for place, module in enumerate(self.modules):
            for name, tensor in (*module.named_parameters(), *module.named_buffers()):
                yield f"{name} of {type(module).__name__} {place}" if place else name, tensor


def _total(tensor: Tensor) -> str:
    if tensor.layout != torch.strided or not (tensor.is_floating_point() or tensor.is_complex()):
        return ""
    return str(torch.sum(tensor.detach(), dtype=torch.complex128 if tensor.is_complex() else torch.float64).item())


def find_target(given: Any, call: str | Callable[..., Any] | None) -> Target:
    """Of a module, or anything that can be called. `call`: the name of a method of it, or a function of it and of the
    inputs. Raises ExportError."""
    given = unwrapped(given)
    if isinstance(given, type):
        raise ExportError(f"generator: {given.__name__} is a class; give an object of it that has its weights")
    if isinstance(call, str):
        if not callable(getattr(given, call, None)):
            raise ExportError(f"generator: {type(given).__name__} has no method {call}, which is told as call")
        function = getattr(given, call)
        shown = function
    elif call is not None:
        function = functools.partial(call, given)
        shown = function
    elif isinstance(given, nn.Module):
        function, shown = given, given.forward
        if getattr(shown, "__func__", None) is nn.Module.forward:
            raise ExportError(f"generator: {type(given).__name__} has no forward{_other_makers(given)}")
    elif callable(given):
        function = shown = given
    else:
        said = f"generator: {type(given).__name__} is no module and nothing that can be called"
        raise ExportError(f"{said}{_what_else(given)}")
    modules = [given] if isinstance(given, nn.Module) else []
    modules += [one for one in _held_by(shown) if all(one is not other for other in modules)]
    for module in modules:
        _check_weights(module)
    hint = _other_makers(given) if isinstance(given, nn.Module) and call is None else ""
    parameters, any_keyword = _parameters(shown)
    return Target(function, modules, parameters, hint, any_keyword)


def _other_makers(module: nn.Module) -> str:
    """What of a module may make samples beside its forward."""
    children = dict(module.named_children())
    found = [f"call={name!r}" for name in _MAKERS if callable(getattr(type(module), name, None))]
    found += [f"its .{name}" for name in _PARTS if name in children]
    return f"; if another part of it makes samples, give {' or '.join(found)}" if found else ""


def _what_else(given: Any) -> str:
    """What to do with things that are weights, or where they are."""
    is_path = isinstance(given, str | PathLike)
    if type(given).__name__ in ("ModelProto", "InferenceSession") or (is_path and fspath(given).endswith(".onnx")):
        return ": of an ONNX graph, latentserve pack takes the file"
    if is_path:
        return ": load what lies there (torch.load, where you trust it), and give the module"
    if isinstance(given, Mapping):
        return ": of weights, make the module, give it to module.load_state_dict(...), and give the module"
    return ""


def _check_weights(module: nn.Module) -> None:
    """Raises ExportError: some have no numbers."""
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(tensor):
            raise ExportError(
                f"generator: its weight {name} was never made (a lazy module that has not run yet): run the module "
                "once, and load its weights"
            )
        if tensor.is_meta:
            raise ExportError(
                f"generator: its weight {name} is on the meta device, without numbers: load them with "
                "load_state_dict(..., assign=True)"
            )


def unwrapped(given: Any) -> Any:
    """Without what parallel and compiled modules put around one."""
    while True:
        inner = given
        if isinstance(given, torch.export.ExportedProgram):
            inner = given.module()
        elif isinstance(given, nn.Module) and (given._forward_hooks or given._forward_pre_hooks):
            return given  # they are of what it computes
        elif type(given).__name__ in _WRAPPED:
            inner = vars(given).get("_modules", {}).get("module") or getattr(given, "_orig_mod", None) or given
        elif not isinstance(given, nn.Module) and hasattr(given, "_torchdynamo_orig_callable"):
            inner = given._torchdynamo_orig_callable
        if inner is given:
            return given
        given = inner


def _parameters(function: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter] | None, bool]:
    try:
        found = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None, False
    named = {name: one for name, one in found.items() if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)}
    kinds = {one.kind for one in found.values()}
    anything = inspect.Parameter.VAR_POSITIONAL in kinds and not named
    return None if anything else named, inspect.Parameter.VAR_KEYWORD in kinds


def _held_by(function: Any) -> Iterator[nn.Module]:
    """Modules that a function reads from where it was made: its object, what it encloses, globals that it names."""
    found: list[Any] = [function]
    while isinstance(found[-1], functools.partial):
        found += [*found[-1].args, *found[-1].keywords.values(), found[-1].func]
    for one in list(found):
        owner = getattr(one, "__self__", None)
        code = getattr(one, "__code__", getattr(getattr(one, "__func__", None), "__code__", None))
        found.append(owner)
        if not isinstance(one, nn.Module) and not inspect.isroutine(one) and not isinstance(one, functools.partial):
            found += list(getattr(one, "__dict__", {}).values())
        if owner is not None and not isinstance(owner, nn.Module):
            found += list(getattr(owner, "__dict__", {}).values())
        for cell in getattr(one, "__closure__", None) or ():
            try:
                found.append(cell.cell_contents)
            except ValueError:  # not filled
                continue
        if code is not None and owner is None:
            held = getattr(one, "__globals__", {})
            found += [held[name] for name in code.co_names if name in held]
        found += list(getattr(one, "__defaults__", None) or ())
    for one in found:
        if isinstance(one, list | tuple | dict):
            parts = one.values() if isinstance(one, dict) else one
            yield from (part for part in parts if isinstance(part, nn.Module))
        elif isinstance(one, nn.Module):
            yield one
