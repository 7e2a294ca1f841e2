"""WAV: files that other programs read, rounding, and the mark that they are synthetic."""

from __future__ import annotations

import io
import wave
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.io import wavfile

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding.audio import Wav, most_samples, to_int16, wav_header
from latentserve.service.encoding.document import JSON, WAV
from latentserve.service.encoding.documents import media_types
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.rows import Rows

MADE_BY = Provenance("toy", "0123456789ab", 7, 3)


def audio(*shape: int, rate: int = 8000, value_range: tuple[float, float] | None = None) -> SampleSpec:
    return SampleSpec(kind="audio", shape=list(shape), sample_rate=rate, value_range=value_range)


def written(samples: NDArray[np.float32], spec: SampleSpec, slices: int = 1) -> bytes:
    document = Wav(len(samples), spec, MADE_BY)
    parts = [b"".join(document.rows(Rows(part))) for part in np.array_split(samples, slices)]
    content = b"".join([document.opening(), *parts, *document.closing()])
    assert dict(document.headers)[b"content-length"] == b"%d" % len(content)
    return content


@given(n=st.integers(1, 6), channels=st.integers(1, 3), frames=st.integers(1, 9), slices=st.integers(1, 3))
@pytest.mark.parametrize("rate", [1, 8000, 192_000])
def test_samples_stand_end_to_end(rate: int, n: int, channels: int, frames: int, slices: int) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (n, channels, frames)).astype(np.float32)
    content = written(samples, audio(channels, frames, rate=rate), slices)
    with wave.open(io.BytesIO(content)) as file:
        assert file.getparams()[:4] == (channels, 2, rate, n * frames)
        values = np.frombuffer(file.readframes(n * frames), "<i2").reshape(n, frames, channels)
    assert np.abs(values.transpose(0, 2, 1) / 32768 - samples).max() <= 0.5 / 32768


@pytest.mark.filterwarnings("ignore:Chunk")  # scipy tells of those it skips
def test_one_channel_needs_no_axis_of_its_own() -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (4, 10)).astype(np.float32)
    content = written(samples, audio(10))
    assert content == written(samples[:, None], audio(1, 10))
    rate, frames = wavfile.read(io.BytesIO(content))
    assert (rate, frames.shape, frames.dtype) == (8000, (40,), np.int16)


def test_the_range_of_values_is_full_scale_and_what_is_beyond_is_clipped() -> None:
    values = np.array([-1.5, -1, -0.5, 0, 0.5, 1, 2, np.nan, np.inf, -np.inf, 3e38], np.float32)
    expected = [-32768, -32768, -16384, 0, 16384, 32767, 32767, 0, 32767, -32768, 32767]
    assert to_int16(values, (-1, 1)).tolist() == expected
    assert to_int16((values + 1) / 2, (0, 1)).tolist() == expected


@given(values=hnp.arrays(np.float32, st.integers(0, 20), elements=st.floats(width=32)))
def test_any_values(values: np.ndarray[Any, Any]) -> None:
    known = values[~np.isnan(values)]
    assert (np.diff(to_int16(known, (-1, 1))[np.argsort(known)].astype(int)) >= 0).all()


def test_every_16_bit_value_comes_back() -> None:
    steps = np.arange(-32768, 32768)
    assert np.array_equal(to_int16((steps / 32768).astype(np.float32), (-1, 1)), steps)


def test_it_says_that_it_is_synthetic_and_what_made_it() -> None:
    content = written(np.zeros((1, 1, 4), np.float32), audio(1, 4))
    chunks, at = {}, 12
    while at < len(content):
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        chunks[content[at : at + 4]] = content[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    assert list(chunks) == [b"fmt ", b"LIST", b"_PMX", b"data"]
    assert int.from_bytes(content[4:8], "little") == len(content) - 8
    assert b"digitalsourcetype/trainedAlgorithmicMedia" in chunks[b"_PMX"]
    assert b"ISFT\x0c\0\0\0latentserve\0ICMT" in chunks[b"LIST"]
    assert b"synthetic, Model toy, Version 0123456789ab, Seed 7, Row 3\0" in chunks[b"LIST"]
    assert b"Seed" not in wav_header(1, audio(1, 4), Provenance("toy", "v", None, 0))


def test_what_can_be_wav_is_offered_as_it() -> None:
    assert media_types(audio(2, 100))[:2] == (JSON, WAV)
    assert WAV in media_types(audio(100))
    for spec in (audio(1, 2, 3), audio(1 << 15, 10), audio(2, 10, rate=1 << 30), SampleSpec(kind="array", shape=[9])):
        assert WAV not in media_types(spec)


def test_a_file_is_as_large_as_riff_can_count() -> None:
    spec = audio(2, 2048)
    most = most_samples(spec)
    size = int.from_bytes(wav_header(most, spec, MADE_BY)[4:8], "little")
    assert 2**32 - 2**17 < size < 2**32
