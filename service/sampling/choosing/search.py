"""A search: rows of a seed, looked at in their order, until as many were found as are wanted.

Which rows these are depends on nothing but the seed and what was asked for: not on how many are looked at at a time. A
search that goes on at `next_offset` finds those that a longer one would have found.
"""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Manifest
from latentserve.service.errors import BudgetError
from latentserve.service.sampling.choosing.choice import Choice
from latentserve.service.sampling.choosing.rounds import Rounds
from latentserve.service.sampling.samples import Samples

_FEW_ROWS = 16  # that are looked at before it is known how many pass
_MORE = 1.1  # than are expected to be needed


class Search:
    """How far it is.

    Attributes:
        found: rows.
        looked_at: rows; where `done`, up to the last one that was needed.
        made: rows of these; where labels or conditions say that they are none of the answer, the others are not.
    """

    def __init__(self, choice: Choice, manifest: Manifest, offset: int) -> None:
        self._choice = choice
        self._manifest = manifest
        self._offset = offset
        self._best: Samples | None = None  # so far, of rows that are not all looked at
        self._rounds = Rounds(0 if choice.balance is None else int(choice.balance.wanted.sum()))
        self.found = 0
        self.looked_at = 0
        self.made = 0
        self.done = False

    @property
    def n(self) -> int:
        """Rows that are wanted."""
        return self._choice.n

    @property
    def scored(self) -> bool:
        """Whether candidates need scores."""
        return self._choice.scored

    @property
    def next_offset(self) -> int:
        """The first row that was not looked at."""
        return self._offset + self.looked_at

    @property
    def expected(self) -> int:
        """Rows that are still to be looked at, by what was found so far; one at least."""
        wanted = self._choice.n - self.found
        if self._choice.certain:
            return max(1, self._choice.n * self._choice.of - self.looked_at)
        if not self.found:
            return max(_FEW_ROWS, wanted, self.made)
        return ceil(_MORE * wanted * self.made / self.found) + 1

    @property
    def sifts(self) -> bool:
        """Whether labels or conditions say of rows, before they are made, that they are none of the answer."""
        return self._choice.where.of_drawn or self._choice.drawn_say_all

    @property
    def drawn_say_all(self) -> bool:
        """Whether labels and conditions say which rows are the answer."""
        return self._choice.drawn_say_all

    @property
    def needs_labels(self) -> bool:
        """Whether labels are needed for that."""
        return self._choice.needs_labels

    @property
    def conditions(self) -> list[int]:
        """The columns of the conditions that are needed for that."""
        return [at for at, _ in self._choice.where.conditions]

    def sifted(self, drawn: Samples, start: int) -> Samples:
        """Of rows from the `start`-th on, of which labels and conditions are drawn, those to be made, with their
        numbers and still without samples."""
        first = self._offset + start
        drawn.numbers = np.arange(first, first + len(drawn.samples))
        return drawn.take(self._choice.where.passing_drawn(drawn))

    def chosen_by_drawn(self, drawn: Samples) -> Samples:
        """Of the next rows those that are the answer, where labels and conditions say all: their numbers, and no
        samples. All of them are to be made."""
        drawn.numbers = np.arange(self.next_offset, self.next_offset + len(drawn.samples))
        self.looked_at += len(drawn.samples)
        chosen = self.choose(drawn.take(self._choice.where.passing_drawn(drawn)))
        self.made += len(chosen.samples)
        return chosen

    def candidates(self, rows: Samples, looked_at: int | None = None) -> Samples:
        """Of the next rows those that pass, whatever their scores are, with their numbers.

        Rows that were sifted have theirs, and `looked_at` says how many were looked at with them.
        """
        if rows.numbers is None:
            rows.numbers = np.arange(self.next_offset, self.next_offset + len(rows.samples))
        self.looked_at = self.looked_at + len(rows.samples) if looked_at is None else looked_at
        self.made += len(rows.samples)
        where = self._choice.where
        if not where.columns and not where.of_drawn:
            return rows
        return rows.take(where.passing(rows))

    def choose(self, rows: Samples) -> Samples:
        """Of candidates, with scores where the choice needs them, those that are the answer."""
        if (test := self._choice.where.score) is not None:
            assert rows.scores is not None  # noqa: S101, the choice is `scored`
            rows = rows.take(np.flatnonzero(test.passes(rows.scores)))
        if self._choice.of > 1:
            rows = self._best_of(rows)
        wanted = self._choice.n - self.found
        if (balance := self._choice.balance) is not None:
            categories = balance.of(rows.samples, rows.labels, self._manifest)
            rows = rows.take(self._rounds.take(categories, wanted))
        elif len(rows.samples) > wanted:
            rows = rows.take(np.arange(wanted))
        self.found += len(rows.samples)
        if self.found == self._choice.n and not self.done:
            self.done = True
            last = int(self._numbers(rows)[-1]) - self._offset
            self.looked_at = (last // self._choice.of + 1) * self._choice.of
            self.made = min(self.made, self.looked_at)  # what came with the last one was not asked for
        return rows

    def end(self) -> None:
        """The budget is used up. Raises BudgetError: fewer rows were found than are to be."""
        if self.done or self._choice.allow_fewer:
            return
        said = f"budget: of {self.looked_at} rows {self.found} were found to be such; {self._choice.n} are wanted"
        if (balance := self._choice.balance) is not None:
            places = [place for place in np.flatnonzero(balance.wanted).tolist() if place not in self._rounds.taken]
            said += f"; none more is {str(balance.categories[places[0]])[:100]!r}"
        raise BudgetError(said, self.looked_at, self.found)

    def _best_of(self, rows: Samples) -> Samples:
        """Of each group of rows that is whole by now, the one with the best score; of equals the first."""
        if self._best is not None:
            rows = Samples.join([self._best, rows])
        numbers = self._numbers(rows)
        groups = (numbers - self._offset) // self._choice.of
        assert rows.scores is not None  # noqa: S101, the choice is `scored`
        scores = np.where(np.isnan(rows.scores), -np.inf, rows.scores)
        order = np.lexsort((numbers, -scores, groups))
        first = np.ones(len(order), np.bool_)
        first[1:] = np.diff(groups[order]) > 0
        best = order[first]
        whole = groups[best] < self.looked_at // self._choice.of
        left = best[~whole]
        self._best = rows.take(left) if len(left) else None
        return rows.take(best[whole])

    @staticmethod
    def _numbers(rows: Samples) -> NDArray[np.int64]:
        assert rows.numbers is not None  # noqa: S101, candidates have them
        return rows.numbers
