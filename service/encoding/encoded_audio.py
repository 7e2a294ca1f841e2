"""Audio samples as MP3, Opus in Ogg, or FLAC, end to end. Importing this needs the extra `audio`."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import soundfile
from numpy.typing import NDArray

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding import audio
from latentserve.service.encoding.codecs import CODECS
from latentserve.service.encoding.document import FLAC, HEAD_BYTES, MP3, OGG, Document, Piece
from latentserve.service.encoding.frames import Frames, Resampler, frames
from latentserve.service.encoding.id3 import id3_tag
from latentserve.service.encoding.ogg import Pages
from latentserve.service.encoding.provenance import DIGITAL_SOURCE_TYPE, Provenance
from latentserve.service.encoding.rows import Rows

_SHORT_BYTES = 1 << 20  # of values: a file of fewer is kept until what stands at its beginning is known
_TOTAL = slice(21, 26)  # where STREAMINFO of a FLAC file has the number of frames (RFC 9639, section 8.2),
_MOST_FRAMES = (1 << 36) - 1  # in 36 bits; 0: unknown


class EncodedAudio(Document):
    """A file of n samples, at their own rate or at the nearest that the format has.

    One that is long is written in pieces, and does not say at its beginning what is known at its end: how long an MP3
    file is, the checksum of a FLAC file.
    """

    def __init__(self, media: str, n: int, spec: SampleSpec, provenance: Provenance) -> None:
        codec, channels = CODECS[media], audio.channels_of(spec)
        own = spec.sample_rate or 0
        rate = codec.rate(own)
        self._media = media
        self._spec = spec
        self._frames = n * spec.shape[-1]
        self._n = n
        self._provenance = provenance
        self._resampler = Resampler(own, rate, channels)
        values = audio.data_bytes(n, spec) * rate // own
        short = values <= _SHORT_BYTES
        self._file = _Kept() if short else _Passing()
        self._pages = Pages()
        self._begun = self._marked = False
        # Of a file that does not say how long it is, players tell by its bit rate.
        constant = {"bitrate_mode": "CONSTANT", "compression_level": 0.5} if media == MP3 and not short else {}
        self._writer: Any = soundfile.SoundFile(
            self._file, "w", rate, channels, codec.coding, format=codec.container, **constant
        )
        self.headers = ((b"content-type", media.encode()),)
        self.size = 2 * HEAD_BYTES + provenance.rows_mark_bytes(n) + values + values // 8
        self.held = values if short else 0

    def rows(self, part: Rows) -> Iterator[Piece]:
        """What is written of the next samples; before the first, what says what made them."""
        if not self._marked:
            self._marked = True
            told = self._provenance.knowing(part, self._n)
            if self._media == MP3:
                yield id3_tag(told, self._n)
            else:
                self._writer.software = "latentserve"
                self._writer.comment = f"{told.sentence(self._n)}, {DIGITAL_SOURCE_TYPE}, {told.mark_text(self._n)}"
                if aigc := told.aigc(self._n):
                    self._writer.copyright = aigc
        for some in frames(cast("NDArray[np.float32]", part.samples), self._spec):
            yield from self._written(self._resampler.take(some))

    def closing(self) -> Iterator[Piece]:
        """The rest."""
        yield from self._written(self._resampler.end())
        self._writer.close()
        yield from self._taken(self._file.taken(last=True))

    def _written(self, values: Frames) -> Iterator[bytes]:
        if self._media == FLAC:
            self._writer.write(values)
        else:  # libsndfile makes noise of stereo MP3 of integers
            self._writer.write(values * np.float32(1 / audio.FULL_SCALE))
        yield from self._taken(self._file.taken())

    def _taken(self, content: bytes) -> Iterator[bytes]:
        """As it is passed on."""
        if self._media == OGG:
            yield from self._pages.renumbered(content)
            return
        if content and not self._begun:
            self._begun = True
            if isinstance(self._file, _Passing):
                content = self._begin(content)
        yield content

    def _begin(self, content: bytes) -> bytes:
        """The beginning of a file that was passed on before its end was known."""
        if self._media == FLAC:
            described = int.from_bytes(content[_TOTAL]) | (self._frames if self._frames <= _MOST_FRAMES else 0)
            return content[: _TOTAL.start] + described.to_bytes(5) + content[_TOTAL.stop :]
        return content


class _Kept(io.BytesIO):
    """A file that is kept until it is whole."""

    def taken(self, *, last: bool = False) -> bytes:
        """All of it, at last."""
        return self.getvalue() if last else b""


class _Passing(io.RawIOBase):
    """A file that is passed on while it is written. What is written into what was written already is lost."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._at = self._length = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As of any file."""
        self._at = offset + (0, self._at, self._length)[whence]
        return self._at

    def tell(self) -> int:
        """As of any file."""
        return self._at

    def write(self, data: Any) -> int:
        """Bytes at the end of it."""
        piece = bytes(data)
        if self._at == self._length and not (self._length == 0 and _is_reserved(piece)):
            self._pieces.append(piece)
        self._at += len(piece)
        self._length = max(self._length, self._at)
        return len(piece)

    def taken(self, *, last: bool = False) -> bytes:
        """What was written since it was last asked."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _is_reserved(piece: bytes) -> bool:
    """Whether this is an MP3 frame of nothing, in whose place the length would be written at the end."""
    return piece[:1] == b"\xff" and not any(piece[4:])
