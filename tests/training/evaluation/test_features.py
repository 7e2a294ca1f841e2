from pathlib import Path

import numpy as np
import pytest

from latentserve.training.data import Dataset
from latentserve.training.errors import FeaturesError
from latentserve.training.evaluation.classifier import Classifier
from latentserve.training.evaluation.features import RandomNetwork, feature_spaces, file_features
from latentserve.training.evaluation.views import view_of


def test_a_classifier_learns_the_digits_and_is_the_same_twice(digits: Dataset) -> None:
    held = digits.subset(np.arange(600, 898))
    learnt = [Classifier(digits.samples[:600], digits.labels[:600], 10, seed=0) for _ in range(2)]
    assert (learnt[0].predict(held.samples) == held.labels).mean() > 0.9
    assert learnt[0].sha256 == learnt[1].sha256
    assert learnt[0].features(held.samples).shape == (298, 64)


@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 8, 8), (1, 28, 28), (3, 50, 64), (30,)])
def test_random_features_of_any_shape_are_fixed(shape: tuple[int, ...]) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (4, *shape)).astype(np.float32)
    features = RandomNetwork(shape).features(samples)
    assert features.shape == (4, 64)
    assert features[:2] == pytest.approx(RandomNetwork(shape).features(samples[:2]), abs=1e-5)
    assert Classifier(samples, np.arange(4) % 2, 2, 0).features(samples).shape == (4, 64)


def test_a_bundles_critic_gives_features(run_bundle: Path, digits: Dataset) -> None:
    view = view_of(digits)
    *_, space = feature_spaces(view, view, digits, None, None, [run_bundle / "critic.onnx"])
    assert space.name == "critic"
    assert space.identity["output"] == "features"
    features = space.of(digits.take(slice(0, 100)), digits.labels[:100], None)
    assert features.shape == (100, space.identity["width"])
    assert np.isfinite(features).all()


def test_files_that_give_no_features_are_named(run_bundle: Path, digits: Dataset, tmp_path: Path) -> None:
    (tmp_path / "thesis.onnx").write_text("precious")
    for path, complaint in (
        (tmp_path / "absent.onnx", "cannot be read: No such file"),
        (tmp_path / "thesis.onnx", "no ONNX file that runs"),
        (run_bundle / "generator.onnx", "needs one input of samples|does not take these samples"),
    ):
        with pytest.raises(FeaturesError, match=complaint) as error:
            file_features(path, digits)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)
