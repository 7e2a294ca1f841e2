"""A search in ranges of rows: they are looked at anywhere, in any order, and what they have is joined in theirs.

What a range has depends on nothing outside of it. Whatever does, how many rows are wanted and which category a round
still lacks, is decided where ranges are joined, of the rows' numbers and categories alone. So the shards are those of
a search that looks at one row after the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bulk.job import Job, Shard
from latentserve.service.bulk.run import Shards
from latentserve.service.bulk.sources import Source
from latentserve.service.bundle import Manifest
from latentserve.service.encoding.rows import Rows
from latentserve.service.errors import BudgetError
from latentserve.service.sampling.choosing.rounds import Rounds

_ROWS, _BYTES = 1 << 16, 32 << 20  # of a range, if all of its rows are such
_SAMPLE_BYTES = 4


class Range(NamedTuple):
    """Rows `first` to `stop - 1` of the seed."""

    first: int
    stop: int


class Looked(NamedTuple):
    """The rows of a range that are such, whatever was found before: their numbers int64 [n], ascending, and of a job
    that balances their categories int64 [n], -1 of one that is of none that is wanted."""

    numbers: NDArray[np.int64]
    categories: NDArray[np.int64] | None


class Piece(NamedTuple):
    """Rows of a range that are a shard's: what was held of the range, and their places in it."""

    held: Any
    places: NDArray[np.int64]


class Joined(NamedTuple):
    """A shard all of whose rows are known, and the first row that was not looked at for it."""

    shard: Shard
    rows: int
    next_offset: int
    pieces: list[Piece]


def look(source: Source, job: Job, some: Range) -> tuple[Looked, Rows | None]:
    """What a range has, and the rows; None: it has none."""
    length = some.stop - some.first
    _, choice = job.request(source.manifest, job.n, job.offset)
    assert choice is not None  # noqa: S101, of a job that searches
    asked = {name: value for name, value in job.asked.items() if name not in ("balance", "budget", "allow_fewer")}
    if "where" in asked or "select" in asked:
        alone = job._replace(asked=asked | {"budget": length, "allow_fewer": True})
        parts = source.search(alone, length // choice.of, some.first, length).parts
    else:
        plain = source.rows(job._replace(asked=asked), Shard("", some.first, some.stop))
        parts = list(plain)
    if not parts:
        return Looked(np.zeros(0, np.int64), None), None
    rows = Rows.join(parts)
    if rows.numbers is None:
        rows = rows._replace(numbers=np.arange(some.first, some.stop))
    assert rows.numbers is not None  # noqa: S101
    balance = choice.balance
    categories = None if balance is None else balance.of(rows.samples, rows.labels, source.manifest)
    return Looked(rows.numbers, categories), rows


class Join:
    """What ranges have, in their order, to the shards of a job that are missing."""

    def __init__(self, job: Job, manifest: Manifest, shards: Shards) -> None:
        _, choice = job.request(manifest, job.n, job.offset)
        assert choice is not None  # noqa: S101, of a job that searches
        self._job, self._choice, self._shards = job, choice, shards
        self._end = job.offset + choice.budget
        self._categories = 0 if choice.balance is None else int(choice.balance.wanted.sum())
        row = _SAMPLE_BYTES * math.prod(manifest.sample.shape)
        self._most = max(1, min(_ROWS, _BYTES // row) // choice.of)  # groups of a range
        self._wanted = job.n - shards.rows
        self._index = -1
        self._shard: Shard | None = None
        self._pieces: list[Piece] = []
        self._count = 0  # rows of the shard that were found
        self._rounds = Rounds(self._categories)
        self._position = job.offset  # the first row that may be the shard's
        self._begun = job.offset  # the first row of which no range was begun
        self._ahead = self._looked = self._found = 0  # rows: of ranges that were begun, of those that came; found
        self._next_shard()

    def next_range(self) -> Range | None:
        """What is to be looked at next; None: nothing more for now, by what was found so far, or at all."""
        of = self._choice.of
        rate = max(self._found, 1) / self._looked if self._looked else 1 / of
        first = max(self._begun, self._position)
        if self._shard is None or first >= self._end or self._ahead * rate >= self._wanted:
            return None
        groups = max(1, min(self._most, math.ceil(self._job.shard_rows / rate / of)))
        some = Range(first, min(first + groups * of, self._end))
        self._begun = some.stop
        self._ahead += some.stop - some.first
        return some

    def add(self, some: Range, looked: Looked, held: object) -> Iterator[Joined]:
        """What the next range has: the shards that are whole with it. `held` is what will be asked for its rows."""
        self._ahead -= some.stop - some.first
        self._looked += some.stop - some.first
        numbers = looked.numbers
        at = int(np.searchsorted(numbers, self._position))
        while self._shard is not None and at < len(numbers):
            places = self._take(looked, at, self._shard.rows - self._count)
            if len(places):
                self._pieces.append(Piece(held, places))
                self._count += len(places)
                self._found += len(places)
                self._wanted -= len(places)
            if self._count < self._shard.rows:
                return
            of = self._choice.of
            group = (int(numbers[places[-1]]) - self._job.offset) // of
            yield self._joined(self._shard, self._job.offset + (group + 1) * of)
            at = int(np.searchsorted(numbers, self._position))

    def rest(self) -> Joined | None:
        """The last shard, where all ranges were added that there are, and it is not whole. Raises BudgetError: fewer
        rows were found than are to be."""
        shard = self._shard
        if shard is None:
            return None
        if not self._choice.allow_fewer:
            looked, found = self._end - self._job.offset, shard.first + self._count
            said = f"budget: of {looked} rows {found} were found to be such; {self._job.n} are wanted"
            raise BudgetError(said, looked, found)
        joined = self._joined(shard, self._end)
        self._shard = None
        return joined if joined.rows else None

    def _joined(self, shard: Shard, next_offset: int) -> Joined:
        joined = Joined(shard, self._count, next_offset, self._pieces)
        self._position = next_offset
        self._next_shard()
        return joined

    def _next_shard(self) -> None:
        """The next one that is missing; of those before it that are there it is known where they end."""
        self._shard, self._pieces, self._count = None, [], 0
        self._rounds = Rounds(self._categories)  # each shard begins one
        for index in range(self._index + 1, self._job.shards):
            self._index = index
            shard = self._job.shard(index)
            there = self._shards.whole.get(shard.name)
            if there is None or there.next_offset is None:
                self._shard = shard
                return
            if there.rows < shard.rows:
                return
            self._position = there.next_offset

    def _take(self, looked: Looked, at: int, wanted: int) -> NDArray[np.int64]:
        """The places, from this one on, of so many rows or of fewer: in rounds, where the job balances."""
        if self._categories == 0:
            return np.arange(at, min(at + wanted, len(looked.numbers)))
        assert looked.categories is not None  # noqa: S101, of a job that balances
        return at + self._rounds.take(looked.categories[at:], wanted)
