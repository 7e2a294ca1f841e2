"""Recordings as strangers have them."""

from pathlib import Path

import numpy as np
import pytest

from latentserve.training.data import load
from latentserve.training.errors import DataError

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


def test_what_is_called_wav_is_read_as_what_it_is(tmp_path: Path) -> None:
    for kind in ("NIST", "MP3"):
        for name in "ab":
            soundfile.write(tmp_path / f"{kind}{name}.sph", 0.5 * np.sin(np.arange(4096) / 5), 8000, format=kind)
            (tmp_path / f"{kind}{name}.sph").rename(tmp_path / f"{kind}{name}.WAV")
    (tmp_path / "a.trans.txt").write_text("NISTa.WAV SHE HAD\nNISTb.WAV YOUR\n")
    assert load("files", tmp_path, size=2048).samples.shape[1:] == (1, 2048)


@pytest.mark.parametrize("ending", ["flac", "ogg", "mp3", "aiff", "aifc", "au", "caf", "w64", "rf64", "sph", "oga"])
def test_files_are_read_by_their_ending(tmp_path: Path, ending: str) -> None:
    kind = {"aifc": "AIFF", "sph": "NIST", "oga": "OGG"}.get(ending, ending.upper())
    tone = 0.5 * np.sin(np.arange(8192) / 5)
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.{ending}", tone, 8000, format=kind)
    dataset = load("files", tmp_path, size=4096)
    taken = dataset.take(np.arange(1))[0, 0]
    assert np.corrcoef(taken[1024:3072], tone[1024:3072])[0, 1] > 0.9 or ending == "mp3"  # which is late
    assert 0.3 < np.abs(taken).max() < 0.7


@pytest.mark.parametrize(
    ("name", "words"), [("a.m4a", "convert it to WAV"), ("a.WMA", "convert it"), ("a.mid", "notes")]
)
def test_what_is_packed_otherwise_says_what_to_do(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).write_bytes(b"\0" * 64)
    with pytest.raises(DataError, match=words):
        load("files", tmp_path)


def test_background_noise_is_no_word(tmp_path: Path) -> None:
    for name in ("yes/a.wav", "yes/b.wav", "no/a.wav"):
        recording(tmp_path / name)
    recording(tmp_path / "_background_noise_" / "dishes.wav", frames=9000)
    dataset = load("files", tmp_path)
    assert (dataset.label_names, len(dataset)) == (["no", "yes"], 3)
    assert "left out: 1 in `_background_noise_`, which are no words" in dataset.notes
