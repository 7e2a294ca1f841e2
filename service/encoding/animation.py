"""Image samples as the frames of one moving picture: animated WebP and GIF files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding import images
from latentserve.service.encoding.document import GIF, HEAD_BYTES, WEBP, Document, Piece
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.rows import Rows, in_parts
from latentserve.service.errors import InvalidError, TooLargeError

ANIMATIONS = (WEBP, GIF)

_GIF_SIDE = 65_535  # pixels, the most that the format has
_PART = 4  # of the pixels of a picture that is written in pieces an animation has a fourth
# GIF (CompuServe, "Graphics Interchange Format", 1990): how long its head is, and where it says whether, and how many,
# colours follow it.
_GIF_HEAD, _GIF_FLAGS, _GIF_COLOURS = 13, 10, 0x80
# An extension of GIF that holds XMP (Adobe, "XMP specification part 3", section 1.1.2): text up to its own end, which
# a reader of blocks is led over by what follows, 0xFF down to 0.
_XMP_BLOCK, _XMP_END = b"\x21\xff\x0bXMP DataXMP", bytes([1, *range(255, -1, -1), 0])


class Animation(Document):
    """A frame a row, `fps` of them a second, over and over: WebP without loss, GIF of 256 colours a frame.

    It is written when the last row is there. Raises InvalidError, TooLargeError: the format, or the server, does not
    hold so many pixels.
    """

    def __init__(
        self, media: str, n: int, spec: SampleSpec, provenance: Provenance, fps: float, max_pixels: float
    ) -> None:
        channels, height, width = spec.shape
        side = _GIF_SIDE if media == GIF else images.WEBP_SIDE
        if max(height, width) > side:
            raise InvalidError("Accept", f"a frame has {width} x {height} pixels; {media} holds {side} either way")
        pixels = n * height * width
        if n > 1 and pixels > max_pixels / _PART:
            size = f"{n} frames of {width} x {height} pixels have {pixels}"
            raise TooLargeError(f"frames: {size}; an animation has {max_pixels / _PART:.0f} at the most")
        self.headers = ((b"content-type", media.encode()),)
        self._media = media
        self._spec = spec
        self._provenance = provenance
        self._milliseconds = round(1000 / fps)
        self._frames = np.empty((n, height, width, channels), np.uint8)
        self._row = 0
        self.in_one_go = pixels > images.SMALL_PIXELS
        self.size = HEAD_BYTES + provenance.rows_mark_bytes(n) + pixels * channels
        self.held = pixels * images.WEBP_BYTES

    def rows(self, part: Rows) -> Iterator[Piece]:
        """Nothing yet."""
        for some in in_parts(part.samples):
            stop = self._row + len(some)
            self._frames[self._row : stop] = np.moveaxis(images.pixels(some, self._spec), 1, -1)
            self._row = stop
            yield b""

    def closing(self) -> Iterator[Piece]:
        """The file."""
        first, *others = (_picture(frame) for frame in self._frames)
        options: dict[str, Any] = {"save_all": True, "append_images": others, "duration": self._milliseconds, "loop": 0}
        buffer = io.BytesIO()
        n = len(self._frames)
        xmp = self._provenance.xmp(n)
        if self._media == WEBP:
            first.save(buffer, "WEBP", xmp=xmp, lossless=True, quality=0, method=0, **options)
            yield buffer.getvalue()
            return
        # Nothing of a frame shows through the next one, where that is transparent.
        disposal = {"disposal": 2} if self._spec.channels == "RGBA" else {}
        first.save(buffer, "GIF", comment=self._provenance.sentence(n), optimize=False, **disposal, **options)
        written = buffer.getvalue()
        start = _GIF_HEAD + (3 << (written[_GIF_FLAGS] & 7) + 1 if written[_GIF_FLAGS] & _GIF_COLOURS else 0)
        yield written[:start] + _XMP_BLOCK + xmp + _XMP_END
        yield written[start:]


def _picture(frame: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame)
