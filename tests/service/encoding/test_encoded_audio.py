"""MP3, Opus and FLAC: what was written is read back, the same bytes always, long files in pieces."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding import codecs, documents
from latentserve.service.encoding.audio import interleaved
from latentserve.service.encoding.codecs import codecs_of
from latentserve.service.encoding.document import FLAC, MP3, OGG, WAV
from latentserve.service.encoding.documents import make_document, media_types
from latentserve.service.encoding.frames import Resampler
from latentserve.service.encoding.ogg import Pages
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.rows import Rows

soundfile = pytest.importorskip("soundfile", reason="needs latentserve[audio]")
pytest.importorskip("soxr", reason="needs latentserve[audio]")

PROVENANCE = Provenance("chirps", "0123456789ab", 7, 3)


def spec_of(rate: int, *shape: int) -> SampleSpec:
    return SampleSpec(kind="audio", shape=list(shape), sample_rate=rate)


def tones(n: int, spec: SampleSpec) -> NDArray[np.float32]:
    """Samples [n, *shape] that are one tone of 300 Hz, end to end; each channel at another height."""
    channels, frames = (1, *spec.shape)[-2:]
    time = np.arange(n * frames).reshape(n, 1, frames) / (spec.sample_rate or 1)
    tone = 0.5 * np.sin(2 * np.pi * 300 * np.arange(1, channels + 1)[:, None] * time)
    return tone.reshape(n, *spec.shape).astype(np.float32)


def written(media: str, samples: NDArray[np.float32], spec: SampleSpec, parts: int = 1) -> bytes:
    document = make_document(media, len(samples), spec, PROVENANCE)
    pieces: list[Any] = [document.opening()]
    for part in np.array_split(samples, parts):
        pieces += document.rows(Rows(part))
    pieces += document.closing()
    content = b"".join(pieces)
    assert len(content) <= document.size
    assert max(map(len, pieces)) <= max(document.held, 1 << 17)
    return content


def read(content: bytes) -> tuple[NDArray[np.float64], int]:
    """Values [frames, channels], and their rate."""
    values, rate = soundfile.read(io.BytesIO(content), always_2d=True)
    return values, rate


@pytest.mark.parametrize("media", [MP3, OGG, FLAC])
@pytest.mark.parametrize(
    ("rate", "shape", "n"),
    [(16_000, (4000,), 3), (11_025, (2, 600), 7), (48_000, (2, 48_000), 6), (96_000, (9600,), 2)],
    ids=["mono", "stereo", "long", "high"],
)
def test_what_was_written_is_read_back(media: str, rate: int, shape: tuple[int, ...], n: int) -> None:
    spec = spec_of(rate, *shape)
    samples = tones(n, spec)
    content = written(media, samples, spec)
    assert written(media, samples, spec, parts=n) == content
    values, at = read(content)
    channels = values.shape[1]
    assert channels == (1, *shape)[-2]
    assert at == {(OGG, 11_025): 12_000, (OGG, 96_000): 48_000, (MP3, 96_000): 48_000}.get((media, rate), rate)
    expected = interleaved(samples, spec) / 32768
    long = media == MP3 and n * shape[-1] * 4 > 1 << 20
    assert abs(len(values) / at - len(expected) / rate) <= (0.1 if long else 0.001)
    if media == FLAC:
        assert np.array_equal(values, expected)
    elif at == rate and not long:
        middle = slice(len(expected) // 4, len(expected) * 3 // 4)  # a codec needs a beginning, and an end
        off = np.sqrt(np.mean((values[middle] - expected[middle]) ** 2, axis=0)) / np.sqrt(np.mean(expected**2, axis=0))
        assert off.max() < 0.15
    for axis in range(channels):
        loudest = np.abs(np.fft.rfft(values[:, axis])).argmax() * at / len(values)
        assert loudest == pytest.approx(300 * (axis + 1), abs=at / len(values))


@pytest.mark.parametrize("media", [MP3, OGG, FLAC])
def test_the_mark_that_it_is_synthetic(media: str) -> None:
    spec = spec_of(16_000, 4000)
    content = written(media, tones(1, spec), spec)
    assert b"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia" in content
    assert b"synthetic, Model chirps, Version 0123456789ab, Seed 7, Row 3" in content
    if media == MP3:  # a tag whose size is written seven bits a byte, and then the first frame
        assert content[:5] == b"ID3\3\0"
        assert content.index(b"\xff\xf3") == 10 + int("".join(f"{byte:07b}" for byte in content[6:10]), 2)
    else:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            assert file.comment.startswith("synthetic")


def test_which_format_holds_what(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(codecs_of(spec_of(44_100, 100))) == [MP3, OGG, FLAC]
    assert list(codecs_of(spec_of(44_100, 3, 100))) == [OGG, FLAC]
    assert list(codecs_of(spec_of(44_100, 9, 100))) == [OGG]
    assert list(codecs_of(spec_of(250, 100))) == [FLAC]
    assert list(codecs_of(spec_of(1_000_000, 100))) == [MP3, OGG]
    assert list(codecs_of(spec_of(44_100, 2, 2, 100))) == []
    assert media_types(spec_of(44_100, 100))[1:5] == (WAV, MP3, OGG, FLAC)
    monkeypatch.setattr(codecs, "AUDIO_IS_THERE", False)
    assert set(documents.media_types(spec_of(44_100, 100))).isdisjoint({MP3, OGG, FLAC})


@pytest.mark.parametrize("channels", [3, 6, 8])
def test_more_than_two_channels(channels: int) -> None:
    spec = spec_of(48_000, channels, 4800)
    for media in (OGG, FLAC):
        assert read(written(media, tones(1, spec), spec))[0].shape == (4800, channels)


def test_a_resampled_tone_is_the_same_tone() -> None:
    spec = spec_of(11_025, 11_025)
    whole = interleaved(tones(1, spec), spec)
    resampler = Resampler(11_025, 24_000, 1)
    pieces = [resampler.take(whole[start : start + 1000]) for start in range(0, len(whole), 1000)]
    values = np.concatenate([*pieces, resampler.end()])
    expected = 0.5 * 32768 * np.sin(2 * np.pi * 300 * np.arange(24_000) / 24_000)
    assert values.dtype == np.int16
    assert abs(len(values) - 24_000) <= 1
    assert np.abs(values[500:-500, 0] - expected[500 : len(values) - 500]).max() < 40
    loud = Resampler(8000, 48_000, 1)
    square = np.repeat(np.array([32767, -32768] * 50, np.int16), 20)[:, None]
    assert np.abs(np.concatenate([loud.take(square), loud.end()]).astype(int)).max() <= 32768  # and none turns over


def test_ogg_pages_are_renumbered_wherever_they_are_cut() -> None:
    spec = spec_of(16_000, 16_000)
    content = written(OGG, tones(2, spec), spec)
    pages = Pages()
    cut = [page for start in range(0, len(content), 7) for page in pages.renumbered(content[start : start + 7])]
    assert b"".join(cut) == content  # its checksums are what another writer's would be
    assert all(page[:4] == b"OggS" for page in cut)
    assert {page[14:18] for page in cut} == {b"\1\0\0\0"}
