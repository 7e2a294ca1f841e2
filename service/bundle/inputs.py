"""What rows are made from, as the graphs take it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Inputs(NamedTuple):
    """Rows' latents `z` float32 [n, dim], their `label` int64 [n] (None: unconditional) and their `condition` float32
    [n, k] (None: there are no conditions)."""

    z: NDArray[np.float32]
    label: NDArray[np.int64] | None = None
    condition: NDArray[np.float32] | None = None

    def take(self, rows: slice | NDArray[np.intp] | NDArray[np.int64]) -> Inputs:
        """These rows only."""
        return _each(self, lambda array: array[rows])

    def placed(self, batch: int, place: int) -> Inputs:
        """The rows at `place` of a batch of so many, zeros elsewhere."""
        return self.spread(batch, slice(place, place + len(self.z)))

    def spread(self, batch: int, places: slice | NDArray[np.int64]) -> Inputs:
        """The rows at these places of a batch of so many, zeros elsewhere."""

        def put(array: NDArray[Any]) -> NDArray[Any]:
            whole = np.zeros((batch, *array.shape[1:]), array.dtype)
            whole[places] = array
            return whole

        return _each(self, put)

    def feed(self) -> dict[str, NDArray[Any]]:
        """The arrays that are there, by the names of a generator's inputs."""
        return {name: array for name, array in zip(self._fields, self, strict=True) if array is not None}

    @staticmethod
    def join(parts: Sequence[Inputs]) -> Inputs:
        """The rows of all parts, in order; one part at least, and all have the same arrays."""
        if len(parts) == 1:
            return parts[0]
        z, label, condition = zip(*parts, strict=True)
        return Inputs(
            np.concatenate(z),
            None if label[0] is None else np.concatenate(label),
            None if condition[0] is None else np.concatenate(condition),
        )


def _each(inputs: Inputs, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Inputs:
    z, label, condition = inputs
    return Inputs(change(z), None if label is None else change(label), None if condition is None else change(condition))
