"""Golden probes in the rows that fill a batch up: so the kernels that serve are checked at the sizes they serve at."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Golden

EVERY_SECONDS = 1.0  # at the most; in between, padding is zeros
_SHARE = 0.001  # of the time, for fetching what the batch itself did not need

Places = NDArray[np.int64]


class Padded(NamedTuple):
    """Golden probes that were run as padding.

    `batch` rows of the whole batch; `probes` int64 [k], which ones, one perhaps several times; `differences` float64
    [k] of each, the largest absolute one from what was recorded, infinite where it is not finite.
    """

    batch: int
    probes: Places
    differences: NDArray[np.float64]


class Padding:
    """Which probes a batch is to carry, and what became of them, until it is asked for.

    `take` and `give` belong to the thread that runs batches, `collect` to one other, which does the comparing.
    """

    def __init__(self, golden: Golden) -> None:
        self._golden = golden
        self._next = 0
        self._due = 0.0
        self._waiting: tuple[int, Places, NDArray[np.float32]] | None = None

    def take(self, room: int) -> Places | None:
        """The probes to fill `room` rows with, int64 [room], going on where the last ones ended; None where they are
        not due, or the last ones were not collected yet."""
        if self._waiting is not None or time.monotonic() < self._due:
            return None
        probes = self.turn(self._next, room)
        self._next = (self._next + room) % len(self._golden.z)
        return probes

    def turn(self, first: int, count: int) -> Places:
        """`count` probes from `first` on, int64; after the last one comes the first."""
        return np.arange(first, first + count) % len(self._golden.z)

    def inputs(self, probes: Places) -> Mapping[str, NDArray[np.generic]]:
        """What these probes are made from, by the names of a generator's inputs."""
        return self._golden.inputs.take(probes).feed()

    def give(self, probes: Places, batch: int, samples: NDArray[np.float32], seconds: float) -> None:
        """Leave what a batch of `batch` rows made of them, float32 [k, ...], for `collect`. Fetching it took `seconds`:
        the next ones are due when that is a thousandth of the time."""
        self._waiting = batch, probes, samples
        self._due = time.monotonic() + max(EVERY_SECONDS, seconds / _SHARE)

    def collect(self) -> Padded | None:
        """What was left, compared with what was recorded; None where nothing was."""
        if self._waiting is None:
            return None
        batch, probes, samples = self._waiting
        self._waiting = None
        return Padded(batch, probes, differences(samples, self._golden.sample[probes]))


def differences(samples: NDArray[np.float32], recorded: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of each row the largest absolute difference, float64 [n], infinite where it is not finite."""
    with np.errstate(invalid="ignore"):
        found: NDArray[Any] = np.abs(samples - recorded).reshape(len(samples), -1).max(axis=1)
    return np.where(np.isfinite(found), found, np.inf).astype(np.float64)
