"""The data plane: a request for rows in, samples out. Protocols (HTTP, BentoML's API, the command line) come here."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from service.bundle import Bundle
from service.errors import EngineError, QueueFullError
from service.sampling.engine import Engine
from service.sampling.request import ARMS, RowsRequest
from service.sampling.scheduler import Full, Job, Piece, Scheduler

Scalar = TypeVar("Scalar", bound=np.generic)

SLICE_ROWS = 256  # a large request enters the queue in slices of this many rows
_SLICES_AHEAD = 4  # slices of one request in the queue at a time: enough to keep the engine fed
_FIXED_BUCKET = 16  # batch size of deterministic rows where the engine's result depends on the batch
_RETRY_SECONDS = 0.02  # between a large request's attempts to put its next slice into a full queue


@dataclass(frozen=True)
class Rows:
    """Samples float32 [n, *sample.shape] with their labels int64 [n] (None if unconditional), in order."""

    samples: NDArray[np.float32]
    labels: NDArray[np.int64] | None
    queue_seconds: float


@dataclass(frozen=True)
class BatchDone:
    """What watchers are told of a batch. `arms` holds one index into ARMS a row."""

    samples: NDArray[np.float32]
    labels: NDArray[np.int64] | None
    arms: NDArray[np.int64]
    seconds: float


class _Slice:
    """The payload of a scheduler's job: inputs of up to SLICE_ROWS rows, and the samples as they come."""

    def __init__(self, request: RowsRequest, z: NDArray[np.float32], label: NDArray[np.int64] | None) -> None:
        self.z = z
        self.label = label
        self.arm = ARMS.index(request.arm)
        # Where in the fixed bucket the slice's first row sits.
        self.row = request.offset
        self.parts: list[NDArray[np.float32]] = []
        self.future: Future[NDArray[np.float32]] = Future()


class Sampler:
    """Rows of one bundle through one engine.

    Args:
        engine: loaded; `start` warms it.
        max_queue_rows: rows that may wait; more raise QueueFullError.
        on_batch: told of every batch, on the scheduler's thread; must return at once.
    """

    def __init__(
        self, engine: Engine, max_queue_rows: int, on_batch: Callable[[BatchDone], None] = lambda _batch: None
    ) -> None:
        self.bundle: Bundle = engine.bundle
        self.engine = engine
        self._on_batch = on_batch
        self._scheduler: Scheduler[_Slice] = Scheduler(self._run, engine.max_batch, max_queue_rows)

    @property
    def queued_rows(self) -> int:
        """Rows that wait for the engine."""
        return self._scheduler.queued_rows

    def start(self) -> None:
        """Take requests from now on."""
        self._scheduler.start()

    def stop(self) -> None:
        """Finish what is queued and stop."""
        self._scheduler.stop()

    async def stream(self, request: RowsRequest) -> AsyncIterator[Rows]:
        """The rows in order, up to SLICE_ROWS at a time, holding a few slices in memory whatever n is.

        Raises QueueFullError before the first row where the queue cannot take it; later slices wait for room instead.
        Raises EngineError where the batch failed. Rows not yet run are forgotten when the iteration is given up.
        """
        ahead: deque[tuple[Job[_Slice], asyncio.Future[NDArray[np.float32]]]] = deque()
        start = 0
        try:
            while start < request.n or ahead:
                while start < request.n and len(ahead) < _SLICES_AHEAD:
                    rows = min(SLICE_ROWS, request.n - start)
                    try:
                        ahead.append(self._submit(request, start, rows))
                    except Full as full:
                        if ahead:
                            break
                        if start == 0:
                            seconds = max(1, math.ceil(full.retry_after))
                            raise QueueFullError(
                                f"{self.queued_rows} rows wait already; try again in {seconds} s", seconds
                            ) from None
                        await asyncio.sleep(_RETRY_SECONDS)
                        continue
                    start += rows
                job, future = ahead[0]
                try:
                    samples = await future
                except Exception as error:
                    raise EngineError(f"the engine failed on this batch ({type(error).__name__})") from error
                ahead.popleft()
                yield Rows(samples, job.payload.label, job.started - job.enqueued)
        finally:
            for job, _ in ahead:
                self._scheduler.cancel(job)

    async def rows(self, request: RowsRequest) -> Rows:
        """All rows at once, in memory."""
        parts = [part async for part in self.stream(request)]
        if len(parts) == 1:
            return parts[0]
        labels = [part.labels for part in parts if part.labels is not None]
        return Rows(
            np.concatenate([part.samples for part in parts]),
            np.concatenate(labels) if labels else None,
            parts[0].queue_seconds,
        )

    def _submit(
        self, request: RowsRequest, start: int, rows: int
    ) -> tuple[Job[_Slice], asyncio.Future[NDArray[np.float32]]]:
        payload = _Slice(request, *request.inputs(self.bundle.manifest, start, rows))
        payload.row += start
        alone = request.deterministic and not self.engine.batch_invariant
        job = Job(rows, payload, _finish, alone=alone)
        self._scheduler.submit(job)
        return job, asyncio.wrap_future(payload.future)

    def _run(self, pieces: Sequence[Piece[_Slice]]) -> None:
        if pieces[0].job.alone:
            samples, labels, seconds = self._run_fixed(pieces[0])
        else:
            z = _join([piece.job.payload.z[piece.start : piece.stop] for piece in pieces])
            labels = None
            if self.bundle.manifest.labels is not None:
                labels = _join([_labels(piece) for piece in pieces])
            began = time.perf_counter()
            samples = self.engine.generate(z, labels)
            seconds = time.perf_counter() - began
        position = 0
        for piece in pieces:
            rows = piece.stop - piece.start
            piece.job.payload.parts.append(samples[position : position + rows])
            position += rows
        arms = np.repeat([piece.job.payload.arm for piece in pieces], [piece.stop - piece.start for piece in pieces])
        self._on_batch(BatchDone(samples, labels, arms, seconds))

    def _run_fixed(self, piece: Piece[_Slice]) -> tuple[NDArray[np.float32], NDArray[np.int64] | None, float]:
        """Run rows so that each is bit for bit the same whatever else is served: row i always sits at position
        i mod K of a batch of K rows, and the other positions hold zeros or its neighbours, which it never sees.
        """
        payload = piece.job.payload
        outputs: list[NDArray[np.float32]] = []
        began = time.perf_counter()
        start = piece.start
        while start < piece.stop:
            slot = (payload.row + start) % _FIXED_BUCKET
            count = min(piece.stop - start, _FIXED_BUCKET - slot)
            z = np.zeros((_FIXED_BUCKET, payload.z.shape[1]), np.float32)
            z[slot : slot + count] = payload.z[start : start + count]
            label = None
            if payload.label is not None:
                label = np.zeros(_FIXED_BUCKET, np.int64)
                label[slot : slot + count] = payload.label[start : start + count]
            outputs.append(self.engine.generate(z, label)[slot : slot + count])
            start += count
        labels = None if payload.label is None else payload.label[piece.start : piece.stop]
        return _join(outputs), labels, time.perf_counter() - began


def _finish(job: Job[_Slice], error: BaseException | None) -> None:
    future = job.payload.future
    if not future.set_running_or_notify_cancel():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(_join(job.payload.parts))


def _labels(piece: Piece[_Slice]) -> NDArray[np.int64]:
    label = piece.job.payload.label
    if label is None:
        raise EngineError("a slice of a conditional model came without labels")
    return label[piece.start : piece.stop]


def _join(parts: list[NDArray[Scalar]]) -> NDArray[Scalar]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
