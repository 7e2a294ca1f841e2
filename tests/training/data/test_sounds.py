"""Recordings as strangers have them."""

from pathlib import Path

import numpy as np
import pytest

from latentserve.training.data import load

soundfile = pytest.importorskip("soundfile", reason="needs latentserve[audio]")


def recording(path: Path, subtype: str = "PCM_16", frames: int = 256) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.5 * np.sin(np.arange(frames) / 5), 8000, subtype=subtype)


@pytest.mark.parametrize("subtype", ["ALAW", "ULAW", "PCM_24", "IMA_ADPCM"])
def test_wav_files_are_read_however_they_are_packed(tmp_path: Path, subtype: str) -> None:
    for name in ("a.wav", "b.wav"):
        recording(tmp_path / name, subtype, 505 * 2)
    taken = load("files", tmp_path).take(np.arange(2))[0, 0]
    tone = 0.5 * np.sin(np.arange(64, 256) / 5)  # ADPCM finds its step first
    np.testing.assert_allclose(taken[64:256], tone, atol=0.05)


def test_background_noise_is_no_word(tmp_path: Path) -> None:
    for name in ("yes/a.wav", "yes/b.wav", "no/a.wav"):
        recording(tmp_path / name)
    recording(tmp_path / "_background_noise_" / "dishes.wav", frames=9000)
    dataset = load("files", tmp_path)
    assert (dataset.label_names, len(dataset)) == (["no", "yes"], 3)
    assert "left out: 1 in `_background_noise_`, which are no words" in dataset.notes
