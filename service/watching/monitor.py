"""The monitor: a thread that turns served batches into counts, at a bounded cost, and never holds one up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Bundle, Inputs
from latentserve.service.bundle.golden import TOLERANCE_FACTOR
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.request import ARMS, Part, RowsRequest
from latentserve.service.sampling.sampler import BatchDone, Wanted
from latentserve.service.sampling.served_graph import NONFINITE
from latentserve.service.watching.conditions import CONDITION_BINS, condition_bins
from latentserve.service.watching.control import CONTROL_ROWS
from latentserve.service.watching.detectors import detectors_of
from latentserve.service.watching.inputs import INPUTS, Repeats, implausible, input_signals
from latentserve.service.watching.ledger import Ledger
from latentserve.service.watching.metrics import SIGNS, MetricSeries, ModelMetrics
from latentserve.service.watching.reference import BINS, Reference
from latentserve.service.watching.signals import (
    COLUMN,
    CRITIC_SCORE,
    LABEL_MARGIN,
    batch_signals,
    signal_names,
    signal_outputs,
)
from latentserve.service.watching.spots import spot_of

log = logging.getLogger(__name__)

LOOK_SHARE = 0.01  # of the engine's time, spent on what only some batches are looked at for: half of what all may cost
_LOOK_ROWS = 256  # looked at together, or what is there after a second: a look costs by the call as well as by the row
_IDLE_SHARE = 0.002  # of all time beside that: the engine of a small generator is hardly ever busy
_ROUND_SECONDS = 0.1  # batches are counted together, at most this long after they were served
_ROUND_BYTES = 4 << 20  # or as soon as so many bytes wait
_BACKLOG_BYTES = 16 << 20  # beyond it whole batches go unmonitored, and are counted
_FLUSH_SECONDS = 1.0  # counters are visible within 2 s
# Control rows for each row that a client chose a condition of: what nothing is known of is made up for, and a fault is
# found all the same. As much of the engine's time it is.
CONTROL_SHARE = 0.05
_MOST_OWED = 4096  # control rows: a queue that was full for long is not made up for
MOST_SERIES = 1_208  # of `MetricSeries`, so that a model has 1,500 at the most, with those that every model has
_MOST_LABELS = 64  # that have three series each
_MOST_LABELS_OF_A_TABLE = 8  # whose columns take the room

_ARM = {arm: index for index, arm in enumerate(ARMS)}
_SERVER, _CLIENT = _ARM["server"], _ARM["client"]
_CONTROL = _ARM["control"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Chosen = tuple[Singles, Inputs, Integers, Integers]  # samples, inputs, arms, cells of a batch


def counted_signals(bundle: Bundle, reference: Reference) -> list[str]:
    """The signals of a bundle that are counted."""
    names = signal_names(bundle.manifest.sample, has_critic=bundle.critic_file is not None)
    return [*names, LABEL_MARGIN] if LABEL_MARGIN in reference.signals else names


def metric_series(bundle: Bundle, reference: Reference) -> MetricSeries:
    """What there is to count of a bundle: labels where they are few, and as many conditions as there is room for."""
    manifest = bundle.manifest
    labels = manifest.labels or []
    if len(labels) > (_MOST_LABELS_OF_A_TABLE if manifest.sample.columns else _MOST_LABELS):
        labels = []
    signals = counted_signals(bundle, reference)
    series = MetricSeries(
        signals=signals,
        binned=reference.signals,
        probes=len(bundle.golden.z),
        components=0 if reference.features is None else reference.features.size,
        labels=labels,
        classified=labels if LABEL_MARGIN in signals else (),
        detectors=detectors_of(manifest),
    )
    series = fitting(series)
    if manifest.conditions is None:
        return series
    each = CONDITION_BINS + 1
    if MOST_SERIES - series.count < 2 * each:
        series = replace(series, labels=(), classified=())
    shown = manifest.conditions[: max(0, MOST_SERIES - series.count) // each]
    bins = zip([condition.name for condition in shown], condition_bins(shown), strict=True)
    return replace(series, conditions={name: len(one) for name, one in bins})


def fitting(series: MetricSeries) -> MetricSeries:
    """The same, or without labels where there is no room for them, or without the last of a table's columns either:
    they are watched all the same."""
    if series.count > MOST_SERIES:
        series = replace(series, labels=(), classified=())
    while series.count > MOST_SERIES and (columns := [name for name in series.signals if name.startswith(COLUMN)]):
        series = replace(
            series,
            signals=[name for name in series.signals if name != columns[-1]],
            binned=[name for name in series.binned if name != columns[-1]],
        )
    return series


class Monitor:
    """Counts of one model, from the batches it is offered to the metrics and the ledger.

    Every row's own signals are counted, and the latents and labels that were asked for. Critic, features and classifier
    look at whole batches chosen at random, by a coin that is tossed before the batch is run and knows nothing of it, at
    a rate that keeps their time at `look_share` of the engine's. A latent that a client asks for again is not counted
    again: the same sample is no new evidence.

    The reference is of conditions that are drawn from their priors. A row of which a client chose one is counted, and
    what was chosen; with the reference it is not compared. Nor are rows whose latents were derived from others', which
    are no draws by themselves, nor are those counted as latents that a client sent.
    """

    def __init__(
        self,
        engine: Engine,
        reference: Reference,
        metrics: ModelMetrics,
        ledger: Ledger,
        look_share: float = LOOK_SHARE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._manifest = engine.bundle.manifest
        self._spec = self._manifest.sample
        self._reference = reference
        self._metrics = metrics
        self._ledger = ledger
        self._random = np.random.default_rng()
        self._repeats = Repeats()
        self._sent_before = Repeats()
        self._condition_bins = condition_bins(self._manifest.conditions)
        self._truncations = {cell.truncation for cell in reference.cells}
        self._owed = 0.0
        self._features, self._joint = reference.features, reference.joint
        self._map = (
            None if self._features is None else self._features.space.mapper(self._spec, self._manifest.conditions)
        )
        self._look_share = look_share
        self._looks = engine.has_critic or self._features is not None
        usual = signal_outputs(self._spec, engine.outputs)
        self._usual = Wanted(usual)
        self._looked_at = Wanted(tuple({*usual, "sample"}), chosen=True)
        self._names = counted_signals(engine.bundle, reference)
        self._batches: list[BatchDone] = []
        self._bytes = 0
        self._waiting = threading.Condition()
        self._stopping = False
        self._made = np.zeros(len(ARMS), np.int64)
        self._dropped = 0
        self._engine_seconds = 0.0
        self._look_seconds = 0.0
        self._clock = clock
        self._began = clock()
        self._chosen: list[Chosen] = []
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

    def settle(self) -> None:
        """Count what was offered, on this thread, and flush; for a monitor that is not started."""
        if batches := self._take():
            self._count(batches)
        if self._chosen:
            self._look()
        self._flush()

    def wanted(self, parts: Sequence[Part] = ()) -> Wanted:
        """What is needed of the next batch, of these parts, where they are known: no look at one without rows that the
        reference knows the like of."""
        if not self._looks or (parts and not any(map(self._known, parts))):
            return self._usual
        return self._looked_at if self._toss() else self._usual

    def _known(self, part: Part) -> bool:
        """Whether the reference knows the like of some of its rows. One that is empty is not asked."""
        request, start, rows = part
        if request.derived:
            return False
        if not self._reference.cells:
            return True
        if request.labels is not None and self._reference.pooled:
            return False
        if request.truncation not in self._truncations:
            return False
        asked = request.conditions
        return asked is None or bool(np.isnan(asked[start : start + rows]).all(axis=1).any())

    def owed(self) -> int:
        """Control rows that are to be made now, for rows that clients chose conditions of: 0, or CONTROL_ROWS or more.
        They are not owed any more."""
        with self._waiting:
            rows = int(self._owed)
            if rows < CONTROL_ROWS:
                return 0
            self._owed -= rows
        return rows

    def offer(self, batch: BatchDone) -> None:
        """Take a batch; returns at once. Where the monitor is behind, the batch is given up, whole."""
        rows, latent = len(batch.inputs.z), self._manifest.latent
        if latent.width < latent.dim:  # noise is not looked at, and may be larger than the sample
            batch = replace(batch, inputs=batch.inputs._replace(z=batch.inputs.z[:, : latent.width].copy()))
        self._metrics.inference_seconds.observe(batch.seconds)
        self._metrics.batch_rows.observe(rows)
        size = batch.inputs.z.nbytes + sum(output.nbytes for output in batch.made.values())
        with self._waiting:
            for request, _, count in batch.parts:
                self._made[_ARM[request.arm]] += count
            self._engine_seconds += batch.seconds
            if self._bytes > _BACKLOG_BYTES:
                self._dropped += 1
                return
            self._batches.append(batch)
            self._bytes += size
            if self._bytes > _ROUND_BYTES:
                self._waiting.notify()

    def _toss(self) -> bool:
        """True for a random share of the batches, less the more of its time looking has already used."""
        budget = self._look_share * self._engine_seconds + _IDLE_SHARE * (self._clock() - self._began)
        used = self._look_seconds / budget if budget else 1.0
        return self._look_seconds == 0 or self._random.random() < 1 - used

    def _reset(self) -> None:
        arms = len(ARMS)
        self._monitored = np.zeros(arms, np.int64)
        self._bins = {name: np.zeros((arms, BINS), np.int64) for name in self._reference.signals}
        self._sums = {name: np.zeros((arms, len(SIGNS))) for name in self._names}
        self._feature_sums = np.zeros((arms, 0 if self._features is None else self._features.size))
        self._feature_rows = np.zeros(arms, np.int64)
        self._joint_sums = np.zeros((arms, 0 if self._joint is None else self._joint.width))
        self._inputs = np.zeros((len(INPUTS), BINS), np.int64)
        self._sent = self._repeated = 0
        labels = len(self._manifest.labels or ())
        self._labels = np.zeros(labels, np.int64)
        self._compared = np.zeros(arms, np.int64)
        self._conditions = np.zeros((len(self._condition_bins), CONDITION_BINS), np.int64)
        self._asked_for = 0
        self._spots = np.zeros(2, np.int64)
        self._looked_at_labels = np.zeros(labels, np.int64)
        self._output_labels = np.zeros(labels, np.int64)
        self._nonfinite_values = self._nonfinite_rows = 0

    def _loop(self) -> None:
        flushed = time.monotonic()
        while True:
            with self._waiting:
                if self._bytes <= _ROUND_BYTES and not self._stopping:
                    self._waiting.wait(_ROUND_SECONDS)
                batches = self._take()
                done = self._stopping and not batches
            if batches:
                self._attempt(partial(self._count, batches), len(batches))
            due = done or time.monotonic() - flushed >= _FLUSH_SECONDS
            if self._chosen and (due or sum(len(samples) for samples, *_ in self._chosen) >= _LOOK_ROWS):
                self._attempt(self._look, len(self._chosen))
            if due:
                try:
                    self._flush()
                except Exception:
                    log.exception("counts of a second were lost")
                    self._metrics.monitor_failures.inc()
                    self._reset()
                flushed = time.monotonic()
            if done:
                return

    def _attempt(self, work: Callable[[], None], batches: int) -> None:
        """Work on so many batches; where it fails, go on."""
        began = time.perf_counter()
        try:
            work()
        except Exception:
            log.exception("monitoring %d batches failed; they were served", batches)
            self._metrics.monitor_failures.inc(batches)
        self._metrics.monitor_seconds.inc(time.perf_counter() - began)

    def _take(self) -> list[BatchDone]:
        with self._waiting:
            batches, self._batches, self._bytes = self._batches, [], 0
        return batches

    def _count(self, batches: list[BatchDone]) -> None:
        """Count batches as if they were one: small ones cost little more together than one of them alone."""
        signals = batch_signals(batches, self._spec)
        parts = [part for batch in batches for part in batch.parts]
        counts = [rows for _, _, rows in parts]
        arms = np.repeat([_ARM[request.arm] for request, _, _ in parts], counts)
        derived = np.repeat([request.derived for request, _, _ in parts], counts)
        sent = np.repeat([request.latents is not None for request, _, _ in parts], counts) & ~derived
        truncations = np.repeat([request.truncation for request, _, _ in parts], counts)
        inputs = Inputs.join([batch.inputs for batch in batches])
        z, labels, chosen = inputs.z, inputs.label, None
        if labels is not None:
            if len(self._labels) > 1:
                chosen = np.repeat([request.labels is not None for request, _, _ in parts], counts)
            self._labels += np.bincount(labels[arms != _CONTROL], minlength=len(self._labels))
        conditions = self._count_conditions(parts, counts, arms)
        first, plausible = self._count_inputs(inputs._replace(condition=conditions), parts, arms, sent)
        looked = first
        if self._reference.spots is not None:
            first = first & ~self._compare_spots(batches)  # they come again and again
        cells = np.where(first, self._reference.cells_of(labels, len(z), truncations, chosen), -1)
        cells[derived] = -1
        if conditions is not None:
            cells[~np.isnan(conditions).all(axis=1)] = -1
            self._owe(int((cells[arms == _SERVER] >= 0).sum()), conditions)
        self._compared += np.bincount(arms[cells >= 0], minlength=len(ARMS))
        nonfinite = signals.pop(NONFINITE)
        self._nonfinite_values += int(nonfinite.sum())
        self._nonfinite_rows += int(np.count_nonzero(nonfinite[plausible & first]))
        self._monitored += np.bincount(arms[looked], minlength=len(ARMS))
        self._count_signals(signals, arms, cells)
        start = 0
        for batch in batches:
            stop = start + len(batch.inputs.z)
            if batch.chosen:
                self._choose(batch, arms[start:stop], cells[start:stop])
            start = stop

    def _compare_spots(self, batches: list[BatchDone]) -> Flags:
        """Compare rows of which spots were recorded; which rows these are."""
        spots, found = self._reference.spots, []
        assert spots is not None  # noqa: S101, asked for with some alone
        tolerance = max(self._engine.bundle.golden.tolerance, TOLERANCE_FACTOR * spots.measured)
        for batch in batches:
            place = 0
            for request, start, rows in batch.parts:
                first = spot_of(request)
                found.append(np.full(rows, first is not None))
                if first is not None:
                    off = spots.off(batch.made["sample"][place : place + rows], first + start)
                    self._spots += rows, int((off > tolerance).sum())
                place += rows
        return np.concatenate(found)

    def _choose(self, batch: BatchDone, arms: Integers, cells: Integers) -> None:
        """Keep a batch's rows to be looked at: those that the reference knows the like of."""
        samples, inputs = batch.made["sample"], batch.inputs
        if (known := cells >= 0).all() or not self._reference.cells:
            self._chosen.append((samples, inputs, arms, cells))
        elif known.any():
            self._chosen.append((samples[known], inputs.take(np.flatnonzero(known)), arms[known], cells[known]))

    def _count_conditions(self, parts: list[Part], counts: list[int], arms: Integers) -> Singles | None:
        """Count what was asked for; the conditions of each row that a client chose, float32 [n, k], NaN for one that it
        did not. None where there are none."""
        if not self._condition_bins:
            return None
        asked = np.full((len(arms), len(self._condition_bins)), np.nan, np.float32)
        ends = np.cumsum(counts)
        for (request, start, rows), end in zip(parts, ends, strict=True):
            if request.conditions is not None:
                asked[end - rows : end] = request.conditions[start : start + rows]
        of_clients = asked[arms != _CONTROL]
        self._asked_for += len(of_clients)
        for own, bins, values in zip(self._conditions, self._condition_bins, of_clients.T, strict=True):
            own += np.bincount(bins.of(values[~np.isnan(values)]), minlength=CONDITION_BINS)
        return asked

    def _owe(self, known: int, conditions: Singles) -> None:
        """Owe control rows for rows whose conditions were chosen; `known` rows of the server's own seeds do as well."""
        chosen = int((~np.isnan(conditions).all(axis=1)).sum())
        with self._waiting:
            self._owed = float(np.clip(self._owed + CONTROL_SHARE * chosen - known, -CONTROL_ROWS, _MOST_OWED))

    def _count_inputs(self, inputs: Inputs, parts: list[Part], arms: Integers, sent: Flags) -> tuple[Flags, Flags]:
        """Count latents that clients sent. Which rows are there for the first time: only clients ask for the same one
        twice; and which rows' latents the prior could have given. Of `inputs` the latents are without noise, and the
        conditions those that were chosen."""
        first, plausible = np.ones((2, len(arms)), np.bool_)
        dim = self._manifest.latent.dim
        noise = np.zeros(len(arms), np.bool_)
        if inputs.z.shape[1] < dim and sent.any():
            noise = np.repeat([_sent_whole(request, dim) for request, _, _ in parts], [rows for _, _, rows in parts])
        for of, whole in (((arms == _CLIENT) & ~noise, False), (noise, True)):
            rows = np.flatnonzero(of)
            if not len(rows):
                continue
            own = inputs.take(rows)
            if whole:  # a client's own noise tells its rows apart
                own = own._replace(z=_whole(parts, dim))
            first[rows] = self._repeats.first(*own)
            if (mine := sent[rows]).any():
                plausible[rows[mine]] = self._count_sent(own.z[mine], first[rows[mine]])
        return first, plausible

    def _count_sent(self, z: Singles, first: Flags) -> Flags:
        """Count latents that clients sent, of rows that were there for the first time or not: each latent once, with
        whatever labels and conditions it comes. Which of them the prior could have given."""
        self._sent += int(first.sum())
        self._repeated += int((~first).sum())
        new = np.zeros(len(z), np.bool_)
        new[first] = self._sent_before.first(z[first])
        found = input_signals(z, self._manifest.latent)
        for index, values in enumerate(found.values()):
            places = np.minimum((values[new] * BINS).astype(np.int64), BINS - 1)
            self._inputs[index] += np.bincount(places, minlength=BINS)
        return ~implausible(found[INPUTS[0]])

    def _look(self) -> None:
        """Look at the batches chosen for it, of which there is one at least."""
        began = time.perf_counter()
        samples, arms, cells = (np.concatenate([batch[k] for batch in self._chosen]) for k in (0, 2, 3))
        inputs = Inputs.join([batch[1] for batch in self._chosen])
        self._chosen = []
        try:
            self._look_at(samples, inputs, arms, cells)
        finally:
            self._look_seconds += time.perf_counter() - began

    def _look_at(self, samples: Singles, inputs: Inputs, arms: Integers, cells: Integers) -> None:
        """Critic, features and classifier on samples."""
        found: dict[str, Floats] = {}
        labels, of_critic = inputs.label, None
        if self._engine.has_critic:
            score, of_critic = self._engine.criticise(samples, inputs)
            found[CRITIC_SCORE] = score.astype(np.float64)
        if self._features is not None and self._map is not None:
            features = self._map.features(samples, of_critic, inputs.condition)
            components = self._features.components(features, cells)
            known = np.isfinite(components).all(axis=1)
            by_arm = np.eye(len(ARMS))[:, arms[known]]
            self._feature_sums += by_arm @ components[known]
            self._feature_rows += np.bincount(arms[known], minlength=len(ARMS))
            if self._joint is not None:
                self._joint_sums += by_arm @ self._joint.vectors(components[known], cells[known], self._random)
            classifier = self._reference.classifier
            if LABEL_MARGIN in self._names and classifier is not None and labels is not None:
                standardised = self._features.standardised(features)
                found[LABEL_MARGIN] = classifier.margin(standardised, labels)
                count = len(self._labels)
                self._looked_at_labels += np.bincount(labels[known], minlength=count)
                self._output_labels += np.bincount(classifier.label(standardised[known]), minlength=count)
        self._count_signals(found, arms, cells)

    def _count_signals(self, signals: Mapping[str, Floats], arms: Integers, cells: Integers) -> None:
        bins = self._reference.bins(signals, cells, self._random)
        for name, own in bins.items():
            counted = own >= 0
            places = arms[counted] * BINS + own[counted]
            self._bins[name] += np.bincount(places, minlength=len(ARMS) * BINS).reshape(len(ARMS), BINS)
        for name, values in signals.items():
            finite = bins[name] >= 0 if name in bins else np.isfinite(values)  # their mean is of the rows in the bins
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
        self._metrics.count_features(self._feature_sums, self._feature_rows)
        self._metrics.count_inputs(self._inputs, self._repeated)
        self._metrics.count_labels(self._labels)
        self._metrics.count_conditions(self._conditions, self._asked_for)
        self._metrics.count_looked_at(self._looked_at_labels, self._output_labels)
        self._metrics.nonfinite.inc(self._nonfinite_values)
        self._ledger.add(
            {
                "rows": self._monitored,
                "bins": np.stack([self._bins[name] for name in self._reference.signals], axis=1)
                if self._bins
                else np.zeros((len(ARMS), 0, BINS)),
                "joint": self._joint_sums,
                "joint_rows": self._feature_rows,
                "sent": np.array([self._sent]),
                "inputs": self._inputs,
                "repeated": np.array([self._repeated]),
                "labels": self._labels,
                "nonfinite": np.array([self._nonfinite_rows]),
                "conditions": self._conditions,
                "compared": self._compared,
                "spots": self._spots,
            }
        )
        self._reset()


def _sent_whole(request: RowsRequest, dim: int) -> bool:
    """Whether a client sent latents with their noise."""
    return request.latents is not None and request.latents.shape[1] == dim and not request.derived


def _whole(parts: Sequence[Part], dim: int) -> Singles:
    """Those latents float32 [n, dim], of all rows."""
    return np.concatenate(
        [
            request.latents[start : start + rows]
            for request, start, rows in parts
            if request.latents is not None and _sent_whole(request, dim)
        ]
    )
