"""The monitor: its counts are numpy's, what is not finite is counted and not binned, and failing it holds nobody up."""

from __future__ import annotations

import itertools
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from latentserve.service.bundle import Bundle, Inputs, read_bundle
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.request import ARMS, Part, RowsRequest, draw_inputs
from latentserve.service.sampling.sampler import BatchDone
from latentserve.service.sampling.served_graph import signal_columns
from latentserve.service.watching import monitor as monitor_module
from latentserve.service.watching.detectors import layout
from latentserve.service.watching.ledger import Ledger
from latentserve.service.watching.metrics import ModelMetrics
from latentserve.service.watching.monitor import Monitor, metric_series
from latentserve.service.watching.reference import Reference
from latentserve.service.watching.signals import sample_signals, signal_names
from tests import counted

_NUMBERS = itertools.count()


class Watched:
    """A monitor of a bundle, under a model name that no other test counts under."""

    def __init__(self, bundle: Bundle) -> None:
        self.name = f"monitored-{next(_NUMBERS)}"
        self.engine = Engine(bundle, "cpu")
        self.spec = bundle.manifest.sample
        names = signal_names(self.spec, has_critic=True)
        assert bundle.reference is not None
        self.reference = reference = Reference.from_bytes(bundle.reference, names)
        self.metrics = ModelMetrics(self.name, "v", metric_series(bundle, reference))
        self.folder = tempfile.TemporaryDirectory()
        self.ledger = Ledger(Path(self.folder.name), layout(bundle.manifest, reference))
        self.monitor = Monitor(self.engine, reference, self.metrics, self.ledger)

    def value(self, metric: str, **labels: str) -> float:
        found = counted.samples(metric, model=self.name, **labels)
        assert found, (metric, labels)
        return sum(sample.value for sample in found)

    def run(self, batches: list[BatchDone]) -> None:
        for batch in batches:
            self.monitor.offer(batch)
        self.monitor.start()
        self.monitor.stop()
        self.metrics.flush()


@pytest.fixture
def watched(bundle: Path) -> Watched:
    return Watched(read_bundle(bundle))


def made(watched: Watched, n: int = 200, seed: int = 1) -> list[BatchDone]:
    """Batches of 50 rows whose arms take turns, in pieces of one to four rows."""
    manifest = watched.engine.bundle.manifest
    batches = []
    for start in range(0, n, 50):
        wanted = watched.monitor.wanted()
        parts: list[Part] = []
        at = start
        while at < start + 50:
            rows = min(start + 50 - at, 1 + at % 4)
            parts.append((RowsRequest(n=n, seed=seed, arm=ARMS[len(parts) % len(ARMS)]), at, rows))
            at += rows
        inputs = draw_inputs(manifest, parts)
        outputs = dict(zip(wanted.outputs, watched.engine.run(inputs, wanted.outputs), strict=True))
        # A little time for the engine, so that looking has next to none after the first batch.
        batches.append(BatchDone(parts, inputs, outputs, 1e-3, wanted.chosen))
    return batches


def arms_of(batches: list[BatchDone]) -> NDArray[np.int64]:
    parts = [part for batch in batches for part in batch.parts]
    return np.repeat([ARMS.index(request.arm) for request, _, _ in parts], [rows for _, _, rows in parts])


def test_counts_and_sums_are_those_of_numpy(watched: Watched) -> None:
    batches = made(watched)
    watched.run(batches)
    samples = np.concatenate([watched.engine.generate(batch.inputs) for batch in batches])
    arms = arms_of(batches)
    for index, arm in enumerate(ARMS):
        rows = int((arms == index).sum())
        assert watched.value("samples_total", arm=arm) == watched.value("monitored_samples_total", arm=arm) == rows
        for name, values in sample_signals(samples, watched.spec).items():
            own = values[arms == index]
            assert watched.value("output_signal_bin_total", arm=arm, signal=name) == rows
            positive = watched.value("output_signal_sum_total", arm=arm, signal=name, sign="positive")
            negative = watched.value("output_signal_sum_total", arm=arm, signal=name, sign="negative")
            assert positive == pytest.approx(own[own > 0].sum(), rel=1e-5)
            assert negative == pytest.approx(-own[own < 0].sum(), rel=1e-5)
    assert watched.value("batch_rows_sum") == 200
    assert watched.value("inference_duration_seconds_sum") == pytest.approx(4e-3)
    assert watched.value("monitor_failures_total") == watched.value("monitor_dropped_batches_total") == 0


def test_the_critic_scores_whole_batches(watched: Watched) -> None:
    watched.run(made(watched))
    scored = watched.value("output_signal_bin_total", signal="critic_score")
    assert scored > 0
    assert scored % 50 == 0


def test_chosen_batches_are_looked_at_together(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = made(watched)
    looked: list[int] = []
    criticise = watched.engine.criticise
    monkeypatch.setattr(watched.engine, "criticise", lambda x, y: looked.append(len(x)) or criticise(x, y))
    watched.run(batches)
    assert looked == [200]
    assert watched.value("output_signal_bin_total", signal="critic_score") == 200


def test_a_model_that_is_hardly_busy_is_looked_at_all_the_same(watched: Watched) -> None:
    now = [0.0]
    watched.monitor = Monitor(watched.engine, watched.reference, watched.metrics, watched.ledger, clock=lambda: now[0])
    watched.run(made(watched))
    assert not any(watched.monitor.wanted().chosen for _ in range(100))  # its time is used up
    now[0] += 3600
    assert any(watched.monitor.wanted().chosen for _ in range(100))


def test_looking_that_fails_is_counted_and_used_up_its_time(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        time.sleep(0.01)
        raise RuntimeError("no critic today")

    batches = made(watched)
    monkeypatch.setattr(watched.engine, "criticise", fail)
    watched.run(batches)
    assert watched.value("monitor_failures_total") == 4
    assert watched.value("monitored_samples_total") == 200
    assert watched.value("output_signal_bin_total", signal="mean") == 200
    assert not watched.monitor.wanted().chosen


def test_looked_at_rows_are_counted_by_what_was_asked_for_and_what_came(watched: Watched) -> None:
    """But for rows that a client asks for again, and rows that are not finite."""
    batches = made(watched)
    assert all(batch.chosen for batch in batches)
    batches[1].made["sample"][7] = np.nan
    watched.run([*batches, batches[0]])
    again = batches[0].inputs.label[arms_of(batches[:1]) != ARMS.index("client")]  # type: ignore[index]
    samples = np.concatenate([batch.made["sample"] for batch in batches])
    asked = np.concatenate([batch.inputs.label for batch in batches if batch.inputs.label is not None])
    head, classifier = watched.reference.features, watched.reference.classifier
    assert head is not None
    assert classifier is not None
    _, of_critic = watched.engine.criticise(samples, Inputs(samples, asked))
    logits = head.standardised(head.space.mapper(watched.spec).features(samples, of_critic)) @ classifier.weights
    given = (logits + classifier.bias).argmax(axis=1)
    repeated = np.flatnonzero(arms_of(batches[:1]) != ARMS.index("client"))
    finite = np.arange(200) != 57
    for index, name in enumerate(watched.engine.bundle.manifest.labels or ()):
        expected = (asked[finite] == index).sum() + (again == index).sum()
        assert watched.value("looked_at_labels_total", label=name) == expected
        expected = (given[finite] == index).sum() + (given[repeated] == index).sum()
        assert watched.value("output_labels_total", label=name) == expected
    assert watched.value("monitor_failures_total") == 0


def test_the_bins_are_those_of_the_reference(watched: Watched) -> None:
    """Samples of the prior fill every bin alike; others do not."""
    watched.run(made(watched, 3000))
    counts = [watched.value("output_signal_bin_total", signal="mean", bin=f"{index:02}") for index in range(20)]
    assert sum(counts) == 3000
    assert min(counts) > 75
    assert max(counts) < 240


def test_what_is_not_finite_is_counted_and_not_binned(watched: Watched) -> None:
    batches = made(watched)
    columns = signal_columns(watched.spec)
    batches[1].made["signals"][3] = [np.nan if name != "nonfinite" else 64 for name in columns]
    batches[2].made["signals"][4] = [np.inf if name == "mean" else np.nan for name in columns[:-1]] + [2]
    watched.run(batches)
    assert watched.value("output_nonfinite_total") == 64 + 2
    assert watched.value("monitored_samples_total") == 200
    for name in ("mean", "std", "saturated_share"):
        assert watched.value("output_signal_bin_total", signal=name) == 198
        assert np.isfinite(watched.value("output_signal_sum_total", signal=name))
    assert watched.value("monitor_failures_total") == 0


def test_failing_it_goes_on(watched: Watched) -> None:
    batches = made(watched)
    broken = replace(batches[1], parts=batches[1].parts[:3])  # arms for some of its rows
    watched.monitor.start()
    watched.monitor.offer(broken)
    deadline = time.monotonic() + 20
    while watched.value("monitor_failures_total") == 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for batch in batches:
        watched.monitor.offer(batch)
    watched.monitor.stop()
    assert watched.value("monitor_failures_total") == 1
    assert watched.value("monitored_samples_total") == 200


def test_behind_it_gives_up_whole_batches_and_says_so(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = made(watched, 50)[0]
    monkeypatch.setattr(
        monitor_module,
        "_BACKLOG_BYTES",
        20 * (batch.inputs.z.nbytes + sum(made.nbytes for made in batch.made.values())),
    )
    watched.run([batch] * 31)
    assert watched.value("monitor_dropped_batches_total") == 10
    rows = np.bincount(arms_of([batch]))
    assert watched.value("monitored_samples_total", arm="server") == rows[0] * 21
    assert watched.value("monitored_samples_total", arm="client") == rows[1]  # the same ones again are no news
    # They were made all the same.
    assert watched.value("samples_total") == 50 * 31


def test_an_unconditional_model_without_a_critic(plain_bundle: Path, tmp_path: Path) -> None:
    read = read_bundle(plain_bundle)
    engine = Engine(read, "cpu")
    names = signal_names(read.manifest.sample, has_critic=False)
    assert read.reference is not None
    reference = Reference.from_bytes(read.reference, names)
    metrics: Any = ModelMetrics(f"monitored-{next(_NUMBERS)}", "v", metric_series(read, reference))
    monitor = Monitor(engine, reference, metrics, Ledger(tmp_path, layout(read.manifest, reference)))
    request = RowsRequest(n=30, seed=1, arm="server")
    inputs = request.inputs(read.manifest, 0, 30)
    wanted = monitor.wanted()
    outputs = dict(zip(wanted.outputs, engine.run(inputs, wanted.outputs), strict=True))
    monitor.start()
    monitor.offer(BatchDone([(request, 0, 30)], inputs, outputs, 1e-3, wanted.chosen))
    monitor.stop()
    assert metrics.monitor_failures._value.get() == 0
    assert metrics._monitored[0]._value.get() == 30
    assert not metrics._looked_at
