"""The recipe `waves` made short, and WAV files: trained, exported, served, and heard over a socket."""

import io
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from latentserve.service.bundle import read_bundle
from latentserve.service.cli import main
from latentserve.training.data.synthetic import FORMS, FRAMES, RATE
from tests.server import Server

SHORT = ["images=320", "batch=32", "tick=160", "snapshot=160", "width=8", "latent=8", "threads=1"]


@pytest.fixture
def latentserve(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The command line; what it says of an error, or nothing."""

    def call(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["latentserve", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        return capsys.readouterr().err if left.value.code else ""

    return call


def settings(*more: str) -> list[str]:
    return [word for field in (*SHORT, *more) for word in ("--set", field)]


def test_from_recipe_to_wav(
    latentserve: Callable[..., str], start_server: Callable[..., Server], tmp_path: Path
) -> None:
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    assert not latentserve("train", "waves", *settings(), "--out", run)
    for picture in ("reals.png", "samples-000000320.png"):
        assert min(Image.open(run / picture).size) > 500
    assert '"diversity": ' in (run / "stats.jsonl").read_text()
    assert not latentserve("export", run, "--reference-samples", 600, "--out", bundle)

    manifest = read_bundle(bundle).manifest
    sample = manifest.sample
    assert (sample.kind, sample.shape, sample.sample_rate) == ("audio", [1, FRAMES], RATE)
    assert (manifest.labels, manifest.lineage.dataset) == (list(FORMS), "waves")
    assert manifest.monitor.real_distance is not None

    server = start_server(bundle)
    for fields in ({"n": 1, "seed": 3, "label": "chirp"}, {"n": 70, "seed": 4}):
        asked = {**fields, "deterministic": True}
        heard = server.samples(accept="audio/wav", **asked)
        assert heard.status_code == 200, heard.text
        with wave.open(io.BytesIO(heard.content)) as file:
            assert file.getparams()[:4] == (1, 2, RATE, fields["n"] * FRAMES)
            steps = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 1, FRAMES)
        numbers = np.load(io.BytesIO(server.samples(accept="application/x-npy", **asked).content))
        assert np.abs(numbers).max() < 1
        assert np.abs(steps / 32768 - numbers).max() <= 0.5 / 32768


def test_files_are_learned_and_what_does_not_fit_is_told(latentserve: Callable[..., str], tmp_path: Path) -> None:
    """Stereo files, cut into pieces of 64 frames; lengths that no network makes, and files of two rates."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(-9999, 9999, (300, 2), dtype=np.int16)
    for name in "ab":
        wavfile.write(folder / f"{name}.wav", 11_025, noise)
    recipe = Path("training/recipe/waves.yaml").read_text().replace("data: waves", "data: files")
    (tmp_path / "mine.yaml").write_text(recipe)
    words = ["train", tmp_path / "mine.yaml", "--data", folder, "--out", tmp_path / "run"]

    refused = latentserve(*words, *settings())
    assert "`network`: waveform needs 32 frames at the most" in refused
    assert "not 300; `size`" in refused
    assert "latentserve: `augment`: is for images" in latentserve(*words, *settings("size=64", "augment=[flip]"))
    assert "makes images; sounds holds samples that are audio" in latentserve(
        *words, *settings("size=64", "network=convolutional")
    )
    assert not (tmp_path / "run").exists()

    assert not latentserve(*words, *settings("size=64"))
    bundle = tmp_path / "bundle"
    assert not latentserve("export", tmp_path / "run", "--reference-samples", 200, "--out", bundle)
    sample = read_bundle(bundle).manifest.sample
    assert (sample.kind, sample.shape, sample.sample_rate) == ("audio", [2, 64], 11_025)
    assert not latentserve("sample", bundle, "-n", 5, "--seed", 1, "--out", tmp_path / "five.wav")
    with wave.open(str(tmp_path / "five.wav")) as file:
        assert file.getparams()[:4] == (2, 2, 11_025, 5 * 64)
