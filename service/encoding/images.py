"""Image samples as pictures: 8-bit values, contact sheets, PNG and WebP files."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding.png import PngWriter
from latentserve.service.encoding.provenance import Provenance

Form = Literal["png", "webp"]

SHEET_GAP = 2  # pixels between the images of a contact sheet
WEBP_SIDE = 16_383  # pixels, the most that the format has
WEBP_BYTES = 32  # of memory for each pixel, while a file is written
JPEG_SIDE = 65_500  # pixels, the most that the library writes
JPEG_QUALITY = 95  # the most that is worth its bytes
SMALL_PIXELS = 1 << 16  # of a picture that WebP may take pains with: noise of more takes it minutes


def to_uint8(samples: NDArray[np.float32], value_range: tuple[float, float]) -> NDArray[np.uint8]:
    """Samples of any shape with `value_range` stretched to 0 .. 255, rounded and clipped; what is not a number is 0."""
    low, high = value_range
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = (samples - np.float32(low)) * np.float32(255 / (high - low))
    return np.nan_to_num(np.rint(scaled), nan=0, posinf=255, neginf=0).clip(0, 255).astype(np.uint8)


def from_uint8(values: NDArray[np.uint8], value_range: tuple[float, float]) -> NDArray[np.float32]:
    """The samples whose 8-bit values these are: 0 .. 255 stretched to `value_range`."""
    low, high = value_range
    return values * np.float32((high - low) / 255) + np.float32(low)


def read_png(content: bytes, spec: SampleSpec) -> NDArray[np.uint8]:
    """A picture of the spec's size and channels, uint8 [C, H, W]. Raises ValueError: the file is none."""
    channels, height, width = spec.shape
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as picture:
            if picture.size != (width, height) or picture.mode != spec.channels:  # before a pixel is inflated
                of = f"{picture.size[0]} x {picture.size[1]} pixels of {picture.mode}"
                raise ValueError(f"has {of}; {width} x {height} of {spec.channels} are needed")
            values = np.asarray(picture)
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"is no PNG file that can be read ({type(error).__name__})") from None
    return np.moveaxis(values.reshape(height, width, channels), -1, 0)


def pixels(samples: NDArray[np.float32] | NDArray[np.uint8], spec: SampleSpec) -> NDArray[np.uint8]:
    """Images as 8-bit values, [n, C, H, W]: as they came, or converted here where the engine could not."""
    if samples.dtype == np.uint8:
        return cast("NDArray[np.uint8]", samples)
    return to_uint8(cast("NDArray[np.float32]", samples), spec.value_range or (-1.0, 1.0))


class Layout(NamedTuple):
    """How images stand on a contact sheet, and its size in pixels."""

    rows: int
    columns: int
    height: int
    width: int


def layout(n: int, height: int, width: int, columns: int | None = None, side: int | None = None) -> Layout:
    """Of n images of this size: in so many columns, else as square as n allows, and as a sheet no longer than `side`
    does where one can hold them."""
    if columns is None:
        columns = math.ceil(math.sqrt(n))
        if side is not None:
            columns = max(columns, math.ceil(n / max(1, (side + SHEET_GAP) // (height + SHEET_GAP))))
            columns = min(columns, n, max(1, (side + SHEET_GAP) // (width + SHEET_GAP)))
    rows = math.ceil(n / columns)
    return Layout(rows, columns, rows * (height + SHEET_GAP) - SHEET_GAP, columns * (width + SHEET_GAP) - SHEET_GAP)


class Canvas:
    """The pixels of a contact sheet in the making, uint8 [H, W, C] black, a band of whole rows of images at a time.

    `band` holds as many of them as `rows`: one, or all.
    """

    def __init__(self, n: int, channels: int, size: tuple[int, int], sheet: Layout, rows: int = 1) -> None:
        self._left = n
        self._height, self._width = size
        self._sheet = sheet
        self._rows = rows
        self._place = 0  # in the band, of the next image
        height = min(sheet.height, rows * (self._height + SHEET_GAP))
        self.band = np.zeros((height, sheet.width, channels), np.uint8)

    def put(self, images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        """The next images, uint8 [n, C, h, w]. Gives each band that is full: it lasts until the next one is asked for.

        The last band has no gap below.
        """
        for image in images:
            row, column = divmod(self._place, self._sheet.columns)
            top, left = row * (self._height + SHEET_GAP), column * (self._width + SHEET_GAP)
            self.band[top : top + self._height, left : left + self._width] = np.moveaxis(image, 0, -1)
            self._place += 1
            self._left -= 1
            if self._left == 0:
                last = math.ceil(self._place / self._sheet.columns) * (self._height + SHEET_GAP) - SHEET_GAP
                yield self.band[:last]
            elif self._place == self._rows * self._sheet.columns:
                yield self.band
                self.band[:] = 0
                self._place = 0


def contact_sheet(images: NDArray[np.uint8], columns: int | None = None) -> NDArray[np.uint8]:
    """uint8 [n, C, H, W] as one image uint8 [C, H', W'], row by row, as square as n allows or in so many columns; one
    image is itself."""
    n, channels, height, width = images.shape
    sheet = layout(n, height, width, columns)
    (pixels,) = Canvas(n, channels, (height, width), sheet, sheet.rows).put(images)
    return np.moveaxis(pixels, -1, 0)


def png_writer(height: int, width: int, channels: int, provenance: Provenance, n: int = 1) -> PngWriter:
    """A picture of n rows that says what made it."""
    return PngWriter(height, width, channels, provenance.text(n), provenance.xmp(n))


def png(image: NDArray[np.uint8], provenance: Provenance) -> Iterator[bytes]:
    """One image uint8 [C, H, W], C of 1, 3 or 4, as a file that says what made it, in pieces."""
    channels, height, width = image.shape
    writer = png_writer(height, width, channels, provenance)
    yield writer.opening
    yield from writer.rows(np.ascontiguousarray(np.moveaxis(image, 0, -1)))
    yield writer.closing()


def webp(pixels: NDArray[np.uint8], provenance: Provenance, quality: int | None = None, n: int = 1) -> bytes:
    """Pixels uint8 [H, W, C], C of 1, 3 or 4, of n rows, as a file that says what made it: without loss, or of this
    quality, 0 to 100."""
    effort = {} if pixels.shape[0] * pixels.shape[1] <= SMALL_PIXELS else {"method": 0}
    if quality is not None:
        return _written(pixels, "WEBP", provenance.xmp(n), quality=quality, **effort)
    return _written(pixels, "WEBP", provenance.xmp(n), lossless=True, **effort, **({"quality": 0} if effort else {}))


def jpeg(pixels: NDArray[np.uint8], provenance: Provenance, quality: int = JPEG_QUALITY) -> bytes:
    """Pixels uint8 [H, W, C], C of 1 or 3, as a file of this quality, 0 to 100, that says what made it."""
    return _written(pixels, "JPEG", provenance.xmp(), quality=min(quality, JPEG_QUALITY), subsampling=0)


def _written(pixels: NDArray[np.uint8], form: str, xmp: bytes, **options: int) -> bytes:
    """By Pillow."""
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    buffer = io.BytesIO()
    picture.save(buffer, form, xmp=xmp, **options)
    return buffer.getvalue()
