"""Image samples as pictures: 8-bit values, contact sheets, PNG and WebP files."""

from __future__ import annotations

import io
import math
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding.provenance import Provenance

Form = Literal["png", "webp"]

_GAP = 2  # pixels between the images of a contact sheet
WEBP_SIDE = 16_383  # pixels, the most that the format has
_PNG_LEVEL = 1  # of zlib: on noise-like samples higher levels cost twice the time for a few percent


def to_uint8(samples: NDArray[np.float32], value_range: tuple[float, float]) -> NDArray[np.uint8]:
    """Samples of any shape with `value_range` stretched to 0 .. 255, rounded and clipped; what is not a number is 0."""
    low, high = value_range
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = (samples - np.float32(low)) * np.float32(255 / (high - low))
    return np.nan_to_num(np.rint(scaled), nan=0, posinf=255, neginf=0).clip(0, 255).astype(np.uint8)


def pixels(samples: NDArray[np.float32] | NDArray[np.uint8], spec: SampleSpec) -> NDArray[np.uint8]:
    """Images as 8-bit values, [n, C, H, W]: as they came, or converted here where the engine could not."""
    if samples.dtype == np.uint8:
        return cast("NDArray[np.uint8]", samples)
    return to_uint8(cast("NDArray[np.float32]", samples), spec.value_range or (-1.0, 1.0))


def sheet_size(n: int, height: int, width: int) -> tuple[int, int]:
    """Height and width of the contact sheet of n images."""
    rows, columns = _layout(n)
    return rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP


def _layout(n: int, columns: int | None = None) -> tuple[int, int]:
    columns = columns or math.ceil(math.sqrt(n))
    return math.ceil(n / columns), columns


def contact_sheet(images: NDArray[np.uint8], columns: int | None = None) -> NDArray[np.uint8]:
    """uint8 [n, C, H, W] as one image uint8 [C, H', W'], row by row, as square as n allows or in so many columns; one
    image is itself."""
    n, channels, height, width = images.shape
    if n == 1:
        return images[0]
    rows, columns = _layout(n, columns)
    cells = np.zeros((rows * columns, channels, height + _GAP, width + _GAP), np.uint8)
    cells[:n, :, :height, :width] = images
    grid = cells.reshape(rows, columns, channels, height + _GAP, width + _GAP).transpose(2, 0, 3, 1, 4)
    return grid.reshape(channels, rows * (height + _GAP), columns * (width + _GAP))[:, :-_GAP, :-_GAP]


def encode(image: NDArray[np.uint8], provenance: Provenance, form: Form = "png") -> bytes:
    """One image uint8 [C, H, W], C of 1, 3 or 4, as a file that says what made it."""
    pixels = image[0] if image.shape[0] == 1 else np.moveaxis(image, 0, -1)
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    buffer = io.BytesIO()
    if form == "webp":
        picture.save(buffer, "WEBP", lossless=True, xmp=provenance.xmp().encode())
    else:
        info = PngInfo()
        for key, value in provenance.text().items():
            info.add_text(key, value)
        info.add_itxt("XML:com.adobe.xmp", provenance.xmp())
        picture.save(buffer, "PNG", pnginfo=info, compress_level=_PNG_LEVEL)
    return buffer.getvalue()
