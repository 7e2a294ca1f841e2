from pathlib import Path

import numpy as np
import pytest

from latentserve.service.bundle import Latent, SampleSpec
from latentserve.training.errors import RunError
from latentserve.training.evaluation.subject import open_subject
from tests.conftest import make_bundle
from tests.generators import dense_generator


def test_a_run_and_its_bundle_make_the_same_samples(run: Path, run_bundle: Path) -> None:
    torch_samples, torch_labels = open_subject(run).draw(100, seed=4)
    onnx_samples, onnx_labels = open_subject(run_bundle).draw(100, seed=4)
    assert torch_samples.shape == (100, 1, 8, 8)
    assert np.array_equal(torch_labels, onnx_labels)
    assert np.abs(torch_samples - onnx_samples).max() < 1e-5
    assert open_subject(run).dataset_sha256 == open_subject(run_bundle).dataset_sha256


def test_images_of_any_range_are_brought_to_one(tmp_path: Path) -> None:
    spec = SampleSpec(kind="image", shape=[1, 8, 8], value_range=(0, 255), channels="L")
    path = make_bundle(tmp_path / "bytes", sample=spec, reference_samples=200)
    given = open_subject(make_bundle(tmp_path / "unit", reference_samples=200)).draw(10, 0)[0]
    scaled = open_subject(path).draw(10, 0)[0]
    assert scaled == pytest.approx(given / 127.5 - 1, abs=1e-5)


def test_without_labels_and_of_a_uniform_prior(tmp_path: Path) -> None:
    path = make_bundle(
        tmp_path / "plain",
        generator=dense_generator(dim=5, shape=(6,), labels=None).SerializeToString(),
        critic=None,
        latent=Latent(dim=5, prior="uniform"),
        labels=None,
        sample=SampleSpec(kind="array", shape=[6]),
        reference_samples=200,
    )
    samples, labels = open_subject(path).draw(7, 0)
    assert samples.shape == (7, 6)
    assert labels is None


def test_what_is_neither_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"neither a run \(no config.yaml\) nor a bundle \(no manifest.json\)"):
        open_subject(tmp_path)
    (tmp_path / "config.yaml").write_text("recipe: x")
    with pytest.raises(RunError, match="not a run with a checkpoint"):
        open_subject(tmp_path)
