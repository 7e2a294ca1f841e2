"""Chance that does not come from torch: Python's and numpy's generators, which no graph has."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_TRIES = 8  # runs, each from another state, of what draws


class Runs(NamedTuple):
    """What is seen of something that was run from several states of these generators.

    Attributes:
        made: what it gave: in two runs, or more where it draws.
        names: of the generators that it drew from, other numbers from other states.
    """

    made: list[NDArray[Any]]
    names: list[str]

    @property
    def alike(self) -> bool:
        """Whether it gave the same each time."""
        return all(np.array_equal(self.made[0], one, equal_nan=True) for one in self.made[1:])


def run_from_several_states(run: Callable[[], NDArray[Any]]) -> Runs:
    """Run it; afterwards the generators are where they were. What seeds them anew draws nothing."""
    before = random.getstate(), np.random.get_state()
    made: list[NDArray[Any]] = []
    starts: list[dict[str, Any]] = []
    ends: list[dict[str, Any]] = []
    names: list[str] = []
    try:
        while len(made) < (_TRIES if names else 2):
            random.seed(len(made))
            np.random.seed(len(made))
            starts.append(_states())
            made.append(run())
            ends.append(_states())
            if len(made) == 2:
                names = [
                    name for name in starts[0] if _moves([one[name] for one in starts], [one[name] for one in ends])
                ]
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
    return Runs(made, names)


def _states() -> dict[str, Any]:
    _, keys, *rest = np.random.get_state()
    return {"Python's random": random.getstate(), "numpy's random": (np.asarray(keys).tobytes(), *rest)}


def _moves(starts: list[Any], ends: list[Any]) -> bool:
    return starts != ends and ends[0] != ends[1]
