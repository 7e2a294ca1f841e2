"""Each recipe that needs no data from elsewhere, made short: trained, exported, sampled."""

import sys
from pathlib import Path

import numpy as np
import pytest

from service.bundle import read_bundle
from service.cli import main
from training.data import load
from training.data.mixtures import MIXTURES


@pytest.mark.parametrize("recipe", list(MIXTURES))
def test_from_recipe_to_samples(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def latentserve(*words: object) -> None:
        monkeypatch.setattr(sys, "argv", ["latentserve", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        assert not left.value.code, capsys.readouterr().err

    short = [word for field in ("images=2560", "tick=1280", "snapshot=1280") for word in ("--set", field)]
    latentserve("train", recipe, *short, "--out", tmp_path / "run")
    assert (tmp_path / "run" / "reals.png").exists()
    assert (tmp_path / "run" / "samples-000002560.png").exists()
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
