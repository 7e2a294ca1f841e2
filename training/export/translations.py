"""What torch's exporter asks at each call, and what does not change from one to the next: found once.

At each call it reads the sources of five hundred functions anew, and looks up some thousand operators by their names,
a score of times, which takes longer than all the rest of exporting a small module. What it reads depends on nothing but
the version of ONNX's operators; what it looks up, on which operators there are.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch._export import utils as exporting

_read: Callable[..., Any] | None
try:
    from onnxscript.values import TracedOnnxFunction
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    _read = functools.cache(ONNXRegistry.from_torchlib)
except (ImportError, AttributeError):  # a torch that keeps them elsewhere reads them each time
    _read = None
_look_up: Callable[[], None] | None = getattr(exporting, "_materialize_cpp_cia_ops", None)

_KEY = "CompositeImplicitAutograd"
_looked_up: list[str] = []


@contextmanager
def translations_read_once() -> Iterator[None]:
    """While the block lasts, the exporter has what it has read before, and looks up operators when there are others."""
    with ExitStack() as stack:
        if _read is not None:
            stack.enter_context(_replaced(ONNXRegistry, "from_torchlib", staticmethod(_known)))
        if _look_up is not None:
            stack.enter_context(_replaced(exporting, "_materialize_cpp_cia_ops", _look_up_others))
        yield


def _known(*args: Any, **kwargs: Any) -> ONNXRegistry:
    assert _read is not None  # noqa: S101
    # Of a function that is traced, the source is parsed for the name of its domain alone.
    with _replaced(TracedOnnxFunction, "function_ir", property(lambda one: SimpleNamespace(domain=one.opset.domain))):
        registry: ONNXRegistry = copy.copy(_read(*args, **kwargs))
    # Lists of its own: what somebody registers is of one export.
    registry.functions = {operator: [*ways] for operator, ways in registry.functions.items()}
    return registry


def _look_up_others() -> None:
    assert _look_up is not None  # noqa: S101
    names = torch._C._dispatch_get_registrations_for_dispatch_key(_KEY)
    if names != _looked_up:
        _look_up()
        _looked_up[:] = names


@contextmanager
def _replaced(owner: Any, name: str, value: object) -> Iterator[None]:
    before = vars(owner).get(name)
    if before is None:  # another version has it elsewhere, and what it does is done each time
        yield
        return
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
