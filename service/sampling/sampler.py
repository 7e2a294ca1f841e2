"""The data plane: a request for rows in, samples out. Protocols (HTTP, BentoML's API, the command line) come here."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Bundle, Inputs
from latentserve.service.errors import EngineError, LatentserveError, QueueFullError
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.jobs import Job, Piece
from latentserve.service.sampling.request import (
    Part,
    RowsRequest,
    draw_conditions_of_part,
    draw_inputs,
    draw_labels_of_part,
)
from latentserve.service.sampling.samples import LITTLE_BYTES, Samples, join
from latentserve.service.sampling.scheduler import BULK_BATCH_SECONDS, Finished, Full, Scheduler
from latentserve.service.sampling.served_graph import Output
from latentserve.service.sampling.unsent import Unsent
from latentserve.service.thread_pool import thread_pool

log = logging.getLogger(__name__)

_SLICE_ROWS = 256  # a large request enters the queue in slices of this many rows at the most,
_SLICE_SECONDS, _MOST_SLICE_ROWS = 0.008, 1024  # unless those are made sooner than the next ones can be asked for
_SLICE_BYTES = 8 << 20  # and of this many bytes of samples
_FIRST_SECONDS = 0.02  # that the first slice of a large request may take: of many that come at once, all are soon begun
_SLICES_AHEAD = 4  # slices of one request in the queue at a time, where nothing else keeps the engine fed
# Batches predicted to take no longer run on the event loop: changing threads twice takes a millisecond when both slept,
# a tenth of one when they did not. While several requests are under way, the loop has others to read.
_LONE_SECONDS, _SHORT_SECONDS = 0.002, 0.0005
_CROWD_SECONDS = 0.05  # since there were several
_FEW_ROWS = 16  # of a request that is prepared on the event loop,
_FEW_NUMBERS = 1 << 14  # and numbers of its latents: half a millisecond
_DRAWN_NUMBERS = 1 << 18  # of a slice's latents, that are drawn at once, and not for each batch
_MUCH_BYTES = 32 << 20  # of samples that were held at a time: what they took is given back when most are gone
_RETRY_SECONDS = 0.02  # between a large request's attempts to put its next slice into a full queue


class Wanted(NamedTuple):
    """What a watcher wants of a batch, asked before it is run: `outputs`, and a mark of its own."""

    outputs: tuple[Output, ...] = ()
    chosen: bool = False


@dataclass(slots=True)
class BatchDone:
    """What watchers are told of a batch: the parts of requests in it, in order, and their rows together.

    `inputs` of the rows, `made` [n, ...] by output: what the watcher wanted, and perhaps more; `seconds` of the engine;
    `chosen` as the watcher had it.
    """

    parts: list[Part]
    inputs: Inputs
    made: dict[Output, NDArray[Any]]
    seconds: float
    chosen: bool


class Slice:
    """Rows on their way through the queue: the payload of a scheduler's job, and what its asker waits for."""

    __slots__ = ("conditions", "drawn", "future", "labels", "place", "request", "samples", "start")

    def __init__(self, request: RowsRequest, start: int) -> None:
        self.request = request
        self.start = start  # the request's row that is the slice's first
        self.drawn: Inputs | None = None  # what was drawn ahead of the batch, with others, or not
        self.place = 0  # of the first row in it
        self.samples: list[NDArray[Any]] = []
        self.labels: list[NDArray[np.int64]] = []  # stays empty for an unconditional model
        self.conditions: list[NDArray[np.float32]] = []  # and this for one without conditions
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Sampler:
    """Rows of one bundle through one engine.

    Args:
        engine: loaded and warmed.
        max_queue_rows: rows that may wait; more raise QueueFullError.
        unsent: what this worker keeps for clients: samples count in it from when they are asked for to their release.
        on_batch: told of every batch, on the thread that ran it; must return at once.
        wanted: asked before every batch, of these parts, what `on_batch` needs of it, which the engine must have.
    """

    def __init__(
        self,
        engine: Engine,
        max_queue_rows: int,
        unsent: Unsent | None = None,
        on_batch: Callable[[BatchDone], None] = lambda _batch: None,
        wanted: Callable[[Sequence[Part]], Wanted] = lambda _parts: Wanted(),
    ) -> None:
        self.bundle: Bundle = engine.bundle
        self.engine = engine
        self._on_batch = on_batch
        self._wanted = wanted
        self._unsent = unsent or Unsent()
        self._held_bytes = 0  # of it
        self._most_held = 0  # since memory was given back
        self._row_bytes = 4 * math.prod(self.bundle.manifest.sample.shape)
        # A call of a GPU may hang with its driver; the event loop must go on to say so.
        self._may_run_here = engine.provider.startswith("CPU")
        self._few_rows = min(_FEW_ROWS, _FEW_NUMBERS // self.bundle.manifest.latent.dim)
        self._beside = thread_pool(1, "beside")  # of the engine: draws for a large request, scores rows to choose from
        self._arrived: list[Job[Slice]] = []
        self._crowded = -math.inf
        self._ran_here = False  # a request, in this round of the event loop
        self.slice_rows = max(1, min(_SLICE_ROWS, _SLICE_BYTES // self._row_bytes))
        most = min(_MOST_SLICE_ROWS, _SLICE_BYTES // self._row_bytes, max_queue_rows // _SLICES_AHEAD)
        self.most_slice_rows = max(self.slice_rows, most)
        self._fed_rows = max(_SLICES_AHEAD * self.slice_rows, 2 * self.most_slice_rows, 2 * engine.max_batch)
        self._scheduler: Scheduler[Slice] = Scheduler(self._run, _deliver, engine.max_batch, max_queue_rows)

    @property
    def queued_rows(self) -> int:
        """Rows that wait for the engine."""
        return self._scheduler.queued_rows

    @property
    def alive(self) -> bool:
        """Whether there is somebody to make the rows that wait."""
        return self._scheduler.alive

    @property
    def running_seconds(self) -> float:
        """How long the engine has been at its present batch."""
        return self._scheduler.running_seconds

    def start(self) -> None:
        """Take requests from now on."""
        self._scheduler.start()

    def stop(self) -> None:
        """Finish what is queued and stop."""
        self._scheduler.stop()
        self._beside.shutdown(wait=False)

    def submit(self, request: RowsRequest) -> Job[Slice]:
        """Queue a request of up to `slice_rows` rows, for `collect`; its bytes are held until `release`.

        Raises QueueFullError.
        """
        return self._submit(request, 0, request.n, bulk=self._is_bulk(request))

    async def collect(self, job: Job[Slice]) -> Samples:
        """The rows of a submitted request. Raises EngineError.

        Where the wait is given up (the task or the job's future is cancelled, or the future is given an error of
        ours), rows that have not reached the engine leave the queue.
        """
        payload = job.payload
        try:
            await payload.future
        except (asyncio.CancelledError, LatentserveError):
            self._scheduler.cancel(job)
            raise
        except Exception as error:
            raise EngineError(f"the engine failed on this request ({type(error).__name__})") from error
        waited = job.started - job.enqueued
        return Samples(
            join(payload.samples),
            join(payload.labels) if payload.labels else None,
            join(payload.conditions) if payload.conditions else None,
            waited,
        )

    def release(self, rows: int) -> None:
        """Say that this many rows were sent, or given up."""
        size = rows * self._row_bytes
        self._held_bytes -= size
        self._unsent.give(size)
        if self._most_held > _MUCH_BYTES and self._held_bytes < self._most_held // 8:
            self._most_held = self._held_bytes
            self.engine.tidy()

    async def stream(
        self, request: RowsRequest, expected: Callable[[], int] | None = None, *, begun: bool = False
    ) -> AsyncGenerator[Samples]:
        """The rows in order, up to `most_slice_rows` at a time, holding a few slices in memory whatever n is. While
        others keep the engine fed, one slice of it waits at a time: large requests take turns, and a new one is soon
        begun, with fewer rows.

        Who may not need all of them says how many more, one at least, are `expected` to be needed.

        Raises QueueFullError before the first row where the queue cannot take it; later slices wait for room instead,
        and so does the first, where the rows follow others of a request that is `begun`.
        Raises EngineError. Rows not yet run are forgotten when the iteration is given up.
        """
        ahead: deque[Job[Slice]] = deque()
        start = 0
        try:
            while start < request.n or ahead:
                while start < request.n and len(ahead) < (_SLICES_AHEAD if self.queued_rows < self._fed_rows else 1):
                    rows = min(self._next_rows(request, start), request.n - start)
                    waiting = sum(job.rows for job in ahead)
                    if expected is not None and (needed := expected() - waiting) < rows:
                        if needed <= 0 and ahead:
                            break
                        rows = max(1, needed)
                    bulk = expected is not None or self._is_bulk(request)
                    try:
                        ahead.append(self._submit(request, start, rows, bulk=bulk, held=waiting * self._row_bytes))
                    except QueueFullError:
                        if start == 0 and not begun:
                            raise
                        if ahead:
                            break
                        await asyncio.sleep(_RETRY_SECONDS)
                        continue
                    if len(ahead) > 1:
                        self._beside.submit(self._draw_ahead, ahead[-1])
                    start += rows
                yield await self.collect(ahead[0])
                self.release(ahead.popleft().rows)
        finally:
            for job in ahead:
                self._scheduler.cancel(job)
                self.release(job.rows)

    async def rows(self, request: RowsRequest) -> Samples:
        """All rows at once, in memory."""
        return Samples.join([part async for part in self.stream(request)])

    async def drawn(self, request: RowsRequest, start: int, rows: int, *, labels: bool, conditions: bool) -> Samples:
        """What a request's rows from `start` on are made for, of what is asked for here, drawn beside the event loop:
        without samples, [rows, 0], for nothing is made."""
        part = request, start, rows

        def work() -> Samples:
            return Samples(
                np.empty((rows, 0), np.float32),
                draw_labels_of_part(self.bundle.manifest, part) if labels else None,
                draw_conditions_of_part(self.bundle.manifest, part) if conditions else None,
            )

        return await asyncio.get_running_loop().run_in_executor(self._beside, work)

    async def score(self, rows: Samples, *, placed: bool) -> NDArray[np.float32]:
        """The critic's scores float32 [n] of rows, made beside the event loop. `placed`: by their numbers, as
        `Engine.score_fixed` does."""
        if placed and rows.numbers is not None:
            work = partial(self.engine.score_fixed, rows.samples, rows.critic_inputs, rows.numbers)
        else:
            work = partial(self.engine.score, rows.samples, rows.critic_inputs)
        return await asyncio.get_running_loop().run_in_executor(self._beside, work)

    def _next_rows(self, request: RowsRequest, start: int) -> int:
        """Rows of a slice that begins at the request's row `start`: of rows that have places in a batch, whole ones."""
        rows = self.slice_rows
        if start > 0:
            rows = max(rows, min(self.most_slice_rows, int(_SLICE_SECONDS * self._scheduler.rate)))
        elif request.n > rows:
            rows = min(rows, max(1, int(_FIRST_SECONDS * self._scheduler.rate)))
        return self.engine.whole_batches(request.offset + start, rows) if self.has_places(request) else rows

    def _is_bulk(self, request: RowsRequest) -> bool:
        """Whether it yields to others: what was under way when a row is asked for, the row waits for to its end."""
        return request.n > self.slice_rows or 0 < self._scheduler.rate * BULK_BATCH_SECONDS < request.n > 1

    def has_places(self, request: RowsRequest) -> bool:
        """Whether its rows have places of their own in a batch, so that they are what they are whatever is asked for
        with them."""
        return request.deterministic and not self.engine.batch_invariant

    def _submit(self, request: RowsRequest, start: int, rows: int, *, bulk: bool, held: int = 0) -> Job[Slice]:
        size = rows * self._row_bytes
        self._unsent.take(size, held, ahead=start > 0)
        job = Job(rows, Slice(request, start), bulk=bulk)
        if self.has_places(request):
            job.alone, job.places = True, self.engine.fixed_batch
            job.place = (request.offset + start) % job.places
        if self._held_bytes or self._ran_here:
            self._crowded = job.enqueued
        # What is short may run on the event loop, once everybody who has arrived is queued. What is not starts at once.
        seconds = self._short_seconds(job.enqueued)
        short = rows <= self._few_rows and self._scheduler.queued_rows + rows <= seconds * self._scheduler.rate
        try:
            self._scheduler.submit(job, wake=not short)
        except Full as full:
            self._unsent.give(size)
            seconds = max(1, math.ceil(full.retry_after))
            raise QueueFullError(f"{self.queued_rows} rows wait already; try again in {seconds} s", seconds) from None
        self._held_bytes += size
        if self._held_bytes > self._most_held:
            self._most_held = self._held_bytes
        if rows <= self._few_rows:
            self._arrived.append(job)
            if short and seconds == _LONE_SECONDS:
                # By now it is answered when the next one asks, which may have arrived together with it.
                self._ran_here = True
                job.payload.future.get_loop().call_soon(setattr, self, "_ran_here", False)
                self._prepare()
            elif len(self._arrived) == 1:
                job.payload.future.get_loop().call_soon(self._prepare)  # after all requests that have arrived by now
        return job

    def _prepare(self) -> None:
        """Draw what small requests need together, here: the engine's thread would wait for the interpreter between its
        batches. Then run them here, if they are short."""
        jobs, self._arrived = [job for job in self._arrived if job.taken == 0], []
        parts: list[Part] = [(job.payload.request, job.payload.start, job.rows) for job in jobs]
        if parts:
            drawn = draw_inputs(self.bundle.manifest, parts)
            place = 0
            for job in jobs:
                job.payload.place, job.payload.drawn = place, drawn  # in this order: the engine's thread may look
                place += job.rows
            self._scheduler.run_short(self._short_seconds(time.perf_counter()))

    def _inputs(self, pieces: Sequence[Piece[Slice]], parts: Sequence[Part]) -> Inputs:
        """What a batch is made from: what was drawn ahead, or all of it now."""
        runs: list[tuple[Inputs, int, int]] = []  # of what was drawn together, from a row to another
        for piece in pieces:
            payload = piece.job.payload
            if payload.drawn is None and piece.rows < piece.job.rows:
                self._draw_whole(piece.job)
            if payload.drawn is None:
                return draw_inputs(self.bundle.manifest, parts)
            start = payload.place + piece.start
            if runs and runs[-1][0] is payload.drawn and runs[-1][2] == start:
                start = runs.pop()[1]
            runs.append((payload.drawn, start, payload.place + piece.stop))
        drawn, start, stop = runs[0]
        if len(runs) == 1 and start == 0 and stop == len(drawn.z):
            return drawn
        return Inputs.join([drawn.take(slice(start, stop)) for drawn, start, stop in runs])

    def _draw_ahead(self, job: Job[Slice]) -> None:
        """Draw what a slice needs, if no batch was sooner."""
        if job.taken == 0 and not job.cancelled:
            self._draw_whole(job)

    def _draw_whole(self, job: Job[Slice]) -> None:
        """Draw what all batches of a slice need, unless that is much: each draw by itself costs as much as 50 rows. Few
        rows may be drawn on the event loop at this moment."""
        if self._few_rows < job.rows <= _DRAWN_NUMBERS // self.bundle.manifest.latent.dim:
            payload = job.payload
            payload.drawn = draw_inputs(self.bundle.manifest, [(payload.request, payload.start, job.rows)])

    def _short_seconds(self, now: float) -> float:
        """How long a batch may take on the event loop, by prediction."""
        if not self._may_run_here:
            return 0.0
        return _LONE_SECONDS if now - self._crowded > _CROWD_SECONDS else _SHORT_SECONDS

    def _run(self, pieces: Sequence[Piece[Slice]]) -> None:
        """Draw a batch's latents, run the engine, give each piece its rows."""
        parts: list[Part] = [
            (piece.job.payload.request, piece.job.payload.start + piece.start, piece.rows) for piece in pieces
        ]
        inputs = self._inputs(pieces, parts)
        wanted = self._wanted(parts)
        asked: list[Output] = list({*wanted.outputs, *(request.output for request, _, _ in parts)})
        began = time.perf_counter()
        if pieces[0].job.alone:
            request, start, _ = parts[0]
            outputs = self.engine.run_fixed(inputs, asked, request.offset + start)
        else:
            outputs = self.engine.run(inputs, asked)
        seconds = time.perf_counter() - began
        made = dict(zip(asked, outputs, strict=True))
        position = 0
        for piece in pieces:
            payload, stop = piece.job.payload, position + piece.rows
            payload.samples.append(made[payload.request.output][position:stop])
            if inputs.label is not None:
                payload.labels.append(inputs.label[position:stop])
            if inputs.condition is not None:
                payload.conditions.append(inputs.condition[position:stop])
            if piece.job.rows * self._row_bytes > LITTLE_BYTES and piece.stop == piece.job.rows:
                payload.samples = [join(payload.samples)]  # here: the event loop has no time for copies
            position = stop
        try:
            self._on_batch(BatchDone(parts, inputs, made, seconds, wanted.chosen))
        except Exception:
            log.exception("a watcher failed; the batch is served")


def _deliver(finished: Finished[Slice]) -> None:
    """Wake those who wait: one call into each event loop, however many jobs a batch finished."""
    here = asyncio._get_running_loop()
    by_loop: dict[asyncio.AbstractEventLoop, Finished[Slice]] = {}
    for entry in finished:
        by_loop.setdefault(entry[0].payload.future.get_loop(), []).append(entry)
    for loop, entries in by_loop.items():
        if loop is here:
            _resolve(entries)
            continue
        try:
            loop.call_soon_threadsafe(_resolve, entries)
        except RuntimeError:  # the loop has closed, and nobody waits any more
            log.debug("%d jobs were finished after their event loop", len(entries))


def _resolve(finished: Finished[Slice]) -> None:
    for job, error in finished:
        future = job.payload.future
        if future.done():
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(None)
