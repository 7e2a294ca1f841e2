"""Audio samples as frames, int16 [frames, channels], end to end; and frames at another rate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding import audio
from latentserve.service.encoding.rows import in_parts

Frames = NDArray[np.int16]

_NUMBERS = 1 << 14  # of a piece


def frames(samples: NDArray[np.float32], spec: SampleSpec) -> Iterator[Frames]:
    """Of samples [n, *shape], the values of a WAV file, some at a time."""
    step = max(1, _NUMBERS // audio.channels_of(spec))
    for some in in_parts(samples):
        values = audio.interleaved(some, spec)
        for start in range(0, len(values), step):
            yield values[start : start + step]


class Resampler:
    """Frames of one rate as frames of another, as they come. Needs the extra `audio` where the rates differ."""

    def __init__(self, rate: int, to: int, channels: int) -> None:
        self._stream: Any = None
        self._nothing = np.empty((0, channels), np.int16)
        if rate != to:
            import soxr

            self._stream = soxr.ResampleStream(rate, to, channels, dtype="float32", quality="HQ")

    def take(self, frames: Frames) -> Frames:
        """What is known of the other rate's after these."""
        return frames if self._stream is None else self._resampled(frames, last=False)

    def end(self) -> Frames:
        """The rest."""
        return self._nothing if self._stream is None else self._resampled(self._nothing, last=True)

    def _resampled(self, frames: Frames, *, last: bool) -> Frames:
        # Of integers it would add noise, another one each time.
        values = self._stream.resample_chunk(frames.astype(np.float32), last=last)
        return values.round().clip(-audio.FULL_SCALE, audio.FULL_SCALE - 1).astype(np.int16)
