"""`report(name, tensor)`: tell a number from anywhere within a step, a layer or a loss."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_listener: ContextVar[dict[str, list[Tensor]] | None] = ContextVar("_listener", default=None)


def report(name: str, value: Tensor) -> None:
    """Add the mean of a tensor of any shape to what this step tells.

    It comes into `stats.jsonl` under its name, averaged over the finite steps of a tick and over ranks. Outside of a
    step of training it does nothing, and it never changes what is computed.
    """
    listener = _listener.get()
    if listener is not None:
        listener[name].append(value.detach().float().mean())


@contextmanager
def listening() -> Iterator[dict[str, Tensor]]:
    """Within the block `report` is heard; after it, what it said is in the dictionary: one mean a name, float32 []."""
    heard: dict[str, list[Tensor]] = defaultdict(list)
    means: dict[str, Tensor] = {}
    token = _listener.set(heard)
    try:
        yield means
    finally:
        _listener.reset(token)
    means |= {name: torch.stack(values).mean() for name, values in heard.items()}
