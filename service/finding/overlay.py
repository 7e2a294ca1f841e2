"""A picture laid over rows that were made again: which of them it is, whole or a part of it, and how far it is away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from latentserve.service.finding.features import Pixels, Query, Window

_STEPS = (0.02, 0.01, 0.005, 0.0025)  # of a side, by which edges of a part are moved
_TURNS = 6  # of each step, at the most
_SOME, _FEW = 8, 3  # rows that are gone on with: the nearest as they were found, and after the first step
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
    """

    place: int
    window: Window
    distance: float
    share: float


def lay_over(query: Query, rows: Sequence[Pixels], windows: Sequence[Window]) -> Laid:
    """The best of rows uint8 [H, W, C], one at least; `windows` is about where the picture may be a part of each."""
    sheets = [_Sheet(query, row) for row in rows]
    tried = sorted((sheet.squares(windows[at]), windows[at], at) for at, sheet in enumerate(sheets))
    for steps, few in ((_STEPS[:1], _SOME), (_STEPS[1:], _FEW)):
        tried = sorted((*sheets[at].settle(so_far, of, steps), at) for so_far, of, at in tried[:few])
    squares, window, place = tried[0]
    distance = math.sqrt(squares) / 255
    return Laid(place, window, distance, distance / max(query.contrast, 1e-9))


class _Sheet:
    """One row, of which parts are brought to the size of the picture."""

    def __init__(self, query: Query, row: Pixels) -> None:
        self._toned = query.toned.astype(np.float32)
        height, width = self._toned.shape[:2]
        self._size = width, height
        self._row = Image.fromarray(row[..., 0] if row.shape[2] == 1 else row)
        if self._row.mode != "L":
            self._row = self._row.convert("YCbCr")
        much = min(self._row.width / width, self._row.height / height)
        if much > 4:
            self._row = self._row.reduce(int(much / 2))

    def squares(self, window: Window) -> float:
        """The mean squared difference; of colours at half the size, for JPEG keeps no more of them."""
        width, height = self._row.size
        right, bottom = min(width, window.right * width), min(height, window.bottom * height)
        box = max(0.0, window.left * width), max(0.0, window.top * height), right, bottom
        part = np.asarray(self._row.resize(self._size, Image.Resampling.BICUBIC, box=box))
        apart = part.reshape(self._toned.shape) - self._toned
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
