"""The monitor: a thread that turns served batches into signal counts, at a bounded cost, and never holds one up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from service.sampling.engine import Engine
from service.sampling.request import ARMS
from service.sampling.sampler import BatchDone
from service.watching.metrics import SIGNS, ModelMetrics
from service.watching.reference import BINS, Reference
from service.watching.signals import CRITIC_SCORE, sample_signals, signal_names

log = logging.getLogger(__name__)

CRITIC_SHARE = 0.02  # of the engine's time, spent on the critic
_ROUND_SECONDS = 0.1  # batches are counted together, at most this long after they were served
_ROUND_BYTES = 8 << 20  # or as soon as so many bytes of samples wait
_BACKLOG_BYTES = 64 << 20  # beyond it whole batches go unmonitored, and are counted
_FLUSH_SECONDS = 1.0  # counters are visible within 2 s
_TRUNCATION = 1.0  # of every row: batches do not say


class Monitor:
    """Counts of one model's output, from the batches it is offered to the metrics.

    Every row's own signals are counted. The critic runs on whole batches chosen at random, by a coin that knows
    nothing of their content, at a rate that keeps its time at CRITIC_SHARE of the engine's.
    """

    def __init__(self, engine: Engine, reference: Reference, metrics: ModelMetrics) -> None:
        self._engine = engine
        self._spec = engine.bundle.manifest.sample
        self._reference = reference
        self._names = signal_names(self._spec, has_critic=engine.has_critic)
        self._metrics = metrics
        self._random = np.random.default_rng()
        self._batches: list[BatchDone] = []
        self._bytes = 0
        self._waiting = threading.Condition()
        self._stopping = False
        self._made = np.zeros(len(ARMS), np.int64)
        self._dropped = 0
        self._engine_seconds = 0.0
        self._critic_seconds = 0.0
        self._reset()
        self._thread = threading.Thread(target=self._loop, name="monitor", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Count what was offered, flush, and end the thread."""
        with self._waiting:
            self._stopping = True
            self._waiting.notify()
        if self._thread.is_alive():
            self._thread.join()

    def offer(self, batch: BatchDone) -> None:
        """Take a batch; returns at once. Where the monitor is behind, the batch is given up, whole."""
        self._metrics.inference_seconds.observe(batch.seconds)
        self._metrics.batch_rows.observe(len(batch.samples))
        with self._waiting:
            for arm, rows in batch.arms:
                self._made[arm] += rows
            self._engine_seconds += batch.seconds
            if self._bytes > _BACKLOG_BYTES:
                self._dropped += 1
                return
            self._batches.append(batch)
            self._bytes += batch.samples.nbytes
            if self._bytes > _ROUND_BYTES:
                self._waiting.notify()

    def _reset(self) -> None:
        self._monitored = np.zeros(len(ARMS), np.int64)
        self._bins = {name: np.zeros((len(ARMS), BINS), np.int64) for name in self._reference.signals}
        self._sums = {name: np.zeros((len(ARMS), len(SIGNS))) for name in self._names}
        self._nonfinite = 0

    def _loop(self) -> None:
        flushed = time.monotonic()
        while True:
            with self._waiting:
                if self._bytes <= _ROUND_BYTES and not self._stopping:
                    self._waiting.wait(_ROUND_SECONDS)
                batches, self._batches, self._bytes = self._batches, [], 0
                done = self._stopping and not batches
            if batches:
                began = time.perf_counter()
                try:
                    self._count(batches)
                except Exception:
                    log.exception("monitoring %d batches failed; they were served", len(batches))
                    self._metrics.monitor_failures.inc(len(batches))
                self._metrics.monitor_seconds.inc(time.perf_counter() - began)
            if done or time.monotonic() - flushed >= _FLUSH_SECONDS:
                self._flush()
                flushed = time.monotonic()
            if done:
                return

    def _count(self, batches: list[BatchDone]) -> None:
        """Count batches as if they were one: small ones cost little more together than one of them alone."""
        samples = np.concatenate([batch.samples for batch in batches])
        arms = np.concatenate([_row_arms(batch) for batch in batches])
        cells = np.concatenate([self._row_cells(batch) for batch in batches])
        self._count_signals(sample_signals(samples, self._spec), arms, cells)
        self._monitored += np.bincount(arms, minlength=len(ARMS))
        self._nonfinite += int(np.count_nonzero(~np.isfinite(samples)))
        if self._engine.has_critic:
            for batch in batches:
                if self._critic_may_run():
                    began = time.perf_counter()
                    scores = self._engine.score(batch.samples, batch.labels).astype(np.float64)
                    self._critic_seconds += time.perf_counter() - began
                    self._count_signals({CRITIC_SCORE: scores}, _row_arms(batch), self._row_cells(batch))

    def _critic_may_run(self) -> bool:
        """True for a random share of the batches, less the more of its time the critic has already used."""
        budget = CRITIC_SHARE * self._engine_seconds
        return self._critic_seconds == 0 or self._random.random() < max(0.0, 1 - self._critic_seconds / budget)

    def _row_cells(self, batch: BatchDone) -> NDArray[np.int64]:
        """The reference's cell of each row, int64 [n]; -1: none."""
        return self._reference.cells_of(batch.labels, len(batch.samples), _TRUNCATION)

    def _count_signals(
        self, signals: Mapping[str, NDArray[np.float64]], arms: NDArray[np.int64], cells: NDArray[np.int64]
    ) -> None:
        for name, bins in self._reference.bins(signals, cells, self._random).items():
            counted = bins >= 0
            places = arms[counted] * BINS + bins[counted]
            self._bins[name] += np.bincount(places, minlength=len(ARMS) * BINS).reshape(len(ARMS), BINS)
        for name, values in signals.items():
            finite = np.isfinite(values)
            for sign, part in enumerate((np.maximum(values[finite], 0), np.maximum(-values[finite], 0))):
                self._sums[name][:, sign] += np.bincount(arms[finite], weights=part, minlength=len(ARMS))

    def _flush(self) -> None:
        with self._waiting:
            made, self._made = self._made, np.zeros(len(ARMS), np.int64)
            dropped, self._dropped = self._dropped, 0
        self._metrics.count_samples(made)
        self._metrics.monitor_dropped.inc(dropped)
        self._metrics.count_monitored(self._monitored)
        self._metrics.count_signals(self._bins, self._sums)
        self._metrics.nonfinite.inc(self._nonfinite)
        self._reset()


def _row_arms(batch: BatchDone) -> NDArray[np.int64]:
    """The arm of each row, int64 [n], as an index into ARMS."""
    arms, rows = zip(*batch.arms, strict=True)
    return np.repeat(np.array(arms, np.int64), rows)
