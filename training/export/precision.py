"""Modules that compute in fewer bits for speed, in which runtimes do not compute on every machine: in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class FullPrecision:
    """Where it is entered, `torch.autocast` does nothing, and nothing becomes bfloat16; within an autocast, nothing
    float16 either. `seen`: the types that were asked for."""

    def __init__(self) -> None:
        self.seen: set[torch.dtype] = set()
        self._depth = 0

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Within the block."""
        kind = torch.amp.autocast_mode.autocast
        enter, leave = kind.__enter__, kind.__exit__

        def begin(own: Any) -> Any:
            self._depth += 1
            if own._enabled:
                self.seen.add(own.fast_dtype)
            return own

        def end(_own: Any, *_error: Any) -> None:
            self._depth -= 1

        kind.__enter__, kind.__exit__ = begin, end  # type: ignore[method-assign]
        try:
            yield
        finally:
            kind.__enter__, kind.__exit__ = enter, leave  # type: ignore[method-assign]

    def of(self, one: Any) -> Any:
        """What stands for an argument of a function."""
        if isinstance(one, torch.dtype) and self._is_less(one):
            self.seen.add(one)
            return torch.float32
        return one

    def function(self, func: Any) -> Any:
        """What stands for a function."""
        if func is Tensor.bfloat16 or (func is Tensor.half and self._depth):
            self.seen.add(torch.bfloat16 if func is Tensor.bfloat16 else torch.float16)
            return Tensor.float
        return func

    def _is_less(self, dtype: torch.dtype) -> bool:
        return dtype == torch.bfloat16 or (dtype == torch.float16 and self._depth > 0)


def told_reduced(types: set[torch.dtype]) -> str:
    """What is to be said of a module that asked for them."""
    names = " and ".join(sorted(str(one).removeprefix("torch.") for one in types))
    return f"it asks for {names} in part, and is computed in float32: samples are not rounded as torch's"
