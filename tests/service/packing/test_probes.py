"""Golden probes: one a label, measured at every batch size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

from latentserve.service.bundle import Golden, Latent, read_bundle
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
