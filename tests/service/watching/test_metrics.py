"""How many series a model has at the most."""

from __future__ import annotations

import numpy as np
import pytest
from prometheus_client import REGISTRY

from latentserve.service.watching import monitor
from latentserve.service.watching.detectors import DETECTORS
from latentserve.service.watching.metrics import DRAWN, MetricSeries, ModelMetrics
from latentserve.service.watching.signals import CRITIC_SCORE, LABEL_MARGIN, MOST_COLUMNS

MOST = 1500
OF_NO_MODEL = 80  # what belongs to the server, with room for answers by route and code


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
    watched = monitor.fitting(
        MetricSeries(
            signals=all_signals,
            binned=all_signals,
            probes=max(16, labels),
            components=32,
            labels=names,
            classified=names,
            detectors=DETECTORS,
        )
    )
    assert len(watched.signals) >= len(all_signals) - 1
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
    # What a monitor makes room for conditions by.
    assert len(series) - watched.count <= MOST - OF_NO_MODEL - monitor.MOST_SERIES


def test_what_is_not_shown_is_counted_all_the_same() -> None:
    """A table's last column, for whose series there is no room."""
    metrics = ModelMetrics("without a column", "v", MetricSeries(signals=["column:a"], binned=["column:a"]))
    bins, sums = ({name: np.ones((3, size)) for name in ("column:a", "column:b")} for size in (20, 2))
    metrics.count_signals(bins, sums)
    found = [
        sample
        for family in REGISTRY.collect()
        for sample in family.samples
        if "signal" in sample.labels and sample.labels["model"] == "without a column" and sample.value == 1
    ]
    assert len(found) == 3 * 20 + 3 * 2
    assert {sample.labels["signal"] for sample in found} == {"column:a"}


def test_conditions_are_counted_as_the_series_that_they_are() -> None:
    watched = MetricSeries(detectors=DETECTORS, conditions={"energy": 10, "count": 3})
    assert watched.count == len(DETECTORS) + 11 + 4
    metrics = ModelMetrics("of conditions", "v", watched)
    metrics.count_conditions(np.array([[1] * 10, [2, 0, 3, *[0] * 7]]), 20)
    found = {
        (sample.labels["condition"], sample.labels["bin"]): sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == "latentserve_condition_rows_total" and sample.labels["model"] == "of conditions"
    }
    assert len(found) == 15
    assert found["energy", "03"] == 1
    assert found["energy", DRAWN] == 10
    assert (found["count", "00"], found["count", "02"], found["count", DRAWN]) == (2, 3, 15)
