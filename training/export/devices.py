"""Modules that name a GPU in their code (`.cuda()`, `device="cuda"`), on machines that have none: on the CPU."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

_NAMED = re.compile(r"(cuda|hip|mps|xpu)(:\d+)?")
_TYPE = re.compile(r"torch\.cuda\.(\w+Tensor)")


class DevicesAtHand:
    """`seen`: the devices that were asked for, and are not there."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def of(self, one: Any) -> Any:
        """What stands for an argument of a function."""
        if isinstance(one, torch.device | str) and (named := _NAMED.fullmatch(str(one))) and self._lacks(named[1]):
            return torch.device("cpu")
        if isinstance(one, type | str):
            typed = _TYPE.fullmatch(one if isinstance(one, str) else f"{one.__module__}.{one.__name__}")
            if typed is not None and self._lacks("cuda"):
                return f"torch.{typed[1]}"
        return one

    def function(self, func: Any) -> Any:
        """What stands for a function."""
        return _stays if func is Tensor.cuda and self._lacks("cuda") else func

    def _lacks(self, kind: str) -> bool:
        kind = "cuda" if kind == "hip" else kind
        lacks = kind not in _at_hand()
        self.seen |= {kind} if lacks else set()
        return lacks


def _stays(x: Tensor, *_args: Any, **_kwargs: Any) -> Tensor:
    return x


def _at_hand() -> set[str]:
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return {"cpu"} if accelerator is None else {"cpu", accelerator.type}


def told_devices(kinds: set[str]) -> str:
    """What is to be said of a module that asked for them."""
    return f"it asks for {' and '.join(sorted(kinds))}, which is not here, and is computed on the CPU"
