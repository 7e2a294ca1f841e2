"""What torch's exporter translates operators by, read once.

At each call it reads the sources of five hundred functions anew, which takes longer than all the rest of exporting a
small module. What it reads depends on nothing but the version of ONNX's operators.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_read: Callable[..., Any] | None
try:
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    _read = functools.cache(ONNXRegistry.from_torchlib)
except (ImportError, AttributeError):  # a torch that keeps them elsewhere reads them each time
    _read = None


@contextmanager
def translations_read_once() -> Iterator[None]:
    """While the block lasts, the exporter has what it has read before."""
    read = _read
    if read is None:
        yield
        return
    before = ONNXRegistry.__dict__["from_torchlib"]

    def known(*args: Any, **kwargs: Any) -> ONNXRegistry:
        registry: ONNXRegistry = copy.copy(read(*args, **kwargs))
        # Lists of its own: what somebody registers is of one export.
        registry.functions = {operator: [*ways] for operator, ways in registry.functions.items()}
        return registry

    ONNXRegistry.from_torchlib = staticmethod(known)  # type: ignore[method-assign]
    try:
        yield
    finally:
        ONNXRegistry.from_torchlib = before  # type: ignore[method-assign]
