"""How many series a model has at the most."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from latentserve.service.watching import monitor
from latentserve.service.watching.detectors import DETECTORS
from latentserve.service.watching.metrics import MetricSeries, ModelMetrics
from latentserve.service.watching.signals import CRITIC_SCORE, LABEL_MARGIN, MOST_COLUMNS

MOST = 1500
OF_NO_MODEL = 28  # what belongs to the server, with room for refusals by route and code


@pytest.mark.parametrize(
    ("kind", "signals", "labels"),
    [
        ("image", ["mean", "std", "saturated_share", "high_frequency"], monitor._MOST_LABELS),
        ("table", [f"column:c{index}" for index in range(MOST_COLUMNS)], monitor._MOST_LABELS_OF_A_TABLE),
    ],
)
def test_the_largest_model_stays_within_the_bound(kind: str, signals: list[str], labels: int) -> None:
    names = [f"label {index}" for index in range(labels)]
    all_signals = [*signals, CRITIC_SCORE, LABEL_MARGIN]
    watched = MetricSeries(
        signals=all_signals,
        binned=all_signals,
        probes=max(16, labels),
        components=32,
        labels=names,
        classified=names,
        detectors=DETECTORS,
    )
    metrics = ModelMetrics(f"largest {kind}", "v", watched)
    metrics.describe(
        provider="CUDAExecutionProvider", precision="fp16", device="GPU", runtime_version="1", queue_limit_rows=1
    )
    metrics.describe_reference(100_000, 1.7e9, 0.01)
    series = [
        sample
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.labels.get("model") == f"largest {kind}" and not sample.name.endswith("_created")
    ]
    assert len(series) <= MOST - OF_NO_MODEL
