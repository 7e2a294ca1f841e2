"""The scheduler: rows of many jobs in, batches out. Knows nothing of HTTP, of ONNX, or of what a row is.

Rows are the unit. It is greedy: the moment the engine is free the next batch leaves with what is queued, so a batch is
as large as the load makes it and nobody waits for a window to close. `latentserve.service.sampling.jobs` says in which
order. Interactive rows go before bulk rows; those fill what is left, and while interactive rows come, only as many as
keep the batch short. One thread runs the batches; everything else is called from outside. Who submits a job may offer
the thread it is on instead: a batch that takes less time than two changes of thread runs there.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic

from latentserve.service.sampling.jobs import Job, JobQueue, Payload, Piece

log = logging.getLogger(__name__)

BULK_BATCH_SECONDS = 0.010  # predicted time of a batch with bulk rows, while interactive rows come
_BULK_RESERVE = 16  # one in so many rows of a batch
_RECENT_SECONDS = 1.0  # since the last interactive row, for which they count as coming
_RATE_MEMORY = 0.9  # of the measured rate; a batch replaces the rest

Finished = list[tuple[Job[Payload], Exception | None]]


class Full(Exception):
    """The queue cannot take the job; `retry_after` seconds from now, at the measured rate, it could."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


class Scheduler(Generic[Payload]):
    """A bounded queue of rows and the thread that empties it.

    Args:
        run: given the pieces of a batch, runs them, wholly or not at all. Where it raises, the batch is run again by
            halves, so that a row that cannot be run fails its own job and no other.
        finished: told of the jobs that a batch finished, each with its error or None; on the scheduler's thread.
        max_batch: rows of a batch at the most.
        max_rows: rows in the queue at the most.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Piece[Payload]]], None],
        finished: Callable[[Finished[Payload]], None],
        max_batch: int,
        max_rows: int,
    ) -> None:
        self._run = run
        self._finished = finished
        self._max_batch = max_batch
        self._max_rows = max_rows
        self._interactive: JobQueue[Payload] = JobQueue()
        self._bulk: JobQueue[Payload] = JobQueue()
        self._bulk_is_next = False
        self._lock = threading.Lock()
        self._waiting = threading.Condition(self._lock)
        self._rate = 0.0
        self._last_interactive = -math.inf
        self._running = False
        self._running_since: float | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name="scheduler", daemon=True)

    @property
    def queued_rows(self) -> int:
        """Rows that wait, those of the running batch not counted."""
        return self._interactive.rows + self._bulk.rows

    @property
    def rate(self) -> float:
        """Rows a second while the engine is busy, a running mean; 0 before the first batch."""
        return self._rate

    @property
    def running_seconds(self) -> float:
        """How long the running batch has been running; 0 where none is."""
        since = self._running_since
        return 0.0 if since is None else time.perf_counter() - since

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Run what is queued, then end the thread. Jobs submitted from now on raise RuntimeError."""
        with self._lock:
            self._stopping = True
            self._waiting.notify()
        if self._thread.is_alive():
            self._thread.join()

    def submit(self, job: Job[Payload], *, wake: bool = True) -> None:
        """Queue a job. Raises Full where its rows do not fit.

        Without `wake` the thread is not told: `run_short` is to be called when everything at hand is queued.
        """
        with self._lock:
            if self._stopping:
                raise RuntimeError("the scheduler has stopped")
            if (excess := self._interactive.rows + self._bulk.rows + job.rows - self._max_rows) > 0:
                raise Full(excess / self._rate if self._rate else 1.0)
            self._queue(job).add(job)
            if not job.bulk:
                self._last_interactive = job.enqueued
            if wake:
                self._waiting.notify()

    def run_short(self, seconds: float) -> None:
        """Run all that is queued, here and now, if nothing runs and it will probably take no longer than this; else
        wake the thread."""
        with self._lock:
            rows = self._interactive.rows + self._bulk.rows
            if self._running or not rows:
                return
            if self._interactive.alone or self._bulk.alone or rows > seconds * self._rate or rows >= self._max_batch:
                self._waiting.notify()
                return
            pieces = self._assemble()
            self._running = True
        self._run_batch(pieces)
        with self._lock:
            if self._interactive.rows or self._bulk.rows or self._stopping:  # meanwhile, by another thread
                self._waiting.notify()

    def cancel(self, job: Job[Payload]) -> None:
        """Forget the rows of a job that are not yet in a batch. `finished` is not told of it."""
        with self._lock:
            self._drop(job)

    def _drop(self, job: Job[Payload]) -> None:
        if not job.cancelled and job.done < job.rows:
            job.cancelled = True
            self._queue(job).remove(job)

    def _queue(self, job: Job[Payload]) -> JobQueue[Payload]:
        return self._bulk if job.bulk else self._interactive

    def _loop(self) -> None:
        while True:
            with self._lock:
                while self._running or not self.queued_rows:
                    if self._stopping and not self._running:
                        return
                    self._waiting.wait()
                pieces = self._assemble()
                self._running = True
            self._run_batch(pieces)

    def _run_batch(self, pieces: list[Piece[Payload]]) -> None:
        rows = sum(piece.rows for piece in pieces)
        began = self._running_since = time.perf_counter()
        failed = self._attempt(pieces)
        self._running_since = None
        rate = rows / max(time.perf_counter() - began, 1e-9)
        self._rate = rate if self._rate == 0 else _RATE_MEMORY * self._rate + (1 - _RATE_MEMORY) * rate
        if finished := self._settle(pieces, failed):
            self._finished(finished)

    def _assemble(self) -> list[Piece[Payload]]:
        """The pieces of the next batch, of what is queued."""
        pieces: list[Piece[Payload]] = []
        now = time.perf_counter()
        if self._bulk_is_next:
            self._bulk_is_next = False
            self._bulk.take(self._bulk_room(0, now), now, pieces)
        if not pieces:
            self._interactive.take(self._max_batch - self._reserve(), now, pieces)
            if self._bulk.rows:
                jobs = len(pieces)
                if not (pieces and pieces[0].job.alone):
                    self._bulk.take(self._bulk_room(sum(piece.rows for piece in pieces), now), now, pieces)
                self._bulk_is_next = len(pieces) == jobs
        return pieces

    def _reserve(self) -> int:
        """Rows of a batch that interactive rows leave to waiting bulk rows, so that those do not starve."""
        return min(self._max_batch // 2, max(1, self._max_batch // _BULK_RESERVE)) if self._bulk.rows else 0

    def _bulk_room(self, rows: int, now: float) -> int:
        """Bulk rows for a batch that holds `rows` already."""
        room = self._max_batch - rows
        if room and now - self._last_interactive < _RECENT_SECONDS and self._rate:
            least = self._reserve() or int(rows == 0)  # a batch that would be empty takes one row, however slow that is
            return max(least, min(room, int(BULK_BATCH_SECONDS * self._rate) - rows))
        return room

    def _attempt(self, pieces: Sequence[Piece[Payload]]) -> dict[Job[Payload], Exception]:
        """Run a batch, by halves where it fails; the jobs with a row that fails by itself."""
        try:
            self._run(pieces)
        except Exception as error:
            rows = sum(piece.rows for piece in pieces)
            if rows == 1:
                log.warning("a row failed: %s: %s", type(error).__name__, error)
                return {pieces[0].job: error}
            left, right = _halves(pieces, rows // 2)
            failed = self._attempt(left)
            # Further rows of a job that has failed are of no use to anybody.
            if right := [piece for piece in right if piece.job not in failed]:
                failed |= self._attempt(right)
            return failed
        return {}

    def _settle(self, pieces: Sequence[Piece[Payload]], failed: dict[Job[Payload], Exception]) -> Finished[Payload]:
        """Count the batch's rows as done; the jobs that are finished with it, in order."""
        finished: Finished[Payload] = []
        with self._lock:
            self._running = False
            for piece in pieces:
                job = piece.job
                job.done += piece.rows
                if job.cancelled:
                    continue
                if job in failed:
                    job.done = min(job.done, job.rows - 1)
                    self._drop(job)
                    finished.append((job, failed[job]))
                elif job.done == job.rows:
                    finished.append((job, None))
        return finished


def _halves(pieces: Sequence[Piece[Payload]], rows: int) -> tuple[list[Piece[Payload]], list[Piece[Payload]]]:
    """The first `rows` rows of a batch, and the others."""
    left: list[Piece[Payload]] = []
    right: list[Piece[Payload]] = []
    for piece in pieces:
        count = min(piece.rows, rows)
        rows -= count
        if count:
            left.append(Piece(piece.job, piece.start, count))
        if count < piece.rows:
            right.append(Piece(piece.job, piece.start + count, piece.rows - count))
    return left, right
