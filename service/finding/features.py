"""What a picture is looked up by: the means of its colours in a grid of cells, and those of a picture for each part of
such a one that it may be.

A perceptual hash of a whole picture has little in common with that of a part. Means of cells do: which of a row's cells
a part covers, and where they lie in the part, follows from where it was cut. So a row is kept as its cells, and a
picture is compared with it as a whole and as parts that were cut here and there, each by the cells that it covers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentserve.service.bundle import SampleSpec
from latentserve.service.verifying.content import Coding

_CELLS = {1: 12, 3: 8}  # on a side, by the number of colours
_COVERED = 0.6  # of a cell, that a part covers, for the cell to be compared
_LEAST_SIDE = 6  # pixels of a picture that is looked up,
_LEAST_CONTRAST = 0.02  # of which this is the standard deviation, in parts of the full scale
_MOST_SIDE = 64  # it is compared at this size at the most: finer detail is what is lost when a picture is written anew
_LONG = 1.34  # times wider or higher than the rows: it was squeezed, not cut

# Of a side, that a part has of it; and how far apart the places are where it may have been cut, in sides.
COARSE = ((1.0, 0.9, 0.8), 0.05)
FINE = ((1.0, 0.95, 0.9, 0.85, 0.8), 0.025)

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Window(NamedTuple):
    """A part of a picture, from where to where, in parts of its sides."""

    left: float
    top: float
    right: float
    bottom: float


class Parts(NamedTuple):
    """A picture as each of k parts of a row: `cells` float32 [k, d], 0 to 1, and which of the row's it covers,
    `covered` [k, d] of 0 and 1."""

    windows: Sequence[Window]
    cells: Floats
    covered: Floats

    def distances(self, features: NDArray[np.uint8]) -> Floats:
        """The mean squared difference [n, k] between rows' features [n, d] and the picture as each of the parts."""
        rows = features.astype(np.float32)
        cells = self.cells * np.float32(255)
        told = cells * self.covered
        squares = np.square(rows) @ self.covered.T - rows @ (2 * told).T + (told * cells).sum(axis=1)
        return np.maximum(squares, 0, out=squares) / (255 * 255 * self.covered.sum(axis=1))


class Query:
    """A picture that is looked up among rows of pictures of some kind.

    Attributes:
        pixels: as it is compared, uint8 [h, w, C].
        toned: the same as `tones` has it.
        whole: whether it is compared at its own size.
        coding: how JPEG wrote it, where that is known.
        contrast: the standard deviation of its pixels, in parts of the full scale, of their tones.
    """

    def __init__(self, picture: Pixels, spec: SampleSpec, coding: Coding | None = None) -> None:
        """`picture` uint8 [H, W, 4] of red, green, blue and opacity, which is not compared."""
        colours, height, width = _colours(spec), *spec.shape[1:]
        image = Image.fromarray(picture).convert("L" if colours == 1 else "RGB")
        scale = min(1.0, _MOST_SIDE / max(image.size), width / image.width, height / image.height)
        size = max(1, round(scale * image.width)), max(1, round(scale * image.height))
        self.whole, self.coding = size == image.size, coding
        if not self.whole:
            image = image.resize(size, Image.Resampling.BICUBIC)
        self.pixels: Pixels = np.asarray(image).reshape(size[1], size[0], colours)
        self.toned = tones(image)
        self.contrast = math.sqrt(self.toned.reshape(-1, colours).astype(np.float64).var(axis=0).mean()) / 255
        self._cells = _CELLS[colours]
        longer = image.width * height / (image.height * width)
        self._longer = longer if 1 / _LONG < longer < _LONG else 1.0

    @property
    def plain(self) -> bool:
        """Whether there is too little in it to tell it from others by."""
        return self.contrast < _LEAST_CONTRAST or min(self.pixels.shape[:2]) < _LEAST_SIDE

    def parts(self, sizes: Sequence[float], step: float) -> Parts:
        """The picture as parts of a row, of these sizes, that were cut in steps of so much."""
        values = self.pixels.astype(np.float32) / np.float32(255)
        height, width, colours = values.shape
        windows: list[Window] = []
        cells, covered = [], []
        for size in sizes:
            across, down = min(1.0, size * self._longer), min(1.0, size / self._longer)
            columns, rows = _places(across, step), _places(down, step)
            of_x = [_means(self._cells, at, at + across, width) for at in columns]
            of_y = [_means(self._cells, at, at + down, height) for at in rows]
            by_x, by_y = np.stack([weights for weights, _ in of_x]), np.stack([weights for weights, _ in of_y])
            banded = np.einsum("yah,hwc->yawc", by_y, values, optimize=True)
            told = np.einsum("xbw,yawc->yxabc", by_x, banded, optimize=True)
            there = np.einsum("ya,xb->yxab", np.stack([one for _, one in of_y]), np.stack([one for _, one in of_x]))
            cells.append(told.reshape(-1, self._cells**2 * colours))
            covered.append(np.repeat(there.reshape(-1, self._cells**2), colours, axis=1))
            windows += [Window(x, y, x + across, y + down) for y, x in product(rows, columns)]
        return Parts(windows, np.concatenate(cells), np.concatenate(covered))


def tones(image: Image.Image) -> Pixels:
    """A picture as it is laid over others, uint8 [h, w, C]: grey, or brightness and two colours, as JPEG has them."""
    return np.asarray(image if image.mode == "L" else image.convert("YCbCr")).reshape(image.height, image.width, -1)


def dimensions(spec: SampleSpec) -> int:
    """Of a row's feature."""
    colours = _colours(spec)
    return _CELLS[colours] ** 2 * colours


def features_of(pixels: Pixels) -> NDArray[np.uint8]:
    """Of rows uint8 [n, C, H, W], uint8 [n, d]: the mean of each colour in each cell."""
    colours = _SHOWN[pixels.shape[1]]
    cells = _CELLS[colours]
    values = pixels[:, :colours].astype(np.float32)
    down, _ = _means(cells, 0.0, 1.0, pixels.shape[2])
    across, _ = _means(cells, 0.0, 1.0, pixels.shape[3])
    means = np.einsum("ah,nchw,bw->nabc", down, values, across, optimize=True)
    return np.rint(means).astype(np.uint8).reshape(len(pixels), -1)


def shown(pixels: Pixels) -> Pixels:
    """A row uint8 [C, H, W] as it is compared, [H, W, C], without its opacity."""
    return np.ascontiguousarray(np.moveaxis(pixels[: _SHOWN[len(pixels)]], 0, -1))


_SHOWN = {1: 1, 3: 3, 4: 3}  # colours of so many channels


def _colours(spec: SampleSpec) -> int:
    return _SHOWN[spec.shape[0]]


def _places(size: float, step: float) -> list[float]:
    """Where a part of this size may begin."""
    count = round((1 - size) / step)
    return [(1 - size) * place / count for place in range(count + 1)] if count else [(1 - size) / 2]


@lru_cache(maxsize=1024)
def _means(cells: int, low: float, high: float, pixels: int) -> tuple[Floats, Floats]:
    """The weights [cells, pixels] of pixels that lie between `low` and `high` of a side, in each of its cells' means;
    and which cells they cover."""
    edges = np.clip((np.arange(cells + 1) / cells - low) / (high - low), 0, 1) * pixels
    first, last = edges[:-1, None], edges[1:, None]
    at = np.arange(pixels)
    overlap = np.clip(np.minimum(last, at + 1) - np.maximum(first, at), 0, None)
    size = (last - first)[:, 0]
    whole = pixels / (cells * (high - low))
    covered = (size >= _COVERED * whole).astype(np.float32)
    return (overlap / np.maximum(size, 1e-9)[:, None]).astype(np.float32), covered
