"""The reference of a bundle: by label where there is enough of each, and flat for fresh samples of the generator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from latentserve.service.bundle import Latent, SampleSpec, read_bundle
from latentserve.service.packing import reference as making
from latentserve.service.packing.reference import make_reference
from latentserve.service.packing.rows import Drawer, Rows
from latentserve.service.watching.distribution import BINS
from latentserve.service.watching.reference import Reference
from latentserve.service.watching.signals import LABEL_MARGIN
from tests.conftest import make_bundle
from tests.generators import dense_critic, dense_generator
from tests.windows import chi_square, effective_reference, t_squared


@pytest.fixture
def small_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "CELL_SAMPLES", 800)


def fresh(bundle: Path, n: int, reference: Reference, **asked: Any) -> tuple[Rows, np.ndarray]:
    """Rows that the reference has not seen, with their cells."""
    rows = Drawer(read_bundle(bundle)).draw(n, 1 << 45, 60, **asked)
    return rows, reference.cells_of(rows.labels, n, asked.get("truncation", 1.0))


def assert_flat(reference: Reference, rows: Rows, cells: np.ndarray) -> None:
    """No statistic of these rows is beyond what chance gives at 1e-5."""
    signals = dict(rows.signals)
    head = reference.features
    assert head is not None
    if reference.classifier is not None and LABEL_MARGIN in reference.signals:
        assert rows.labels is not None
        signals[LABEL_MARGIN] = reference.classifier.margin(head.standardised(rows.features), rows.labels)
    assert set(signals) == set(reference.signals)
    known = effective_reference(
        np.bincount(cells, minlength=len(reference.cells)), np.array([cell.samples for cell in reference.cells])
    )
    for name, bins in reference.bins(signals, cells, np.random.default_rng(0)).items():
        counts = np.bincount(bins, minlength=BINS)
        assert chi_square(counts, known) < stats.chi2(BINS - 1).ppf(1 - 1e-5), name
    components = head.components(rows.features, cells)
    assert t_squared(components.sum(axis=0), np.array(len(rows)), known) < stats.chi2(head.size).ppf(1 - 1e-5)
    joint = reference.joint
    assert joint is not None
    sums = joint.vectors(components, cells, np.random.default_rng(0)).sum(axis=0)
    assert t_squared(sums[: head.size], np.array(len(rows)), known) < stats.chi2(head.size).ppf(1 - 1e-5)
    assert chi_square(sums[head.size : head.size + BINS], known) < stats.chi2(BINS - 1).ppf(1 - 1e-5)
    in_clusters = len(rows) if len(joint.centroids) and cells.max() == 0 else 0
    assert sums[head.size + BINS :].sum() == in_clusters


@pytest.mark.usefixtures("small_cells")
def test_labels_have_cells_of_their_own_and_no_mix_of_them_is_a_drift(bundle: Path) -> None:
    reference = make_reference(read_bundle(bundle), 8000)
    assert not reference.pooled
    assert reference.joint is not None
    assert not len(reference.joint.centroids)  # the mix of labels would move them
    assert [cell.label for cell in reference.cells] == [*range(10), None, None, None]
    assert [cell.truncation for cell in reference.cells[10:]] == [0.9, 0.7, 0.5]
    assert {cell.samples for cell in reference.cells} == {800}
    assert reference.samples == 8000
    assert reference.classifier is not None
    assert LABEL_MARGIN in reference.signals
    for labels in (None, 2):
        assert_flat(reference, *fresh(bundle, 3000, reference, labels=labels))
    for truncation in (0.9, 0.5):
        assert_flat(reference, *fresh(bundle, 2000, reference, truncation=truncation))


def test_labels_with_too_few_samples_are_pooled_and_the_card_says_so(bundle: Path) -> None:
    read = read_bundle(bundle)
    assert read.reference is not None
    reference = Reference.from_bytes(read.reference, [])
    assert reference.pooled
    assert reference.joint is not None
    assert len(reference.joint.centroids)
    assert [cell.label for cell in reference.cells] == [None] * 4
    assert_flat(reference, *fresh(bundle, 2000, reference))
    monitor = read.manifest.monitor
    assert monitor is not None
    assert (monitor.cells, monitor.pooled, monitor.truncations) == (4, True, [1.0, 0.9, 0.7, 0.5])
    assert (monitor.features, monitor.components) == ("critic", 16)
    assert monitor.signals == list(reference.signals)
    card = (bundle / "MODEL_CARD.md").read_text()
    assert "labels pooled" in card
    assert "held-out samples" in card


def test_an_unconditional_generator_without_a_critic(plain_bundle: Path) -> None:
    read = read_bundle(plain_bundle)
    assert read.reference is not None
    reference = Reference.from_bytes(read.reference, ["mean", "std"])
    assert not reference.pooled
    assert reference.classifier is None
    assert reference.features is not None
    assert reference.features.space.source == "random"
    assert list(reference.signals) == ["mean", "std"]
    assert_flat(reference, *fresh(plain_bundle, 2000, reference))


@pytest.mark.usefixtures("small_cells")
def test_out_of_time_it_is_smaller_pooled_and_in_the_priors_mix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is slower than it seemed at first."""
    prior = [0.3, 0.1, *[0.075] * 8]
    bundle = read_bundle(make_bundle(tmp_path / "b", label_prior=prior, reference_samples=10))
    draw = Drawer.draw

    def slow(self: Drawer, n: int, offset: int, seconds: float, *rest: Any, **asked: Any) -> Rows:
        return draw(self, min(n, 3000) if offset == 0 else n, offset, seconds, *rest, **asked)

    monkeypatch.setattr(Drawer, "draw", slow)
    reference = make_reference(bundle, 8000)
    assert reference.pooled
    assert reference.samples == 1000  # 300 of 3,000 rows are of the first label, 30 % of the prior
    assert reference.cells[0].samples == 1000


def test_a_generator_too_slow_for_the_time_gets_one_batch(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "_SECONDS", 0.0)
    reference = make_reference(read_bundle(bundle))
    assert reference.samples == 256
    assert [cell.truncation for cell in reference.cells] == [1.0]
    assert Reference.from_bytes(reference.to_bytes(), list(reference.signals)).samples == 256


def test_a_critic_that_speaks_of_the_label_gives_no_features(tmp_path: Path) -> None:
    critic = dense_critic()
    for node in critic.graph.node:
        if node.op_type == "Flatten":
            node.output[0] = "unlabelled"
    from onnx import TensorProto, helper

    critic.graph.node.insert(1, helper.make_node("Cast", ["label"], ["number"], to=TensorProto.FLOAT))
    critic.graph.node.insert(2, helper.make_node("Unsqueeze", ["number", "axis"], ["column"]))
    critic.graph.node.insert(3, helper.make_node("Add", ["unlabelled", "column"], ["flat"]))
    read = read_bundle(make_bundle(tmp_path / "b", critic=critic.SerializeToString()))
    assert read.manifest.monitor is not None
    assert read.manifest.monitor.features == "random"
    assert "critic_score" in read.manifest.monitor.signals


def test_real_samples_are_kept_as_features_and_measured(tmp_path: Path, bundle: Path) -> None:
    rows = Drawer(read_bundle(bundle))
    own = np.concatenate([rows.samples(250, 1 << 46), rows.samples(250, 1 << 47)])
    near = make_reference(read_bundle(bundle), 2000, (own, 900)).real
    far = make_reference(read_bundle(bundle), 2000, (np.clip(own + 0.3, -1, 1), 500)).real
    assert near is not None
    assert far is not None
    assert near.samples == 900
    assert near.features.shape == (500, 16)
    assert near.distance.low < 0 < near.distance.high
    assert far.distance.low > near.distance.high


def test_a_table_has_a_signal_a_column(tmp_path: Path) -> None:
    names = [f"field {index}" for index in range(18)]
    path = make_bundle(
        tmp_path / "b",
        generator=dense_generator(shape=(18,), labels=None).SerializeToString(),
        critic=None,
        labels=None,
        latent=Latent(dim=8),
        sample=SampleSpec(kind="table", shape=[18], columns=names),
    )
    read = read_bundle(path)
    assert read.manifest.monitor is not None
    assert read.manifest.monitor.signals == [f"column:field {index}" for index in range(15)]
    assert "the last 3 columns are left out" in (path / "MODEL_CARD.md").read_text()
    assert read.reference is not None
    reference = Reference.from_bytes(read.reference, read.manifest.monitor.signals)
    assert_flat(reference, *fresh(path, 2000, reference))
