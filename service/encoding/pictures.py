"""Answers that are one picture: a sample, or a contact sheet of several, as PNG and WebP."""

from __future__ import annotations

from collections.abc import Iterator

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding import images
from latentserve.service.encoding.document import HEAD_BYTES, PNG, WEBP, Document, Piece
from latentserve.service.encoding.png import LARGEST_SIDE, PngWriter
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.rows import Rows, in_parts
from latentserve.service.errors import InvalidError, TooLargeError

_WEBP_PART = 4  # of the pixels of any picture, a WebP one has a fourth: it is written whole, in much memory


def picture_layout(media: str, n: int, spec: SampleSpec, max_pixels: float) -> images.Layout:
    """Of a contact sheet that may be drawn. Raises InvalidError, TooLargeError."""
    side = images.WEBP_SIDE if media == WEBP else LARGEST_SIDE
    _, height, width = spec.shape
    sheet = images.layout(n, height, width, side=side)
    if max(sheet.height, sheet.width) > side:
        if n == 1:
            raise InvalidError("Accept", f"a sample has {width} x {height} pixels; {media} holds {side} either way")
        raise InvalidError("n", f"{n} images of {width} x {height} pixels: {media} holds {side} pixels either way")
    most = max_pixels / _WEBP_PART if media == WEBP else max_pixels
    if n > 1 and (pixels := sheet.height * sheet.width) > most:
        size = f"{sheet.width} x {sheet.height} pixels"
        raise TooLargeError(f"n: {n} images make a picture of {size}, {pixels}; at most {most:.0f} are drawn")
    return sheet


class Png(Document):
    """A PNG picture: the image itself, or a contact sheet of many, written a row of images at a time."""

    headers = ((b"content-type", PNG.encode()),)

    def __init__(self, n: int, spec: SampleSpec, provenance: Provenance, sheet: images.Layout) -> None:
        channels, height, width = spec.shape
        self._n = n
        self._spec = spec
        self._provenance = provenance
        self._sheet = sheet
        self._canvas = images.Canvas(n, channels, (height, width), sheet)
        self._writer: PngWriter | None = None
        self.size = HEAD_BYTES + provenance.rows_mark_bytes(n) + sheet.height * (1 + sheet.width * channels)
        self.held = self._canvas.band.nbytes

    def rows(self, part: Rows) -> Iterator[Piece]:
        """The rows of pixels that are whole; before the first, the chunks that say what made them."""
        if (writer := self._writer) is None:
            told = self._provenance.knowing(part, self._n)
            writer = images.png_writer(self._sheet.height, self._sheet.width, self._spec.shape[0], told, self._n)
            self._writer = writer
            yield writer.opening
        for some in in_parts(part.samples):
            for band in self._canvas.put(images.pixels(some, self._spec)):
                yield from writer.rows(band)

    def closing(self) -> Iterator[Piece]:
        """The end of the file."""
        if self._writer is not None:
            yield self._writer.closing()


class Webp(Document):
    """A WebP picture, as a PNG one, but drawn when the last sample is there: the format is not written in pieces."""

    headers = ((b"content-type", WEBP.encode()),)

    def __init__(self, n: int, spec: SampleSpec, provenance: Provenance, sheet: images.Layout) -> None:
        channels, height, width = spec.shape
        self._n = n
        self._spec = spec
        self._provenance = provenance
        self._begun = False
        self._canvas = images.Canvas(n, channels, (height, width), sheet, sheet.rows)
        pixels = sheet.height * sheet.width
        self.in_one_go = pixels > images.SMALL_PIXELS
        self.size = HEAD_BYTES + provenance.rows_mark_bytes(n) + pixels * channels
        self.held = pixels * images.WEBP_BYTES

    def rows(self, part: Rows) -> Iterator[Piece]:
        """Nothing yet."""
        if not self._begun:
            self._begun = True
            self._provenance = self._provenance.knowing(part, self._n)
        for some in in_parts(part.samples):
            for _ in self._canvas.put(images.pixels(some, self._spec)):
                pass
            yield b""

    def closing(self) -> Iterator[Piece]:
        """The picture."""
        yield images.webp(self._canvas.band, self._provenance, n=self._n)
