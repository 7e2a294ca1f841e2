"""Golden probes: one a label, measured at every batch size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

from latentserve.service.bundle import Condition, Golden, Latent, read_bundle
from latentserve.service.errors import BundleError
from latentserve.service.packing.probes import golden_inputs
from tests.conftest import make_bundle
from tests.generators import dense_critic

CPU = "CPUExecutionProvider"


def test_one_probe_a_label_as_far_as_there_is_room() -> None:
    latent = Latent(dim=3)
    assert len(golden_inputs(latent, None, None, [4])[0]) == 16
    for labels, shape, probes in ((10, [4], 16), (300, [3, 8, 8], 300), (5000, [4], 1024), (500, [3, 512, 512], 16)):
        z, label, _ = golden_inputs(latent, labels, None, shape)
        assert label is not None
        assert len(z) == len(label) == probes
        assert np.array_equal(label, np.arange(probes) % labels)
        # Without a shape they are the first of the same.
        assert np.array_equal(golden_inputs(latent, labels)[0], z[:16])


CONDITIONS = [
    Condition(name="energy", unit="GeV", range=(1, 100), prior="log-uniform"),
    Condition(name="angle", range=(-45, 45)),
    Condition(name="count", range=(1, 3), prior="quantiles", quantiles=[1, 1, 2, 3]),
]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_conditions_are_at_the_ends_in_the_middle_and_between(count: int) -> None:
    conditions = CONDITIONS[:count]
    _, label, found = golden_inputs(Latent(dim=3), 3, conditions, [4])
    assert label is not None
    assert found is not None
    assert found.shape == (16, count)
    assert found.dtype == np.float32
    low, high = np.array([one.range for one in conditions], np.float32).T
    assert np.array_equal(found[:2], [low, high])
    if count > 1:
        assert [found[2, 0], found[2, 1]] == [low[0], high[1]]
        assert [found[3, 0], found[3, 1]] == [high[0], low[1]]
    middle = found[4 if count > 1 else 2]
    assert middle == pytest.approx([10, 0, 1.5][:count])
    # Between: each tenth of a prior's mass has some, and no two conditions go up and down together.
    between = found[5 if count > 1 else 3 :]
    assert len(np.unique(np.floor(np.log10(between[:, 0]) / 2 * 10))) >= 9
    if count > 1:
        assert abs(np.corrcoef(np.log(between[:, 0]), between[:, 1])[0, 1]) < 0.9
    assert ((low <= found) & (found <= high)).all()


def test_conditions_of_many_labels_and_of_large_samples() -> None:
    latent = Latent(dim=3)
    _, _, first = golden_inputs(latent, 3, CONDITIONS)
    _, label, found = golden_inputs(latent, 300, CONDITIONS, [3, 8, 8])
    assert first is not None
    assert found is not None
    assert label is not None
    assert found.shape == (300, 3)
    assert np.array_equal(first, found[:16])  # without a shape they are the first of the same
    for block in range(1, 18):
        energies = np.sort(np.log10(found[16 * block : 16 * (block + 1), 0]) / 2)
        assert energies == pytest.approx((np.arange(16) + 0.5) / 16, abs=1e-6)
    _, _, few = golden_inputs(latent, None, CONDITIONS, [3, 2048, 2048])
    assert few is not None
    assert len(few) < 16
    assert np.array_equal(few, first[: len(few)])


def test_what_was_recorded_and_how_far_off_is_right(bundle: Path) -> None:
    golden = read_bundle(bundle).golden
    assert golden.tolerance == max(4 * golden.measured, 5e-5 * 2)
    assert golden.score is not None
    assert golden.features is not None
    assert golden.features.shape == (16, 16)
    tolerances = golden.critic_tolerances
    assert tolerances == pytest.approx((1e-3 * np.ptp(golden.score), 1e-3 * np.ptp(golden.features)))
    again = Golden.from_bytes(golden.to_bytes())
    assert again.critic_tolerances == tolerances
    assert np.array_equal(again.features, golden.features)


def test_a_critic_whose_scores_depend_on_their_batch(tmp_path: Path) -> None:
    critic = dense_critic()
    (mean,) = (node for node in critic.graph.node if node.op_type == "ReduceMean")
    mean.output[0] = "own"
    critic.graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "batch_axis"))
    critic.graph.node.extend(
        [
            helper.make_node("ReduceMean", ["own", "batch_axis"], ["others"], keepdims=1),
            helper.make_node("Sub", ["own", "others"], ["score"]),
        ]
    )
    with pytest.raises(
        BundleError, match=r"critic\.onnx: its scores are off by up to .* must not depend on their batch"
    ):
        make_bundle(tmp_path / "b", critic=critic.SerializeToString())


def test_samples_that_are_others_than_the_originals_are_told_so(tmp_path: Path) -> None:
    shape = (16, 1, 8, 8)
    with pytest.raises(BundleError, match=rf"generator.onnx: {CPU} gives other samples than the original, off by"):
        make_bundle(tmp_path / "b", golden_sample=np.full(shape, 5, np.float32))
