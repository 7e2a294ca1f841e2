"""Every Prometheus metric of the server, defined once. Imported by server processes only.

Whether they are counted over several processes is decided when this file is imported (`shared_values`), so nothing that
runs before a worker may import it.
"""

from __future__ import annotations

import math
import time
from collections import Counter as Tally
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from latentserve.service.sampling.request import ARMS
from latentserve.service.watching import shared_values
from latentserve.service.watching.features import COMPONENT_LIMIT
from latentserve.service.watching.inputs import INPUTS
from latentserve.service.watching.reference import BINS
from latentserve.service.watching.verdict import CAUSES

_SECONDS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_MODEL = ("model", "version")


shared_values.decide()


class BatchHistogram(Histogram):
    """A histogram that takes many values at once: over several processes each single one costs microseconds."""

    def observe_many(self, values: Sequence[float]) -> None:
        """As `observe`, of each value."""
        found = np.searchsorted(self._upper_bounds, values)
        self._sum.inc(math.fsum(values))
        for index, count in enumerate(np.bincount(found).tolist()):
            if count:
                self._buckets[index].inc(count)


REQUESTS = Counter(
    "latentserve_requests_total", "HTTP requests answered, by route template.", (*_MODEL, "route", "code")
)
REQUEST_SECONDS = BatchHistogram(
    "latentserve_request_duration_seconds", "From the request's arrival to its last byte.", (*_MODEL, "route"),
    buckets=_SECONDS,
)  # fmt: skip
QUEUE_SECONDS = BatchHistogram(
    "latentserve_queue_duration_seconds", "A request's wait from queueing to its first batch.", _MODEL,
    buckets=_SECONDS,
)  # fmt: skip
INFERENCE_SECONDS = BatchHistogram(
    "latentserve_inference_duration_seconds", "One call of the engine.", _MODEL, buckets=_SECONDS
)
ENCODE_SECONDS = BatchHistogram(
    "latentserve_encode_duration_seconds", "Samples to bytes, per answer.", _MODEL, buckets=_SECONDS
)
BATCH_ROWS = BatchHistogram("latentserve_batch_rows", "Rows of one call of the engine.", _MODEL, buckets=_ROWS)
QUEUE_ROWS = Gauge("latentserve_queue_rows", "Rows that wait for the engine.", _MODEL, multiprocess_mode="livesum")
QUEUE_LIMIT = Gauge(
    "latentserve_queue_limit_rows", "Rows that may wait for the engine.", _MODEL, multiprocess_mode="livesum"
)
INFLIGHT = Gauge("latentserve_inflight_requests", "Sampling requests being answered.", multiprocess_mode="livesum")
SAMPLES = Counter("latentserve_samples_total", "Samples made, by who chose the latent.", (*_MODEL, "arm"))
SEARCHED = Counter(
    "latentserve_searched_rows_total", "Rows looked at to choose from, by whether they were chosen.",
    (*_MODEL, "outcome"),
)  # fmt: skip
REJECTED = Counter("latentserve_rejected_total", "Sampling requests refused, by reason.", ("reason",))
UNAUDITED = Counter(
    "latentserve_unaudited_answers_total",
    "Answers of samples that were sent without a line in the account, for there was no room for it.",
)
CACHE_REQUESTS = Counter(
    "latentserve_cache_requests_total",
    "Samples asked for by address that a worker's cache was asked for, by whether it had them.",
    ("outcome",),
)
CACHE_BYTES = Gauge(
    "latentserve_cache_bytes", "Bytes of answers that are kept to be given again.", multiprocess_mode="livesum"
)
REFUSED = Counter(
    "latentserve_refused_total",
    "Requests that the HTTP host answered itself, before they had a route, by kind.",
    ("kind",),
)
RUNTIME = Gauge(
    "latentserve_runtime_info", "What runs the model; always 1.",
    (*_MODEL, "provider", "precision", "device", "runtime_version"), multiprocess_mode="max",
)  # fmt: skip
READY = Gauge(
    "latentserve_model_ready", "1 when verified, warmed and its golden probes pass, in every worker.", _MODEL,
    multiprocess_mode="livemin",
)  # fmt: skip
SIGNED = Gauge(
    "latentserve_bundle_signature_verified", "1 where somebody who is trusted has signed the bundle, in every worker.",
    _MODEL, multiprocess_mode="livemin",
)  # fmt: skip
PROBE_RUNS = Counter(
    "latentserve_probe_runs_total", "Replays of the golden probes, of which there is one a label at least.",
    (*_MODEL, "probe", "outcome"),
)  # fmt: skip
PROBE_ERROR = Gauge(
    "latentserve_probe_abs_error", "Largest absolute difference of the last replay from the recorded samples.", _MODEL,
    multiprocess_mode="livemax",
)  # fmt: skip
MONITORED = Counter("latentserve_monitored_samples_total", "Samples whose signals were computed.", (*_MODEL, "arm"))
SIGNAL_BINS = Counter(
    "latentserve_output_signal_bin_total",
    "Samples by signal and by twentieth of the reference distribution; without drift all bins of a signal are equal.",
    (*_MODEL, "arm", "signal", "bin"),
)
SIGNAL_SUM = Counter(
    "latentserve_output_signal_sum_total",
    "Sum of the signals' positive and (as a positive number) negative values: a counter may only grow.",
    (*_MODEL, "arm", "signal", "sign"),
)
NONFINITE = Counter("latentserve_output_nonfinite_total", "Values that were not finite.", _MODEL)
REFERENCE_SAMPLES = Gauge(
    "latentserve_reference_samples", "Samples the reference was made from.", _MODEL, multiprocess_mode="max"
)
REFERENCE_CREATED = Gauge(
    "latentserve_reference_created_timestamp_seconds", "When the bundle and its reference were made.", _MODEL,
    multiprocess_mode="max",
)  # fmt: skip
REFERENCE_TOLERANCE = Gauge(
    "latentserve_reference_tolerance",
    "What the error of a reference of finite size takes of a bet's mean, for each standard deviation the bet has.",
    _MODEL, multiprocess_mode="max",
)  # fmt: skip
FEATURE_SUM = Counter(
    "latentserve_output_feature_sum_total",
    f"Sum of the whitened feature components, of each row {COMPONENT_LIMIT:g} added: a counter may only grow.",
    (*_MODEL, "arm", "component"),
)
FEATURE_ROWS = Counter("latentserve_output_feature_rows_total", "Rows in the feature sums.", (*_MODEL, "arm"))
INPUT_BINS = Counter(
    "latentserve_input_signal_bin_total",
    "Latents that clients sent, by signal and by twentieth of what the prior would give.",
    (*_MODEL, "signal", "bin"),
)
INPUT_REPEATED = Counter(
    "latentserve_input_repeated_total", "Rows of latents that clients had sent before; they are not monitored.", _MODEL
)
LABELS = Counter("latentserve_labels_total", "Rows by the label they were asked for with.", (*_MODEL, "label"))
CONDITION_ROWS = Counter(
    "latentserve_condition_rows_total",
    "Rows by the condition that clients asked for, in tenths of its prior; `drawn`: it was not asked for.",
    (*_MODEL, "condition", "bin"),
)
LOOKED_AT_LABELS = Counter(
    "latentserve_looked_at_labels_total", "Looked-at rows by the label they were asked for with.", (*_MODEL, "label")
)
OUTPUT_LABELS = Counter(
    "latentserve_output_labels_total", "The same rows by the label that the small classifier gives them.",
    (*_MODEL, "label"),
)  # fmt: skip
EVIDENCE = Gauge(
    "latentserve_drift_log_evidence", "Evidence of a drift, by detector; an alarm is raised at the threshold.",
    (*_MODEL, "detector"), multiprocess_mode="livemax",
)  # fmt: skip
THRESHOLD = Gauge(
    "latentserve_drift_log_threshold", "Evidence at which an alarm is raised.", _MODEL, multiprocess_mode="max"
)
VERDICT_AGE = Gauge(
    "latentserve_drift_verdict_age_seconds",
    "How long ago the verdict on drift was reached; how long the server has been up where none was.",
    _MODEL, multiprocess_mode="livemax",
)  # fmt: skip
CAUSE = Gauge(
    "latentserve_drift_cause", "1 for the cause that the verdict names, 0 for the others.", (*_MODEL, "cause"),
    multiprocess_mode="livemax",
)  # fmt: skip
JUDGED = Gauge(
    "latentserve_drift_judged_timestamp_seconds", "When the verdict on drift was reached last; 0: not yet.", _MODEL,
    multiprocess_mode="livemax",
)  # fmt: skip
WATCH_FAILURES = Counter(
    "latentserve_watch_failures_total", "Rounds of what is done again and again beside serving that failed.",
    (*_MODEL, "task"),
)  # fmt: skip
MONITOR_DROPPED = Counter(
    "latentserve_monitor_dropped_batches_total", "Batches not monitored because the monitor was behind.", _MODEL
)
MONITOR_FAILURES = Counter(
    "latentserve_monitor_failures_total", "Batches whose monitoring failed; they were served.", _MODEL
)
MONITOR_SECONDS = Counter("latentserve_monitor_seconds_total", "Time spent on monitoring.", _MODEL)


WORKERS = Gauge("latentserve_workers", "Processes that serve.", multiprocess_mode="livesum")
CONNECTIONS = Gauge(
    "latentserve_worker_connections", "Connections of clients, by the place of the worker that has them.", ("worker",),
    multiprocess_mode="livesum",
)  # fmt: skip
# Of the server as a whole, and made when they are asked for (`exposition`).
WORKER_RESTARTS = CounterMetricFamily(
    "latentserve_worker_restarts",
    "Workers that were started in the place of one that had ended, whether they came up or not.",
)
BUILD = GaugeMetricFamily("latentserve_build_info", "What serves; always 1.")
FREE_BYTES = GaugeMetricFamily("latentserve_state_free_bytes", "Free on the disk where counts and evidence are kept.")
WATCHED_RATE = Gauge(
    "latentserve_watched_rows_per_second", "Rate up to which the promise on false alarms of drift holds.",
    multiprocess_mode="max",
)  # fmt: skip


ROUTES = ("/v1/samples", "/sample")  # whose series are there from the start; of others with their first answer
CODES = ("200", "413", "422", "429", "499", "500", "503", "504")  # that a request for a known model may end with
# That a request for no known model may end with; what others end with is there from the first time on.
UNROUTED = {
    "/v1/samples": (
        "400", "404", "405", "406", "408", "413", "415", "422", "429", "499", "500", "503",
    ),
    "/sample": ("400", "404", "405", "408", "413", "415", "499", "500", "503", "504"),
    "other": ("400", "404", "405", "408", "413", "414", "415", "431", "499", "500", "503", "504"),
}  # fmt: skip
REASONS = ("queue_full", "quota", "too_large", "invalid", "unauthorized", "forbidden", "not_ready", "deadline")
OUTCOMES = ("match", "mismatch")
CHOSEN, PASSED_OVER = "chosen", "passed_over"
SIGNS = ("positive", "negative")
DRAWN = "drawn"  # the bin of rows that were not asked for with a condition
JUDGE, PROBES, PADDING, FILES = TASKS = ("judge", "probes", "padding", "files")


class Observations:
    """A series of a histogram, whose values are kept until they are counted together."""

    def __init__(self, series: BatchHistogram) -> None:
        self._series = series
        self._values: list[float] = []
        self.observe = self._values.append

    def flush(self) -> None:
        """Count what was observed; other threads may go on observing."""
        values = self._values[:]
        if values:
            del self._values[: len(values)]
            self._series.observe_many(values)


@dataclass(frozen=True)
class MetricSeries:
    """What there is to count of a model: signals, those of them that have a reference and so bins, golden probes,
    feature components, the names of labels (none where they would be too many series), of those that the small
    classifier tells apart, and of detectors; the bins of each condition, as far as they are not too many series."""

    signals: Sequence[str] = ()
    binned: Collection[str] = ()
    probes: int = 0
    components: int = 0
    labels: Sequence[str] = ()
    classified: Sequence[str] = ()
    detectors: Sequence[str] = ()
    conditions: Mapping[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many series these are; a model has others, always as many."""
        of_arm = BINS * len(self.binned) + len(SIGNS) * len(self.signals) + self.components
        of_labels = len(self.labels) + 2 * len(self.classified)
        of_conditions = sum(bins + 1 for bins in self.conditions.values())
        return len(ARMS) * of_arm + len(OUTCOMES) * self.probes + len(self.detectors) + of_labels + of_conditions


class ModelMetrics:
    """The series of one model, bound once (looking labels up costs as much as counting) and present from the start.

    What is counted for each request or batch is kept until `flush`.
    """

    def __init__(self, model: str, version: str, watched: MetricSeries) -> None:
        of = {"model": model, "version": version}
        self._of = of
        self._request_seconds = {route: Observations(REQUEST_SECONDS.labels(**of, route=route)) for route in ROUTES}
        for route in ROUTES:
            for code in CODES:
                REQUESTS.labels(**of, route=route, code=code)
        self._requests: Tally[tuple[str, int]] = Tally()
        self.queue_seconds = Observations(QUEUE_SECONDS.labels(**of))
        self.inference_seconds = Observations(INFERENCE_SECONDS.labels(**of))
        self.encode_seconds = Observations(ENCODE_SECONDS.labels(**of))
        self.batch_rows = Observations(BATCH_ROWS.labels(**of))
        self._observations = [
            self.queue_seconds,
            self.inference_seconds,
            self.encode_seconds,
            self.batch_rows,
        ]
        self.queue_rows = QUEUE_ROWS.labels(**of)
        self.ready = READY.labels(**of)
        self.probe_error = PROBE_ERROR.labels(**of)
        self._probe_runs = [
            {outcome: PROBE_RUNS.labels(**of, probe=str(probe), outcome=outcome) for outcome in OUTCOMES}
            for probe in range(watched.probes)
        ]
        self.nonfinite = NONFINITE.labels(**of)
        self.monitor_dropped = MONITOR_DROPPED.labels(**of)
        self.monitor_failures = MONITOR_FAILURES.labels(**of)
        self.monitor_seconds = MONITOR_SECONDS.labels(**of)
        self._samples = [SAMPLES.labels(**of, arm=arm) for arm in ARMS]
        self._searched = {outcome: SEARCHED.labels(**of, outcome=outcome) for outcome in (CHOSEN, PASSED_OVER)}
        self._monitored = [MONITORED.labels(**of, arm=arm) for arm in ARMS]
        self._bins = {
            name: [[SIGNAL_BINS.labels(**of, arm=arm, signal=name, bin=f"{b:02}") for b in range(BINS)] for arm in ARMS]
            for name in watched.binned
        }
        self._sums = {
            name: [[SIGNAL_SUM.labels(**of, arm=arm, signal=name, sign=sign) for sign in SIGNS] for arm in ARMS]
            for name in watched.signals
        }
        self._features = [
            [FEATURE_SUM.labels(**of, arm=arm, component=str(k)) for k in range(watched.components)] for arm in ARMS
        ]
        self._feature_rows = [FEATURE_ROWS.labels(**of, arm=arm) for arm in ARMS] if watched.components else []
        self._inputs = [[INPUT_BINS.labels(**of, signal=name, bin=f"{b:02}") for b in range(BINS)] for name in INPUTS]
        self.input_repeated = INPUT_REPEATED.labels(**of)
        self._labels = [LABELS.labels(**of, label=name) for name in watched.labels]
        self._conditions = [
            [CONDITION_ROWS.labels(**of, condition=name, bin=b) for b in (*(f"{b:02}" for b in range(bins)), DRAWN)]
            for name, bins in watched.conditions.items()
        ]
        self._looked_at = [LOOKED_AT_LABELS.labels(**of, label=name) for name in watched.classified]
        self._output_labels = [OUTPUT_LABELS.labels(**of, label=name) for name in watched.classified]
        self._evidence = {name: EVIDENCE.labels(**of, detector=name) for name in watched.detectors}
        self.threshold = THRESHOLD.labels(**of)
        self._judged = JUDGED.labels(**of)
        self.verdict_age = VERDICT_AGE.labels(**of)
        self._failures = {task: WATCH_FAILURES.labels(**of, task=task) for task in TASKS}
        self._causes = {cause: CAUSE.labels(**of, cause=cause) for cause in CAUSES}

    def describe(
        self, *, provider: str, precision: str, device: str, runtime_version: str, queue_limit_rows: int
    ) -> None:
        """Say what runs the model, and how many rows may wait for it."""
        RUNTIME.labels(
            **self._of, provider=provider, precision=precision, device=device, runtime_version=runtime_version
        ).set(1)
        QUEUE_LIMIT.labels(**self._of).set(queue_limit_rows)

    def describe_signature(self, verified: bool) -> None:
        """Say whether somebody who is trusted has signed the bundle."""
        SIGNED.labels(**self._of).set(verified)

    def describe_reference(self, samples: int, created: float, tolerance: float | None) -> None:
        """Say how large the reference is, when (seconds of Unix time) it was made and what its error costs; of a model
        that has none, tolerance None, only that it has no samples."""
        REFERENCE_SAMPLES.labels(**self._of).set(samples)
        if tolerance is not None:
            REFERENCE_CREATED.labels(**self._of).set(created)
            REFERENCE_TOLERANCE.labels(**self._of).set(tolerance)

    def count_request(self, route: str, code: int, seconds: float) -> None:
        """Count one answer; like `flush`, on the event loop."""
        self._requests[route, code] += 1
        seen = self._request_seconds.get(route)
        if seen is None:
            seen = self._request_seconds[route] = Observations(REQUEST_SECONDS.labels(**self._of, route=route))
        seen.observe(seconds)

    def flush(self) -> None:
        """Bring what was counted to where it can be seen."""
        for (route, code), count in self._requests.items():
            REQUESTS.labels(**self._of, route=route, code=str(code)).inc(count)
        self._requests.clear()
        for observations in (*self._request_seconds.values(), *self._observations):
            observations.flush()

    def count_probes(self, probes: Sequence[int], matches: Sequence[bool]) -> None:
        """Count replays of golden probes, one of each that is named, as often as it is."""
        for probe, match in zip(probes, matches, strict=True):
            self._probe_runs[probe]["match" if match else "mismatch"].inc()

    def count_features(self, sums: NDArray[np.float64], rows: NDArray[np.int64]) -> None:
        """Add sums of components float64 [arms, k], and the rows int64 [arms] they are of."""
        for series, arm, n in zip(self._features, sums, rows.tolist(), strict=True):
            _add(series, arm + COMPONENT_LIMIT * n)
        if self._feature_rows:
            _add(self._feature_rows, rows)

    def count_inputs(self, bins: NDArray[np.int64], repeated: int) -> None:
        """Add latents that clients sent, int64 [inputs, BINS], and how many had been sent before."""
        for series, row in zip(self._inputs, bins, strict=True):
            _add(series, row)
        self.input_repeated.inc(repeated)

    def count_labels(self, rows: NDArray[np.int64]) -> None:
        """Add rows by label, int64 [labels]."""
        if self._labels:
            _add(self._labels, rows)

    def count_conditions(self, bins: NDArray[np.int64], rows: int) -> None:
        """Add rows by the bin of each condition that was asked for, int64 [conditions, CONDITION_BINS], of `rows`."""
        for series, own in zip(self._conditions, bins, strict=False):
            _add(series, np.append(own[: len(series) - 1], rows - own.sum()))

    def count_looked_at(self, asked: NDArray[np.int64], given: NDArray[np.int64]) -> None:
        """Add looked-at rows by the label asked for, and by the label that the classifier gives, int64 [labels]."""
        if self._looked_at:
            _add(self._looked_at, asked)
            _add(self._output_labels, given)

    def show_verdict(self, cause: str | None, log_evidence: Mapping[str, float]) -> None:
        """Show what was judged now; a `cause` of None: another worker judges, and shows it."""
        for known, gauge in self._causes.items():
            gauge.set(int(known == cause))
        for name, gauge in self._evidence.items():
            gauge.set(log_evidence.get(name, 0))
        if cause is not None:
            self._judged.set(time.time())

    def count_failure(self, task: str) -> None:
        """Count a round of one of TASKS that failed."""
        self._failures[task].inc()

    def count_samples(self, rows: NDArray[np.int64]) -> None:
        """Add rows made, int64 [arms]."""
        _add(self._samples, rows)

    def count_searched(self, looked_at: int, chosen: int) -> None:
        """Add rows that were looked at for a request, and of these the chosen ones."""
        self._searched[CHOSEN].inc(chosen)
        self._searched[PASSED_OVER].inc(looked_at - chosen)

    def count_monitored(self, rows: NDArray[np.int64]) -> None:
        """Add rows whose signals were computed, int64 [arms]."""
        _add(self._monitored, rows)

    def count_signals(self, bins: Mapping[str, NDArray[np.int64]], sums: Mapping[str, NDArray[np.float64]]) -> None:
        """Add bin counts int64 [arms, BINS] and sums float64 [arms, signs] by signal."""
        for shown, found in ((self._bins, bins), (self._sums, sums)):
            for name, counters in shown.items():
                for arm, amounts in enumerate(found[name]):
                    _add(counters[arm], amounts)


def count_unrouted(route: str, code: int) -> None:
    """Count an answer that belongs to no model."""
    REQUESTS.labels(model="", version="", route=route, code=str(code)).inc()


def count_refused(kind: str, code: int, count: int = 1) -> None:
    """Count requests that the HTTP host answered itself."""
    REFUSED.labels(kind=kind).inc(count)
    REQUESTS.labels(model="", version="", route="other", code=str(code)).inc(count)


def precreate() -> None:
    """Make the series that belong to no model visible at 0."""
    for reason in REASONS:
        REJECTED.labels(reason=reason)
    for outcome in ("hit", "miss"):
        CACHE_REQUESTS.labels(outcome=outcome)
    CACHE_BYTES.set(0)
    for route, codes in UNROUTED.items():
        for code in codes:
            REQUESTS.labels(model="", version="", route=route, code=code)
    INFLIGHT.set(0)


def describe_worker(workers: int, watched_rows_per_second: float) -> None:
    """Say that this worker is there, one of so many."""
    WORKERS.set(1)
    WATCHED_RATE.set(watched_rows_per_second)
    for place in range(workers):
        CONNECTIONS.labels(worker=str(place)).set(0)


def _add(counters: list[Counter], amounts: NDArray[np.generic]) -> None:
    for counter, amount in zip(counters, amounts.tolist(), strict=True):
        if amount:
            counter.inc(amount)
