"""Audio samples as a WAV file: RIFF with 16-bit PCM, samples end to end, and the mark that they are synthetic.

Chunks: `fmt ` and `data` of "Multimedia Programming Interface and Data Specifications 1.0" (IBM and Microsoft 1991);
`_PMX` with an XMP packet (Adobe, XMP specification, part 3, section 2.3.2) and, where a producer is named, `AIGC` with
the seven fields of GB 45438-2025, which readers that do not know them skip.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import cast

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding.document import WAV, Document, Piece
from latentserve.service.encoding.provenance import SOFTWARE, Provenance
from latentserve.service.encoding.rows import Rows, in_parts
from latentserve.service.errors import TooLargeError

_BYTES = 2  # of a value
FULL_SCALE = 1 << (8 * _BYTES - 1)
_COUNTED = 1 << 32  # RIFF counts bytes in 32 bits,
_COUNTED_FRAME = 1 << 16  # and those of a frame in 16; what precedes the values is less than that, too
_PCM = 1
_CHUNK_BYTES = 8  # of its head
_ROOM = 10  # bytes for each of a mark's, which is told as XML, as a line and as an address, too; an even number


def is_wav(spec: SampleSpec) -> bool:
    """Whether samples can be written so: audio of shape [frames] or [channels, frames]."""
    if spec.kind != "audio" or spec.sample_rate is None or len(spec.shape) > 2:
        return False
    frame = _BYTES * channels_of(spec)
    return frame < _COUNTED_FRAME and frame * spec.sample_rate < _COUNTED


def most_samples(spec: SampleSpec) -> int:
    """How many samples one file can hold."""
    return (_COUNTED - _COUNTED_FRAME) // data_bytes(1, spec)


def data_bytes(n: int, spec: SampleSpec) -> int:
    """How many bytes the values of n samples are."""
    return n * _BYTES * channels_of(spec) * spec.shape[-1]


def wav_header(n: int, spec: SampleSpec, provenance: Provenance) -> bytes:
    """What precedes the values of n samples in the file."""
    return _header(n, spec, _marks(n, provenance))


def _header(n: int, spec: SampleSpec, marks: bytes) -> bytes:
    rate, frame = spec.sample_rate or 0, _BYTES * channels_of(spec)
    form = struct.pack("<HHIIHH", _PCM, channels_of(spec), rate, frame * rate, frame, 8 * _BYTES)
    before = b"WAVE" + _chunk(b"fmt ", form) + marks
    size = data_bytes(n, spec)
    return struct.pack("<4sI", b"RIFF", len(before) + 8 + size) + before + struct.pack("<4sI", b"data", size)


def _marks(n: int, provenance: Provenance) -> bytes:
    """The chunks that say what made n samples."""
    comment = _chunk(b"ICMT", provenance.sentence(n).encode() + b"\0")
    marks = _chunk(b"LIST", b"INFO" + _SOFTWARE + comment) + _chunk(b"_PMX", provenance.xmp(n))
    if aigc := provenance.aigc(n):
        marks += _chunk(b"AIGC", aigc.encode())
    return marks


def interleaved(samples: NDArray[np.float32], spec: SampleSpec) -> NDArray[np.int16]:
    """The values of samples float32 [n, *shape], end to end: int16 [frames, channels]."""
    channels = channels_of(spec)
    values = to_int16(samples, spec.value_range or (-1.0, 1.0)).reshape(len(samples), channels, spec.shape[-1])
    return values.transpose(0, 2, 1).reshape(-1, channels)


def pcm(samples: NDArray[np.float32], spec: SampleSpec) -> bytes:
    """The values of samples float32 [n, *shape], end to end, channels interleaved, little-endian."""
    return interleaved(samples, spec).astype("<i2", copy=False).tobytes()


def to_int16(samples: NDArray[np.float32], value_range: tuple[float, float]) -> NDArray[np.int16]:
    """Samples of any shape with `value_range` stretched to -32768 .. 32768, rounded and clipped to what there is; what
    is not a number is 0."""
    low, high = value_range
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = (samples - np.float32((low + high) / 2)) * np.float32(2 * FULL_SCALE / (high - low))
    return np.nan_to_num(np.rint(scaled), nan=0).clip(-FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def channels_of(spec: SampleSpec) -> int:
    """Of samples that `is_wav`."""
    return spec.shape[0] if len(spec.shape) == 2 else 1


def _chunk(name: bytes, content: bytes) -> bytes:
    """A chunk, padded to an even number of bytes."""
    return struct.pack("<4sI", name, len(content)) + content + b"\0" * (len(content) % 2)


_SOFTWARE = _chunk(b"ISFT", SOFTWARE.encode() + b"\0")


class Wav(Document):
    """A WAV file with the samples end to end, each as long as the next."""

    def __init__(self, n: int, spec: SampleSpec, provenance: Provenance) -> None:
        if n > (most := most_samples(spec)):
            raise TooLargeError(f"n: {n} samples were asked for; a WAV file holds {most} of them")
        self._n = n
        self._spec = spec
        self._provenance = provenance
        self._marks = _marks(n, provenance)
        self._room = 0
        if provenance.chosen or (n == 1 and (provenance.labels or provenance.conditions)):
            # What is known only when the rows are there has room: the file's length is told before.
            self._room = _CHUNK_BYTES + _ROOM * provenance.rows_mark_bytes(n)
        self._begun = False
        length = len(_header(n, spec, self._marks)) + self._room + data_bytes(n, spec)
        self.headers = ((b"content-type", WAV.encode()), (b"content-length", b"%d" % length))
        self.size = length

    def rows(self, part: Rows) -> Iterator[Piece]:
        """The values; before the first, the chunks that precede them."""
        if not self._begun:
            self._begun = True
            yield _header(self._n, self._spec, self._told(part))
        for some in in_parts(cast("NDArray[np.float32]", part.samples)):
            yield pcm(some, self._spec)

    def _told(self, part: Rows) -> bytes:
        """The marks, with what is known of the rows, in their room, of which a chunk of nothing is the rest."""
        if not self._room:
            return self._marks
        size = len(self._marks) + self._room
        marks = _marks(self._n, self._provenance.knowing(part, self._n))
        if len(marks) + _CHUNK_BYTES > size:
            marks = self._marks
        return marks + _chunk(b"JUNK", bytes(size - len(marks) - _CHUNK_BYTES))
