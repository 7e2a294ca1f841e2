"""Each recipe, made short: trained, exported, sampled."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from latentserve.service.bundle import read_bundle
from latentserve.service.cli import main
from latentserve.training.data import load
from latentserve.training.data.synthetic import MIXTURES
from tests.digits import write_idx

Latentserve = Callable[..., None]


@pytest.fixture
def latentserve(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Latentserve:
    """Run the command line in this process; it must succeed."""

    def run(*words: object) -> None:
        monkeypatch.setattr(sys, "argv", ["latentserve", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        assert not left.value.code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("recipe", "exported"), [("ring", True), ("grid", False), pytest.param("grid", True, marks=pytest.mark.full)]
)
def test_from_recipe_to_samples(latentserve: Latentserve, recipe: str, exported: bool, tmp_path: Path) -> None:
    """They differ in their means and in the figures of training; one of them is exported in the short form."""
    short = [word for field in ("images=2560", "tick=1280", "snapshot=2560") for word in ("--set", field)]
    latentserve("train", recipe, *short, "--out", tmp_path / "run")
    assert (tmp_path / "run" / "reals.png").exists()
    assert (tmp_path / "run" / "samples-000002560.png").exists()
    if not exported:
        return
    latentserve("export", tmp_path / "run", "--reference-samples", 600, "--out", tmp_path / "bundle")
    manifest = read_bundle(tmp_path / "bundle").manifest
    assert (manifest.name, manifest.sample.kind, manifest.sample.shape) == (recipe, "array", [2])
    assert manifest.lineage.dataset == recipe
    assert manifest.lineage.dataset_sha256 == load(recipe, None).description.sha256
    latentserve("sample", tmp_path / "bundle", "-n", 1000, "--seed", 1, "--out", tmp_path / "points.npy")
    points = np.load(tmp_path / "points.npy")
    assert points.shape == (1000, 2)
    assert np.abs(points).max() < 3 * np.abs(MIXTURES[recipe].means).max()
    assert len(np.unique(points, axis=0)) > 900


def test_stacked_mnist_from_recipe_to_samples(latentserve: Latentserve, tmp_path: Path) -> None:
    data = write_idx(tmp_path / "mnist")
    short = [word for field in ("images=128", "tick=128", "snapshot=128", "width=8") for word in ("--set", field)]
    latentserve("train", "stacked-mnist", "--data", data, *short, "--out", tmp_path / "run")
    latentserve("export", tmp_path / "run", "--reference-samples", 600, "--out", tmp_path / "bundle")
    manifest = read_bundle(tmp_path / "bundle").manifest
    assert (manifest.name, manifest.sample.shape, manifest.labels) == ("stacked-mnist", [3, 28, 28], None)
    assert manifest.onnx.critic is not None
    assert manifest.lineage.dataset_sha256 == load("stacked-mnist", data).description.sha256
    latentserve("sample", tmp_path / "bundle", "-n", 20, "--seed", 1, "--out", tmp_path / "pictures.npy")
    pictures = np.load(tmp_path / "pictures.npy")
    assert pictures.shape == (20, 3, 28, 28)
    assert np.abs(pictures).max() <= 1
