"""Tables, points and sounds are evaluated, too, from the data to the page."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from latentserve.service.bundle import Column, Latent, SampleSpec
from tests.conftest import make_bundle
from tests.generators import dense_generator
from tests.training.evaluation.test_command import called


def report_on(bundle: Path, data: Path, out: Path) -> tuple[dict, str]:
    """What is told of it, as data and as a page."""
    called(bundle, "--data", data, "--samples", 100, "--out", out)
    return json.loads((out / "report.json").read_text()), (out / "report.html").read_text()


def bundle_of(out: Path, sample: SampleSpec, labels: list[str] | None = None) -> Path:
    generator = dense_generator(shape=tuple(sample.shape), labels=None if labels is None else len(labels))
    return make_bundle(
        out, generator=generator.SerializeToString(), critic=None, latent=Latent(dim=8), labels=labels, sample=sample,
        reference_samples=200,
    )  # fmt: skip


def test_a_labelled_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    age, job = np.round(rng.uniform(20, 60, 300), 1), rng.choice(["cook", "smith"], 300)
    lines = [f"{a},{j},{'yes' if a > 40 else 'no'}" for a, j in zip(age, job, strict=True)]
    (tmp_path / "people.csv").write_text("age,job,old\n" + "\n".join(lines) + "\n")
    columns = [
        Column(name="age"),
        Column(name="job", type="string", categories=["cook", "smith"]),
        Column(name="old", type="string", categories=["no", "yes"]),
    ]
    bundle = bundle_of(tmp_path / "bundle", SampleSpec(kind="table", shape=[3], columns=columns), ["no", "yes"])
    told, page = report_on(bundle, tmp_path / "people.csv", tmp_path / "out")
    assert set(told["features"]) == {"classifier", "columns"}
    assert {"tstr", "columns", "pairs", "column_wasserstein_columns"} <= set(told["statistics"])
    assert [row["name"] for row in told["columns"]] == ["age", "job", "old"]
    assert len(told["pairs"]) == 3
    assert told["data"]["held_out"]["unseen"] is False
    assert "no held-out part" in told["warnings"][0]
    assert told["verdict"]["grade"] == "poor"  # whose ages are between -1 and 1
    assert "Pair by pair" in page
    # The label is a column, too, but a classifier that saw it would have nothing to learn.
    assert 0.8 < told["features"]["classifier"]["accuracy"] <= 1


@pytest.mark.parametrize("width", [2, 300])
def test_arrays(tmp_path: Path, width: int) -> None:
    np.save(tmp_path / "points.npy", np.random.default_rng(0).standard_normal((200, width)).astype(np.float32))
    bundle = bundle_of(tmp_path / "bundle", SampleSpec(kind="array", shape=[width]))
    told, page = report_on(bundle, tmp_path / "points.npy", tmp_path / "out")
    assert list(told["features"]) == ["numbers" if width == 2 else "random"]
    assert "first two numbers" in page


def test_sounds(tmp_path: Path) -> None:
    (tmp_path / "sounds").mkdir()
    rng = np.random.default_rng(0)
    for name in range(60):
        wavfile.write(tmp_path / "sounds" / f"{name}.wav", 8_000, rng.integers(-9_000, 9_000, 256, np.int16))
    bundle = bundle_of(tmp_path / "bundle", SampleSpec(kind="audio", shape=[1, 256], sample_rate=8_000))
    told, page = report_on(bundle, tmp_path / "sounds", tmp_path / "out")
    assert list(told["features"]) == ["spectra"]
    assert page.count("data:audio/wav;base64,") > 20
