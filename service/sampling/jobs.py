"""Jobs that wait, and the order in which their rows leave. Knows nothing of threads, or of what a row is.

The job with the fewest rows left goes first: of all orders this one has the least mean time (Schrage 1968, "A proof of
the optimality of the shortest remaining processing time discipline"), and equal jobs end in the order they came in. By
itself it would starve a large job for as long as small ones come, so one row in AGED goes to whoever has waited
longest. Of the rows that leave while a job waits, a quarter thus are of jobs that were there before it, or its own: it
is done when AGED times as many have left as waited when it came, its own among them, and two batches. What comes later,
and how small it is, does not matter.

Fair are requests, not clients: there is nothing to tell those by, and who asks twice has two requests.
"""

from __future__ import annotations

import heapq
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Payload = TypeVar("Payload")

AGED = 4  # one in so many rows is of the oldest job
_STALE = 64  # entries that are no job's any more, beside as many as there are jobs


@dataclass(eq=False, slots=True)
class Job(Generic[Payload]):
    """`rows` rows that belong together.

    `bulk` jobs yield to the others; `alone` jobs are never batched with another job's rows. Where rows of an alone job
    have places, `places` of them in all and `place` that of its first row, its pieces end with the last one.
    """

    rows: int
    payload: Payload
    bulk: bool = False
    alone: bool = False
    places: int = 1
    place: int = 0
    cancelled: bool = False
    enqueued: float = field(default_factory=time.perf_counter)
    started: float = 0.0
    taken: int = 0
    done: int = 0
    number: int = 0

    @property
    def left(self) -> int:
        """Rows that are in no batch yet."""
        return self.rows - self.taken

    def take(self, room: int, now: float) -> Piece[Payload]:
        """Its next rows, up to `room` of them; more where a whole number of its places takes more."""
        start, stop = self.taken, min(self.rows, self.taken + room)
        if self.places > 1 and stop < self.rows:
            whole = max(stop + self.place, start + self.place + self.places) // self.places * self.places
            stop = min(self.rows, whole - self.place)
        if start == 0:
            self.started = now
        self.taken = stop
        return Piece(self, start, stop - start)


@dataclass(slots=True)
class Piece(Generic[Payload]):
    """Rows `start` to `stop - 1` of a job, in one batch: `rows` of them."""

    job: Job[Payload]
    start: int
    rows: int

    @property
    def stop(self) -> int:
        """The row after the last."""
        return self.start + self.rows


class JobQueue(Generic[Payload]):
    """Jobs that wait, with `rows` left in all: 0 means that there is no job. `alone` of them are not to be batched with
    others. They come, leave and are given up, each in logarithmic time."""

    def __init__(self) -> None:
        self._by_age: OrderedDict[Job[Payload], None] = OrderedDict()
        # (rows left, number, job), a heap. An entry whose job has left, or has fewer rows left by now, is passed by.
        self._by_rows: list[tuple[int, int, Job[Payload]]] = []
        self._unsorted: list[Job[Payload]] = []  # that are not in the heap yet; most leave before they need to be
        self.rows = 0
        self.alone = 0
        self._count = 0
        self._owed = 0.0  # rows, to whoever has waited longest
        self._next: Job[Payload] | None = None

    def add(self, job: Job[Payload]) -> None:
        """The job waits."""
        self._count += 1
        job.number = self._count
        self._by_age[job] = None
        self.rows += job.rows - job.taken
        self.alone += job.alone
        self._unsorted.append(job)
        if len(self._by_rows) + len(self._unsorted) > 2 * len(self._by_age) + _STALE:
            self._by_rows, self._unsorted = [], list(self._by_age)

    def remove(self, job: Job[Payload]) -> None:
        """The job waits no more, if it did."""
        if job in self._by_age:
            self.rows -= job.left
            self._leave(job)

    def take(self, room: int, now: float, batch: list[Piece[Payload]]) -> None:
        """Move up to `room` rows into a batch. A job that is to be alone, and is not, has the next batch."""
        if self.rows <= room and not self.alone:
            batch += [job.take(room, now) for job in self._by_age]
            self._by_age.clear()
            self._by_rows, self._unsorted = [], []
            self.rows, self._owed = 0, 0.0
            return
        if (job := self._next) is not None:
            self._next = None
            if job in self._by_age and not batch:
                self._take(job, room, now, batch)
                return
        due = int(self._owed)
        while self._by_age and room > 0:
            oldest, job = self._oldest(), self._smallest()
            share = room
            if due > 0 and job is not oldest:
                job, share = oldest, min(due, room)
            if job.alone and batch:
                self._next = job
                return
            rows = self._take(job, room if job.alone else share, now, batch)
            if job.alone:
                return
            room -= rows
            due -= rows if job is oldest else 0

    def _take(self, job: Job[Payload], room: int, now: float, batch: list[Piece[Payload]]) -> int:
        """Move up to `room` rows of a job into a batch, and keep the account; how many."""
        piece = job.take(room, now)
        batch.append(piece)
        self.rows -= piece.rows
        self._owed = max(0.0, self._owed + piece.rows / AGED - (piece.rows if job is self._oldest() else 0))
        if job.left:
            self._unsorted.append(job)
        else:
            self._leave(job)
        return piece.rows

    def _leave(self, job: Job[Payload]) -> None:
        del self._by_age[job]
        self.alone -= job.alone

    def _oldest(self) -> Job[Payload]:
        return next(iter(self._by_age))

    def _smallest(self) -> Job[Payload]:
        for job in self._unsorted:
            heapq.heappush(self._by_rows, (job.left, job.number, job))
        self._unsorted.clear()
        left, _, job = self._by_rows[0]
        while job not in self._by_age or left != job.left:
            heapq.heappop(self._by_rows)
            left, _, job = self._by_rows[0]
        return job
