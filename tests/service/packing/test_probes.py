"""Golden probes: one a label, measured at every batch size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latentserve.service.bundle import Golden, Latent, read_bundle
from latentserve.service.errors import BundleError
from latentserve.service.packing.probes import golden_inputs
from tests.conftest import make_bundle

CPU = "CPUExecutionProvider"


def test_one_probe_a_label_as_far_as_there_is_room() -> None:
    latent = Latent(dim=3)
    assert len(golden_inputs(latent, None, [4])[0]) == 16
    for labels, shape, probes in ((10, [4], 16), (300, [3, 8, 8], 300), (5000, [4], 1024), (500, [3, 512, 512], 16)):
        z, label = golden_inputs(latent, labels, shape)
        assert label is not None
        assert len(z) == len(label) == probes
        assert np.array_equal(label, np.arange(probes) % labels)
        # Without a shape they are the first of the same.
        assert np.array_equal(golden_inputs(latent, labels)[0], z[:16])


def test_every_batch_size_is_measured(bundle: Path) -> None:
    golden = read_bundle(bundle).golden
    assert {(row.provider, row.precision) for row in golden.table} == {(CPU, "fp32")}
    assert {1, 2, 64} <= {row.batch for row in golden.table}
    assert max(row.difference for row in golden.table) == golden.measured
    assert golden.floor == pytest.approx(5e-5 * 2)
    assert Golden.from_bytes(golden.to_bytes()).table == golden.table


def test_samples_that_are_others_than_the_originals_are_told_so(tmp_path: Path) -> None:
    shape = (16, 1, 8, 8)
    with pytest.raises(BundleError, match=rf"generator.onnx: {CPU} gives other samples than the original, off by"):
        make_bundle(tmp_path / "b", golden_sample=np.full(shape, 5, np.float32))
