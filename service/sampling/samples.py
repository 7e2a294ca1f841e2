"""Rows as the sampler gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Inputs

Scalar = TypeVar("Scalar", bound=np.generic)

LITTLE_BYTES = 1 << 18  # that may be kept for any of a few rows


@dataclass(slots=True)
class Samples:
    """Samples [n, *sample.shape], float32 or uint8 as asked, in order, with each one's label int64 [n] (None if
    unconditional) and conditions float32 [n, k] (None if there are none), asked for or drawn.

    Of rows that are chosen also their numbers int64 [n], and their scores float32 [n] where they were needed.
    """

    samples: NDArray[Any]
    labels: NDArray[np.int64] | None
    conditions: NDArray[np.float32] | None
    queue_seconds: float = 0.0
    numbers: NDArray[np.int64] | None = None
    scores: NDArray[np.float32] | None = None

    @property
    def critic_inputs(self) -> Inputs:
        """What the critic may take of what the rows were made from."""
        return Inputs(np.empty((len(self.samples), 0), np.float32), self.labels, self.conditions)

    def take(self, rows: slice | NDArray[np.int64]) -> Samples:
        """These rows only."""
        return Samples(
            self.samples[rows],
            None if self.labels is None else self.labels[rows],
            None if self.conditions is None else self.conditions[rows],
            self.queue_seconds,
            None if self.numbers is None else self.numbers[rows],
            None if self.scores is None else self.scores[rows],
        )

    @staticmethod
    def join(parts: Sequence[Samples]) -> Samples:
        """The rows of all parts, in order; one part at least."""
        return Samples(
            join([part.samples for part in parts]),
            join_any([part.labels for part in parts if part.labels is not None]),
            join_any([part.conditions for part in parts if part.conditions is not None]),
            parts[0].queue_seconds,
            join_any([part.numbers for part in parts if part.numbers is not None]),
            join_any([part.scores for part in parts if part.scores is not None]),
        )


def join(parts: Sequence[NDArray[Scalar]]) -> NDArray[Scalar]:
    """Arrays one after the other; one at least."""
    if len(parts) > 1:
        return np.concatenate(parts)
    (part,) = parts
    # A few rows of a large batch would keep all of it, for as long as their reader takes.
    return part.copy() if getattr(part.base, "nbytes", 0) > max(LITTLE_BYTES, 2 * part.nbytes) else part


def join_any(parts: Sequence[NDArray[Scalar]]) -> NDArray[Scalar] | None:
    """The same, None where there are none."""
    return join(parts) if parts else None
