"""PNG files, written a band of rows at a time ("Portable Network Graphics (PNG) Specification (Third Edition)", W3C).

Pillow writes a picture whole and keeps the interpreter while it does. Here a sheet of any height needs one band in
memory, and others' pictures come between its bands.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.uint8]

LARGEST_SIDE = (1 << 31) - 1

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}  # by channels: grey, RGB, RGBA
_LEVEL = 1  # of zlib: on noise-like samples higher levels cost twice the time for a few percent
_BAND_BYTES = 1 << 17  # of rows that are compressed at a time: a millisecond or two


class PngWriter:
    """One picture of `channels` 1, 3 or 4, 8 bits each: its `opening`, its `rows` in order, its `closing`.

    Args:
        texts: key and value pairs, for `tEXt` chunks, or `iTXt` ones where they are not ASCII.
        xmp: an XMP packet, for an `iTXt` chunk.
    """

    def __init__(self, height: int, width: int, channels: int, texts: Mapping[str, str], xmp: bytes) -> None:
        self._channels = channels
        self._above: Rows = np.zeros((1, width * channels), np.uint8)
        self._stream = zlib.compressobj(_LEVEL)
        header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
        described = [_text(key, text) for key, text in texts.items()]
        described.append(_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))
        self.opening = b"".join([_SIGNATURE, _chunk(b"IHDR", header), *described])

    def rows(self, rows: Rows) -> Iterator[bytes]:
        """The bytes of the next rows, uint8 [h, W, C], a piece for each band of them; some are empty."""
        flat = rows.reshape(len(rows), -1)
        band = max(1, _BAND_BYTES // flat.shape[1])
        for start in range(0, len(flat), band):
            part = flat[start : start + band]
            content = self._stream.compress(_filtered(part, self._above, self._channels))
            self._above = part[-1:]
            yield _chunk(b"IDAT", content) if content else b""

    def closing(self) -> bytes:
        """What comes after the last row."""
        return _chunk(b"IDAT", self._stream.flush()) + _chunk(b"IEND", b"")


def _filtered(rows: Rows, above: Rows, channels: int) -> bytes:
    """Rows uint8 [h, W * C] below the row `above`, each with the filter of section 9 that leaves the smallest
    differences (section 12.7), and its number before it."""
    up = np.concatenate([above, rows[:-1]])
    tried = np.empty((3, *rows.shape), np.uint8)
    left = np.zeros_like(rows)
    left[:, channels:] = rows[:, :-channels]
    tried[0] = rows
    np.subtract(rows, left, out=tried[1])
    np.subtract(rows, up, out=tried[2])
    # A difference of -1 is 255: as small as 1.
    cost = np.minimum(tried, -tried).sum(axis=2, dtype=np.uint32)
    best = cost.argmin(axis=0)
    result = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
    result[:, 0] = best
    result[:, 1:] = tried[best, np.arange(len(rows))]
    return result.tobytes()


def _text(key: str, text: str) -> bytes:
    if text.isascii():
        return _chunk(b"tEXt", key.encode() + b"\0" + text.encode())
    return _chunk(b"iTXt", key.encode() + b"\0\0\0\0\0" + text.encode())


def _chunk(name: bytes, content: bytes) -> bytes:
    return b"".join(
        [struct.pack(">I", len(content)), name, content, struct.pack(">I", zlib.crc32(content, zlib.crc32(name)))]
    )
