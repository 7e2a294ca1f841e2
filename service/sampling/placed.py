"""Rows as fixed batches make them, in wider batches where these were seen to give the same bits."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Inputs
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.served_graph import Output

WIDEST = 1024
_WIDER = (64, 256, WIDEST)
_TURNS = 3
_LONG_SECONDS = 0.02  # of one call: what a call costs beside its rows is nothing to it, and wider ones take memory
_BYTES = 32 << 20  # of one call's samples


class Placed:
    """What `Engine.run_fixed` gives, bit for bit, and faster where the engine allows.

    Attributes:
        batch: rows of one call, whole fixed batches.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.batch = engine.fixed_batch

    def widen(self, inputs: Inputs, output: Output) -> None:
        """Find the fastest batch that makes of these rows, from the first place of a fixed batch on, what fixed batches
        make. It stays as it is where there are fewer rows than a wider one has."""
        engine, fixed = self._engine, self._engine.fixed_batch
        expected, best = self._timed(inputs.take(slice(0, fixed)), output, fixed)
        row_bytes = max(1, expected[:1].nbytes)
        for wider in _WIDER:
            batch = wider - wider % fixed
            some = inputs.take(slice(0, batch))
            if best * batch > _LONG_SECONDS or len(some.z) < batch or batch > engine.max_batch:
                return
            if batch * row_bytes > _BYTES or batch <= fixed:
                return
            made, seconds = self._timed(some, output, batch)
            if not _same(made, engine.run_fixed(some, (output,), 0)[0]):
                return
            if seconds < best:
                self.batch, best = batch, seconds

    def run(self, inputs: Inputs, outputs: Sequence[Output], row: int) -> list[NDArray[Any]]:
        """See `Engine.run_fixed`; `row` is the first one's number."""
        engine, n = self._engine, len(inputs.z)
        head = min(n, -row % engine.fixed_batch)
        wide = head + (n - head) // self.batch * self.batch if self.batch > engine.fixed_batch else head
        parts = [engine.run_fixed(inputs.take(slice(0, head)), outputs, row)] if head else []
        parts += [
            engine.run(inputs.take(slice(start, start + self.batch)), outputs)
            for start in range(head, wide, self.batch)
        ]
        if wide < n:
            parts.append(engine.run_fixed(inputs.take(slice(wide, n)), outputs, row + wide))
        return parts[0] if len(parts) == 1 else [np.concatenate(part) for part in zip(*parts, strict=True)]

    def _timed(self, inputs: Inputs, output: Output, batch: int) -> tuple[NDArray[Any], float]:
        """What one call makes, and the seconds that a row takes at the least."""
        best = np.inf
        for _ in range(_TURNS):
            began = time.perf_counter()
            (made,) = self._engine.run(inputs, (output,))
            best = min(best, (time.perf_counter() - began) / batch)
        return made, best


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Bit for bit."""
    return bool(np.array_equal(one.view(np.uint8), other.view(np.uint8)))
