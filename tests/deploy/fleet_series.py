"""What replicas in good health show, in series made up: the same from each, with nothing random."""

from __future__ import annotations

from collections.abc import Sequence

from deploy import names
from latentserve.service.watching.features import COMPONENT_LIMIT
from latentserve.service.watching.reference import BINS
from latentserve.service.watching.verdict import CAUSES
from tests.deploy.promtool import Counter, Series, key

ARMS = {"server": 2000.0, "client": 1000.0, "control": 60.0}  # rows a minute
LABELS = ("0", "1")
EVEN = (1 / BINS,) * BINS
A, B = "a:3000", "b:3000"


def tilted(effect: float) -> tuple[float, ...]:
    """Shares of bins at this chi-square distance from equal ones."""
    each = effect**0.5 / BINS
    return (1 / BINS + each, 1 / BINS - each) * (BINS // 2)


def replica(
    instance: str = A,
    model: str = "digits",
    version: str = "v1",
    *,
    traffic: float = 1.0,
    shares: Sequence[float] = EVEN,
    moved: float = 0.0,
    arms: Sequence[str] = tuple(ARMS),
    signals: Sequence[str] = ("mean",),
) -> Series:
    """Everything that a replica shows which a rule uses.

    `traffic`: of what is usual; control samples come anyway. Of `signals` the first has these `shares` in `arms`, where
    the mean of a feature is `moved` by so many standard deviations.
    """
    at = {"job": names.JOB, "instance": instance}
    of = {**at, "model": model, "version": version}
    found: Series = {
        key("up", **at): 1.0,
        key(names.READY, **of): 1.0,
        key(names.WORKER_RESTARTS, **at): Counter(0.0, 0.0),
        key(names.REJECTED, **at, reason="queue_full"): Counter(0.0, 0.0),
        key(names.QUEUE_ROWS, **of): 50.0,
        key(names.QUEUE_LIMIT, **of): 1000.0,
        key(names.NONFINITE, **of): Counter(0.0, 0.0),
        key(names.MONITOR_DROPPED, **of): Counter(0.0, 0.0),
        key(names.MONITOR_FAILURES, **of): Counter(0.0, 0.0),
        key(names.WATCH_FAILURES, **of, task="judge"): Counter(0.0, 0.0),
        key(names.JUDGED, **of): "0+15x400",  # at every scrape, just now
        key(f"{names.BATCH_ROWS}_count", **of): Counter(100.0 * traffic + 1),
        key(names.REFERENCE_SAMPLES, **of): 100_000.0,
        key(names.REFERENCE_CREATED, **of): 0.0,
        key(names.REFERENCE_TOLERANCE, **of): 0.015,
        key(names.THRESHOLD, **of): 23.3,
    }
    requests = 1000.0 * traffic
    for code, share in (("200", 1.0), ("500", 0.0)):
        found[key(names.REQUESTS, **of, route="/v1/samples", code=code)] = Counter(requests * share)
    found[key(f"{names.REQUEST_SECONDS}_bucket", **of, route="/v1/samples", le="0.5")] = Counter(requests)
    found[key(f"{names.REQUEST_SECONDS}_count", **of, route="/v1/samples")] = Counter(requests)
    for cause in CAUSES:
        found[key(names.CAUSE, **of, cause=cause)] = float(cause == "none")
    for outcome, runs in (("match", 1.0), ("mismatch", 0.0)):
        found[key(names.PROBE_RUNS, **of, probe="0", outcome=outcome)] = Counter(runs)
    for label in LABELS:
        for metric in (names.LOOKED_AT_LABELS, names.OUTPUT_LABELS):
            found[key(metric, **of, label=label)] = Counter(20.0 * traffic)
    for b in range(BINS):
        found[key(names.INPUT_BINS, **of, signal="norm", bin=f"{b:02}")] = Counter(50.0 * traffic)
    for arm, usual in ARMS.items():
        rows = usual if arm == "control" else usual * traffic
        within = {**of, "arm": arm}
        for metric in (names.SAMPLES, names.MONITORED, names.FEATURE_ROWS):
            found[key(metric, **within)] = Counter(rows)
        own, offset = (shares, moved) if arm in arms else (EVEN, 0.0)
        for component in range(4):
            one = key(names.FEATURE_SUM, **within, component=f"{component}")
            found[one] = Counter(rows * (COMPONENT_LIMIT + (offset if component == 0 else 0.0)))
        for signal in signals:
            for b in range(BINS):
                share = own[b] if signal == signals[0] else 1 / BINS
                found[key(names.SIGNAL_BINS, **within, signal=signal, bin=f"{b:02}")] = Counter(rows * share)
    return found
