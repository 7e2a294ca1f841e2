"""The server's health as one document for a page: the numbers of `/metrics`, summed up, with the verdicts beside them.

A promise to nobody but the page that is served with it: who wants numbers to rely on takes `/metrics`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, Metric

from latentserve import __version__
from latentserve.service.sampling.request import ARMS
from latentserve.service.watching.judge import Judge
from latentserve.service.watching.reference import BINS

_PREFIX = "latentserve_"
_STAGES = {
    "request": "request_duration_seconds",
    "queue": "queue_duration_seconds",
    "inference": "inference_duration_seconds",
    "encode": "encode_duration_seconds",
}

Labels = Mapping[str, str]
Found = Mapping[str, Sequence[tuple[Labels, float]]]


def overview(registry: CollectorRegistry, judges: Mapping[tuple[str, str], Judge]) -> bytes:
    """The document, JSON; `judges` by model and version."""
    groups = _by_model(registry.collect())
    server = groups[("", "")]
    models = [_of_model(name, version, groups[name, version], judge) for (name, version), judge in judges.items()]
    return orjson.dumps(
        {
            "made": round(time.monotonic(), 3),  # to tell rates by: of no use to tell the time
            "version": __version__,
            "workers": {
                "count": _one(server, "workers"),
                "restarts": _one(server, "worker_restarts_total"),
                "connections": [value for _, value in server.get("worker_connections", ())],
                "cpu_seconds": _one(server, "process_cpu_seconds_total"),
                "resident_bytes": _one(server, "process_resident_memory_bytes"),
                "free_bytes": _one(server, "state_free_bytes"),
            },
            "inflight": _one(server, "inflight_requests") or 0,
            "rejected": _by(server, "rejected_total", "reason"),
            "models": models,
        }
    )


def _of_model(name: str, version: str, found: Found, judge: Judge) -> dict[str, Any]:
    return {
        "model": name,
        "version": version,
        "ready": _one(found, "model_ready"),
        "runtime": next((labels for labels, _ in found.get("runtime_info", ())), None),
        "verdict": judge.verdict(),
        "history": judge.history.told(),
        "log_threshold": judge.log_threshold,
        "samples": _by(found, "samples_total", "arm"),
        "monitored": _by(found, "monitored_samples_total", "arm"),
        "signals": _signals(found),
        "reference_samples": _one(found, "reference_samples"),
        "probes": {**_by(found, "probe_runs_total", "outcome"), "abs_error": _one(found, "probe_abs_error")},
        "labels": _labels(found),
        "conditions": _conditions(found),
        "not_finite": _one(found, "output_nonfinite_total"),
        "not_monitored": _one(found, "monitor_dropped_batches_total"),
        "watch_failures": sum(value for _, value in found.get("watch_failures_total", ())),
        "requests": _by(found, "requests_total", "code"),
        "queue": {"rows": _one(found, "queue_rows"), "limit": _one(found, "queue_limit_rows")},
        "batch_rows": _histogram(found, "batch_rows"),
        "seconds": {stage: _histogram(found, series) for stage, series in _STAGES.items()},
    }


def _by_model(families: Iterable[Metric]) -> defaultdict[tuple[str, str], Found]:
    """Series by model and version, ("", "") of what belongs to none; then by name, without our prefix."""
    groups: defaultdict[tuple[str, str], Any] = defaultdict(lambda: defaultdict(list))
    for family in families:
        for name, labels, value, *_ in family.samples:
            of = labels.get("model", ""), labels.get("version", "")
            groups[of][name.removeprefix(_PREFIX)].append((labels, value))
    return groups


def _one(found: Found, name: str) -> float | None:
    """The value of a series that there is one of; None where there is none."""
    return next((value for _, value in found.get(name, ())), None)


def _by(found: Found, name: str, label: str) -> dict[str, float]:
    """Sums by a label's value."""
    sums: defaultdict[str, float] = defaultdict(float)
    for labels, value in found.get(name, ()):
        sums[labels[label]] += value
    return sums


def _histogram(found: Found, name: str) -> dict[str, Any]:
    """Upper bounds (the last, infinity, is null), how many in each bucket, and the sum; of all routes together."""
    below: defaultdict[float, float] = defaultdict(float)
    for labels, value in found.get(f"{name}_bucket", ()):
        below[float(labels["le"])] += value
    bounds = sorted(below)
    upto = [below[bound] for bound in bounds]
    counts = [own - before for own, before in zip(upto, [0.0, *upto], strict=False)]
    total = sum(value for _, value in found.get(f"{name}_sum", ()))
    return {"bounds": bounds, "counts": counts, "sum": total}


def _signals(found: Found) -> list[dict[str, Any]]:
    """Rows by signal, arm and bin: without drift all bins of a signal are equal."""
    bins: defaultdict[str, dict[str, list[float]]] = defaultdict(lambda: {arm: [0.0] * BINS for arm in ARMS})
    for labels, value in found.get("output_signal_bin_total", ()):
        bins[labels["signal"]][labels["arm"]][int(labels["bin"])] = value
    return [{"name": name, "bins": by_arm} for name, by_arm in bins.items()]


def _labels(found: Found) -> list[dict[str, Any]]:
    """Rows by label; and of those looked at, by the label asked for and by the one that the small classifier gives
    (null: there is none)."""
    looked_at, given = _by(found, "looked_at_labels_total", "label"), _by(found, "output_labels_total", "label")
    return [
        {"name": name, "rows": rows, "looked_at": looked_at.get(name), "given": given.get(name)}
        for name, rows in _by(found, "labels_total", "label").items()
    ]


def _conditions(found: Found) -> list[dict[str, Any]]:
    """Rows by condition and by the bin of its prior that was asked for; `drawn`: of rows that did not name it."""
    by_name: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for labels, value in found.get("condition_rows_total", ()):
        by_name[labels["condition"]][labels["bin"]] = value
    return [
        {"name": name, "drawn": bins.pop("drawn", 0.0), "bins": [bins[key] for key in sorted(bins)]}
        for name, bins in by_name.items()
    ]
