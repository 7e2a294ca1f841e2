"""Compressed audio: which formats there are, and which samples each holds. Writing them needs the extra `audio`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import NamedTuple

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding import audio
from latentserve.service.encoding.document import FLAC, MP3, OGG

EXTRA = 'the extra "audio" (pip install "latentserve[audio]")'
AUDIO_IS_THERE = all(find_spec(name) is not None for name in ("soundfile", "soxr"))

LEAST_RATE = 1000  # Hz, of what is resampled: slower series would become many times as large


class Codec(NamedTuple):
    """A format by the names of libsndfile, and its limits: `rates` in Hz, ascending, None: any up to `most_rate`."""

    container: str
    coding: str
    most_channels: int
    rates: tuple[int, ...] | None = None
    most_rate: int = 0

    def holds(self, spec: SampleSpec) -> bool:
        """Whether samples can be written so, at some rate."""
        rate = spec.sample_rate
        if rate is None or not audio.is_wav(spec) or audio.channels_of(spec) > self.most_channels:
            return False
        return rate <= self.most_rate if self.rates is None else rate >= LEAST_RATE

    def rate(self, of: int) -> int:
        """That samples of a rate are written at: their own, or the next higher one, or the highest."""
        if self.rates is None:
            return of
        return next((rate for rate in self.rates if rate >= of), self.rates[-1])


CODECS = {
    MP3: Codec("MP3", "MPEG_LAYER_III", 2, (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)),
    OGG: Codec("OGG", "OPUS", 255, (8000, 12000, 16000, 24000, 48000)),
    FLAC: Codec("FLAC", "PCM_16", 8, most_rate=655_350),
}


def codecs_of(spec: SampleSpec) -> Sequence[str]:
    """Media types that samples can be written as here."""
    return [media for media, codec in CODECS.items() if codec.holds(spec)] if AUDIO_IS_THERE else ()
