"""Audio served over a socket: the WAV and the numbers of one seed say the same."""

from __future__ import annotations

import importlib
import io
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from latentserve.service.bundle import Latent, SampleSpec
from latentserve.service.commands.sample import sample
from latentserve.service.encoding.codecs import AUDIO_IS_THERE
from tests.conftest import make_bundle
from tests.generators import dense_generator
from tests.server import Server
from tests.service.test_bad_input import assert_problem

SHAPE, RATE = (2, 600), 11_025


@pytest.fixture(scope="module")
def chirps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stereo."""
    return make_bundle(
        tmp_path_factory.mktemp("audio") / "chirps",
        name="chirps",
        generator=dense_generator(dim=5, shape=SHAPE, labels=None).SerializeToString(),
        critic=None,
        latent=Latent(dim=5),
        labels=None,
        sample=SampleSpec(kind="audio", shape=list(SHAPE), sample_rate=RATE),
        reference_samples=600,
    )


def frames(content: bytes) -> NDArray[np.int16]:
    """Values int16 [n, channels, frames] of a WAV file of n samples."""
    with wave.open(io.BytesIO(content)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (SHAPE[0], 2, RATE)
        values = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return values.reshape(-1, SHAPE[1], SHAPE[0]).transpose(0, 2, 1)


def test_wav_and_numbers_say_the_same(chirps: Path, start_server: Callable[..., Server], tmp_path: Path) -> None:
    server = start_server(chirps, max_n=2_000_000)
    for n in (1, 7, 1_000):  # the last is streamed
        fields = {"n": n, "seed": 5, "deterministic": True}
        answer = server.samples(accept="audio/wav", **fields)
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"] == "audio/wav"
        assert answer.headers["Latentserve-Seed"] == "5"
        assert int(answer.headers["Content-Length"]) == len(answer.content)
        numbers = np.load(io.BytesIO(server.samples(accept="application/x-npy", **fields).content))
        expected = numbers.clip(-1, 32767 / 32768)
        assert np.abs(frames(answer.content) / 32768 - expected).max() <= 0.5 / 32768
    assert server.samples(accept="audio/*;q=0.9, text/html", n=1).headers["Content-Type"] == "audio/wav"

    for source in (str(chirps), server.url):
        done = CliRunner().invoke(sample, [source, "-n", "7", "--seed", "5", "--out", str(tmp_path / "seven.wav")])
        assert done.exit_code == 0, done.output
        seven = frames((tmp_path / "seven.wav").read_bytes())
        assert np.array_equal(seven, frames(server.samples(accept="audio/wav", n=7, seed=5).content))

    if AUDIO_IS_THERE:  # the same values
        done = CliRunner().invoke(
            sample, [str(chirps), "-n", "7", "--seed", "5", "--out", str(tmp_path / "seven.flac")]
        )
        assert done.exit_code == 0, done.output
        content = (tmp_path / "seven.flac").read_bytes()
        assert server.samples(format="flac", n=7, seed=5).content == content
        values, rate = importlib.import_module("soundfile").read(io.BytesIO(content), dtype="int16")
        assert rate == RATE
        assert np.array_equal(values.reshape(7, SHAPE[1], SHAPE[0]).transpose(0, 2, 1), seven)
        many = server.samples(accept="audio/mpeg", n=500, seed=5)  # is streamed
        assert many.headers["Transfer-Encoding"] == "chunked"
        assert many.content == server.samples(accept="audio/mpeg", n=500, seed=5).content

    detail = assert_problem(server.samples(accept="image/png"), 406, "not-acceptable")["detail"]
    assert "audio/wav" in detail
    most = (2**32 - 2**16) // (2 * SHAPE[0] * SHAPE[1])
    detail = assert_problem(server.samples(accept="audio/wav", n=most + 1), 413, "too-large")["detail"]
    assert f"n: {most + 1} samples were asked for; a WAV file holds {most}" in detail
