"""From numbers beside samples to a server that is asked for them: trained, exported, evaluated, served."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentserve.service.bundle import read_bundle
from latentserve.service.cli import main
from latentserve.training.data import load
from latentserve.training.evaluation.subject import open_subject
from tests.server import Server
from tests.training.data.test_blobs import measured

Latentserve = Callable[..., str]


@pytest.fixture
def latentserve(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Latentserve:
    """Run the command line in this process; it must succeed."""

    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["latentserve", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        assert not left.value.code, said.err
        return said.out + said.err

    return run


def shown(server: Server, **asked: object) -> list[np.ndarray]:
    """The x and the radius that samples show, each [n]."""
    answer = server.samples(accept="application/x-npy", **asked)
    assert answer.status_code == 200, answer.text
    return list(measured(np.load(io.BytesIO(answer.content))))


def test_from_a_recipe_to_a_server(
    latentserve: Latentserve, start_server: Callable[..., Server], tmp_path: Path
) -> None:
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    short = [word for field in ("images=40000", "tick=20000", "snapshot=40000") for word in ("--set", field)]
    latentserve("train", "blobs", *short, "--out", run)
    latentserve("export", run, "--reference-samples", 2000, "--out", bundle)
    x, radius = read_bundle(bundle).manifest.conditions or []
    assert (x.name, x.unit, x.prior, radius.name) == ("x", "px", "quantiles", "radius")
    assert x.quantiles is not None
    assert x.range == (x.quantiles[0], x.quantiles[-1])

    subjects = [open_subject(path) for path in (run, bundle)]
    inputs = [subject.inputs(100, 5) for subject in subjects]
    assert np.array_equal(inputs[0].condition, inputs[1].condition)
    made = [subject.make(each) for subject, each in zip(subjects, inputs, strict=True)]
    np.testing.assert_allclose(*made, atol=1e-4)

    server = start_server(bundle)
    rng = np.random.default_rng(0)
    asked = {"x": rng.uniform(4.1, 11.9, 300), "radius": rng.uniform(1.6, 3.9, 300)}
    rows = [{name: float(values[at]) for name, values in asked.items()} for at in range(300)]
    for seen, values in zip(shown(server, seed=1, conditions=rows), asked.values(), strict=True):
        assert np.corrcoef(seen, values)[0, 1] > 0.8
    left, right = (shown(server, seed=1, n=100, condition={"x": at})[0].mean() for at in (5, 11))
    assert right - left > 3

    critic = ("--features", bundle / "critic.onnx")  # which takes a condition, too
    latentserve("evaluate", bundle, "--data", "blobs", "--samples", 300, *critic, "--out", tmp_path / "report")
    told = json.loads((tmp_path / "report" / "report.json").read_text())
    assert set(told["features"]) == {"random", "critic"}
    assert all(row["correlation"] > 0.8 for row in told["conditions"])
    assert told["warnings"] == []


@pytest.mark.full
def test_pictures_in_files_with_labels(
    latentserve: Latentserve, start_server: Callable[..., Server], tmp_path: Path
) -> None:
    """The recipe as it is, on the same pictures in class folders, by whether their disc lies high or low."""
    for split in ("train", "test"):
        blobs = load("blobs", None, split)  # type: ignore[arg-type]
        lines = ["file,radius [px],x [px]"]
        for at, (image, (x, radius)) in enumerate(zip(blobs.samples, blobs.conditions.values, strict=True)):
            height = (image[0].sum(axis=1) * np.arange(16)).sum() / image.sum()
            name = f"{'high' if height < 7.5 else 'low'}/{at}.png"
            (tmp_path / "data" / split / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0]).save(tmp_path / "data" / split / name)
            lines.append(f"{name},{radius},{x}")
        (tmp_path / "data" / split / "conditions.csv").write_text("\n".join(lines[:1] + lines[:0:-1]))
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    latentserve("train", "blobs", "--set", "data=files", "--data", tmp_path / "data", "--out", run)
    latentserve("export", run, "--data", tmp_path / "data", "--reference-samples", 2000, "--out", bundle)
    manifest = read_bundle(bundle).manifest
    assert manifest.labels == ["high", "low"]
    assert [condition.name for condition in manifest.conditions or []] == ["radius", "x"]
    server = start_server(bundle)
    asked = np.linspace(4.1, 11.9, 200)
    for label in manifest.labels:
        rows = [{"x": float(each)} for each in asked]
        assert np.corrcoef(shown(server, seed=1, label=label, conditions=rows)[0], asked)[0, 1] > 0.95
    latentserve("evaluate", run, "--data", tmp_path / "data", "--samples", 1000, "--out", tmp_path / "report")
    told = json.loads((tmp_path / "report" / "report.json").read_text())
    assert all(row["correlation"] > 0.9 for row in told["conditions"])
    assert all(row["agreement"] > 0.9 for row in told["classes"])
    assert all(each["severity"] == "minor" for each in told["verdict"]["findings"])
