"""The names of metrics, from the metrics themselves: none is typed twice."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram, Metric

from latentserve.service.watching import metrics as serving
from latentserve.training.reporting import metrics as training

JOB = "latentserve"  # of the scrapes of servers: a replica that another job scrapes too is counted once
TRAINING_JOB = "training"
GPU_JOB = "gpus"


def series(metric: Counter | Gauge | Histogram | Metric) -> str:
    """What the series are called; of a histogram the stem, before _bucket, _count and _sum."""
    family = metric if isinstance(metric, Metric) else next(iter(metric.describe()))
    return f"{family.name}_total" if family.type == "counter" else str(family.name)


REQUESTS = series(serving.REQUESTS)
REQUEST_SECONDS = series(serving.REQUEST_SECONDS)
BATCH_ROWS = series(serving.BATCH_ROWS)
QUEUE_ROWS = series(serving.QUEUE_ROWS)
QUEUE_LIMIT = series(serving.QUEUE_LIMIT)
REJECTED = series(serving.REJECTED)
UNAUDITED = series(serving.UNAUDITED)
SAMPLES = series(serving.SAMPLES)
READY = series(serving.READY)
PROBE_RUNS = series(serving.PROBE_RUNS)
MONITORED = series(serving.MONITORED)
MONITOR_DROPPED = series(serving.MONITOR_DROPPED)
MONITOR_FAILURES = series(serving.MONITOR_FAILURES)
SIGNAL_BINS = series(serving.SIGNAL_BINS)
NONFINITE = series(serving.NONFINITE)
FEATURE_SUM = series(serving.FEATURE_SUM)
FEATURE_ROWS = series(serving.FEATURE_ROWS)
INPUT_BINS = series(serving.INPUT_BINS)
LOOKED_AT_LABELS = series(serving.LOOKED_AT_LABELS)
OUTPUT_LABELS = series(serving.OUTPUT_LABELS)
REFERENCE_SAMPLES = series(serving.REFERENCE_SAMPLES)
REFERENCE_CREATED = series(serving.REFERENCE_CREATED)
REFERENCE_TOLERANCE = series(serving.REFERENCE_TOLERANCE)
THRESHOLD = series(serving.THRESHOLD)
CAUSE = series(serving.CAUSE)
JUDGED = series(serving.JUDGED)
WATCH_FAILURES = series(serving.WATCH_FAILURES)
WORKER_RESTARTS = series(serving.WORKER_RESTARTS)

TRAINING_IMAGES = series(training.IMAGES)
TRAINING_PLANNED = series(training.IMAGES_PLANNED)
TRAINING_LAST_STEP = series(training.LAST_STEP)
TRAINING_NONFINITE = series(training.NONFINITE_STEPS)
