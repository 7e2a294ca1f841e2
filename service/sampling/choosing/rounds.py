"""Rows taken in rounds, as an answer that is balanced has them: one row of each category, then again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Rounds:
    """What was taken so far.

    Attributes:
        taken: the categories of which the round that is under way has a row.
    """

    def __init__(self, categories: int) -> None:
        """`categories`: how many a round has."""
        self._categories = categories
        self.taken: set[int] = set()

    def take(self, categories: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
        """Of the next rows, by their categories, int64 [n], -1 of one that none is wanted of: the places of those to
        take, int64, ascending, at most `wanted`."""
        chosen: list[int] = []
        for place, category in enumerate(categories.tolist()):
            if category < 0 or category in self.taken:
                continue
            chosen.append(place)
            if len(chosen) == wanted:
                break
            self.taken.add(category)
            if len(self.taken) == self._categories:
                self.taken.clear()
        return np.array(chosen, np.int64)
