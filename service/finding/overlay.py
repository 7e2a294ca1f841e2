"""A picture laid over rows that were made again: which of them it is, whole or a part of it, and how far it is away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from latentserve.service.finding.features import Floats, Pixels, Query, Window
from latentserve.service.finding.recoding import codings, recoded

_STEPS = (0.02, 0.01, 0.005, 0.0025)  # of a side, by which edges of a part are moved
_TURNS = 6  # of each step, at the most
_SOME, _FEW = 8, 3  # rows that are gone on with: the nearest as they were found, and after the first step,
_FAR, _FAR_STILL = 3.0, 2.0  # unless all are so many times further away than what is near: nothing brings them there
_FILTERS = (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.LANCZOS)
_LEAST_SIZE = 0.6  # of a side, that a part has
_MOVES = (
    (1, 0, 1, 0), (-1, 0, -1, 0), (0, 1, 0, 1), (0, -1, 0, -1),
    (1, 1, -1, -1), (-1, -1, 1, 1), (1, 0, -1, 0), (-1, 0, 1, 0), (0, 1, 0, -1), (0, -1, 0, 1),
)  # fmt: skip


class Laid(NamedTuple):
    """Where a picture fits best.

    Attributes:
        place: which of the rows.
        window: the part of it.
        distance: the root of the mean squared difference of pixels, of colours at half the size, in parts of the full
            scale.
        share: the same in parts of the picture's contrast.
        lost: what writing the part as the picture was written takes from it, likewise.
    """

    place: int
    window: Window
    distance: float
    share: float
    lost: float


def lay_over(query: Query, rows: Sequence[Pixels], windows: Sequence[Window], near: float = math.inf) -> Laid:
    """The best of rows uint8 [H, W, C], one at least; `windows` is about where the picture may be a part of each.

    `near`: the share that is near; where all rows are much further away than that, none is looked at more closely.
    """
    sheets = [_Sheet(query, row) for row in rows]
    tried = sorted((sheet.squares(windows[at]), windows[at], at) for at, sheet in enumerate(sheets))
    scale = 255 * max(query.contrast, 1e-9)
    for steps, few, far in ((_STEPS[:1], _SOME, _FAR), (_STEPS[1:], _FEW, _FAR_STILL)):
        squares, window, place = tried[0]
        if (share := math.sqrt(squares) / scale) > far * near:
            return Laid(place, window, share * query.contrast, share, 0.0)
        tried = sorted((*sheets[at].settle(so_far, of, steps), at) for so_far, of, at in tried[:few])
    squares, lost, window, place = min((*sheets[at].written(of), at) for _, of, at in tried)
    share = math.sqrt(squares) / scale
    return Laid(place, window, share * query.contrast, share, math.sqrt(lost) / scale)


class _Sheet:
    """One row, of which parts are brought to the size of the picture."""

    def __init__(self, query: Query, row: Pixels) -> None:
        self._query = query
        self._toned = query.toned.astype(np.float32)
        height, width = self._toned.shape[:2]
        self._size = width, height
        self._shown = Image.fromarray(row[..., 0] if row.shape[2] == 1 else row)
        much = min(self._shown.width / width, self._shown.height / height)
        if much > 4:
            self._shown = self._shown.reduce(int(much / 2))
        self._row = _toned(self._shown)

    def squares(self, window: Window) -> float:
        """The mean squared difference of the part of the row."""
        return self._squares(self._part(self._row, window, Image.Resampling.BICUBIC), self._toned)

    def written(self, window: Window) -> tuple[float, float, Window]:
        """The least difference of the part, from whole pixels on or not, as others may have made it smaller and have
        written it; how much of it that takes; and the part."""
        tried = []
        for of in dict.fromkeys((window, self._on_pixels(window))):
            for how in _FILTERS:
                part = self._part(self._shown, of, how)
                plain = _numbers(_toned(part), self._toned)
                tried.append((self._squares(_toned(part), self._toned), 0.0, of))
                for coding in codings(self._query):
                    again = _toned(recoded(part, coding))
                    tried.append((self._squares(again, self._toned), self._squares(again, plain), of))
        return min(tried)

    def _on_pixels(self, window: Window) -> Window:
        """The nearest that begins and ends with pixels of the row."""
        width, height = self._row.size
        left, top, right, bottom = window
        return Window(
            round(left * width) / width, round(top * height) / height,
            round(right * width) / width, round(bottom * height) / height,
        )  # fmt: skip

    def _part(self, row: Image.Image, window: Window, how: Image.Resampling) -> Image.Image:
        width, height = row.size
        right, bottom = min(width, window.right * width), min(height, window.bottom * height)
        box = max(0.0, window.left * width), max(0.0, window.top * height), right, bottom
        return row.resize(self._size, how, box=box)

    def _squares(self, part: Image.Image, toned: Floats) -> float:
        """The mean squared difference; of colours at half the size, for JPEG keeps no more of them."""
        apart = _numbers(part, toned) - toned
        light = apart[..., 0]
        squares = float(np.vdot(light, light)) / light.size
        if (planes := apart.shape[2]) > 1:
            height, width = (side // 2 * 2 for side in light.shape)
            pairs = apart[0:height:2, :width, 1:] + apart[1:height:2, :width, 1:]
            colours = (pairs[:, 0::2] + pairs[:, 1::2]) / 4
            squares += (planes - 1) * float(np.square(colours).mean())
        return squares / planes

    def settle(self, best: float, window: Window, steps: Sequence[float]) -> tuple[float, Window]:
        """Move and stretch the part, as long as it fits better for that."""
        for step in steps:
            for _ in range(_TURNS):
                moved = [one for move in _MOVES if (one := _moved(window, move, step)) is not None]
                squares, to = min(((self.squares(one), one) for one in moved), default=(best, window))
                if squares >= best:
                    break
                best, window = squares, to
        return best, window


def _toned(image: Image.Image) -> Image.Image:
    return image if image.mode == "L" else image.convert("YCbCr")


def _numbers(image: Image.Image, like: Floats) -> Floats:
    return np.asarray(image, np.float32).reshape(like.shape)


def _moved(window: Window, move: Sequence[int], step: float) -> Window | None:
    left, top, right, bottom = (edge + step * by for edge, by in zip(window, move, strict=True))
    if move[:2] == move[2:]:  # as a whole, no further than the edge
        across = max(0.0, left) - left or min(1.0, right) - right
        down = max(0.0, top) - top or min(1.0, bottom) - bottom
        left, right, top, bottom = left + across, right + across, top + down, bottom + down
    else:
        left, top, right, bottom = max(0.0, left), max(0.0, top), min(1.0, right), min(1.0, bottom)
    if right - left < _LEAST_SIZE or bottom - top < _LEAST_SIZE:
        return None
    return Window(left, top, right, bottom)
