"""The scheduler: rows of many jobs in, batches out. Knows nothing of HTTP, of ONNX, or of what a row is.

Rows are the unit. It is greedy: the moment the engine is free the next batch leaves with what is queued, so a batch is
as large as the load makes it and nobody waits for a window to close. Jobs take turns, so that a large job and a small
one share each batch fairly. One thread runs the batches; everything else is called from the event loop's thread.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

Payload = TypeVar("Payload")

_RATE_MEMORY = 0.9  # of the measured rate, a batch replaces a tenth


class Full(Exception):
    """The queue cannot take the job; `retry_after` seconds from now, at the measured rate, it could."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


@dataclass(eq=False)
class Job(Generic[Payload]):
    """`rows` rows that belong together. `alone` jobs are never batched with another job's rows.

    `finish(job, error)` is called once, on the scheduler's thread, when the last row was run or the first one failed.
    """

    rows: int
    payload: Payload
    finish: Callable[[Job[Payload], BaseException | None], None]
    alone: bool = False
    cancelled: bool = False
    enqueued: float = field(default_factory=time.perf_counter)
    started: float = 0.0
    taken: int = 0
    done: int = 0


@dataclass(frozen=True)
class Piece(Generic[Payload]):
    """Rows `start` to `stop - 1` of a job, in one batch."""

    job: Job[Payload]
    start: int
    stop: int


class Scheduler(Generic[Payload]):
    """A bounded queue of rows and the thread that empties it.

    Args:
        run: given the pieces of one batch, runs them; what it raises fails the jobs in that batch and no others.
        max_batch: rows of a batch at the most.
        max_rows: rows in the queue at the most.
    """

    def __init__(self, run: Callable[[Sequence[Piece[Payload]]], None], max_batch: int, max_rows: int) -> None:
        self._run = run
        self._max_batch = max_batch
        self._max_rows = max_rows
        self._jobs: deque[Job[Payload]] = deque()
        self._waiting = threading.Condition()
        self._rows = 0
        self._rate = 0.0
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name="scheduler", daemon=True)

    @property
    def queued_rows(self) -> int:
        """Rows that wait, those of the running batch not counted."""
        return self._rows

    @property
    def rate(self) -> float:
        """Rows a second while the engine is busy, a running mean; 0 before the first batch."""
        return self._rate

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Run what is queued, then end the thread. Jobs submitted from now on raise RuntimeError."""
        with self._waiting:
            self._stopping = True
            self._waiting.notify()
        if self._thread.is_alive():
            self._thread.join()

    def submit(self, job: Job[Payload]) -> None:
        """Queue a job. Raises Full where its rows do not fit."""
        with self._waiting:
            if self._stopping:
                raise RuntimeError("the scheduler has stopped")
            if self._rows + job.rows > self._max_rows:
                raise Full((self._rows + job.rows - self._max_rows) / self._rate if self._rate else 1.0)
            self._rows += job.rows
            self._jobs.append(job)
            self._waiting.notify()

    def cancel(self, job: Job[Payload]) -> None:
        """Forget the rows of a job that are not yet in a batch. Its `finish` is not called."""
        with self._waiting:
            if not job.cancelled and job.done < job.rows:
                job.cancelled = True
                self._rows -= job.rows - job.taken
                if job in self._jobs:
                    self._jobs.remove(job)

    def _loop(self) -> None:
        while pieces := self._next_batch():
            began = time.perf_counter()
            error: BaseException | None = None
            try:
                self._run(pieces)
            except Exception as raised:
                log.exception("a batch of %d rows failed", sum(piece.stop - piece.start for piece in pieces))
                error = raised
            rows = sum(piece.stop - piece.start for piece in pieces)
            rate = rows / max(time.perf_counter() - began, 1e-9)
            self._rate = rate if self._rate == 0 else _RATE_MEMORY * self._rate + (1 - _RATE_MEMORY) * rate
            for job in self._settle(pieces, failed=error is not None):
                job.finish(job, error)

    def _next_batch(self) -> list[Piece[Payload]]:
        """The pieces of the next batch, by turns; empty when the scheduler stops."""
        with self._waiting:
            while not self._jobs and not self._stopping:
                self._waiting.wait()
            pieces: list[Piece[Payload]] = []
            room = self._max_batch
            now = time.perf_counter()
            while self._jobs and room:
                job = self._jobs[0]
                if job.alone and pieces:
                    break  # it leads the next batch
                # An equal share of the room that is left; turns go on until the batch is full.
                share = room if job.alone else math.ceil(room / len(self._jobs))
                start, stop = job.taken, min(job.rows, job.taken + share)
                pieces.append(Piece(job, start, stop))
                job.started = job.started or now
                job.taken = stop
                room -= stop - start
                self._rows -= stop - start
                self._jobs.popleft()
                if stop < job.rows:
                    self._jobs.append(job)
                if job.alone:
                    break
            return pieces

    def _settle(self, pieces: Sequence[Piece[Payload]], *, failed: bool) -> list[Job[Payload]]:
        """Count the batch's rows as done; the jobs that are finished with it, in order."""
        finished: list[Job[Payload]] = []
        with self._waiting:
            for piece in pieces:
                job = piece.job
                job.done += piece.stop - piece.start
                if job.cancelled:
                    continue
                if failed:
                    # Its other rows are of no use to anybody.
                    job.cancelled = True
                    self._rows -= job.rows - job.taken
                    if job in self._jobs:
                        self._jobs.remove(job)
                    finished.append(job)
                elif job.done == job.rows:
                    finished.append(job)
        return finished
