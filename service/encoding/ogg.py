"""Ogg pages with one serial number always: what writes them draws one, and equal requests are to have equal bytes.

"The Ogg Encapsulation Format Version 0" (RFC 3533), section 6.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_HEADER_BYTES = 27  # up to the table of segments
_SERIAL, _CHECKSUM, _SEGMENTS = 14, 22, 26  # where they stand in it
_NUMBER = struct.Struct("<I")
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Pages:
    """A stream of pages, of which some bytes come at a time."""

    def __init__(self) -> None:
        self._left = b""

    def renumbered(self, content: bytes) -> Iterator[bytes]:
        """The pages that are whole now, of the stream number 1."""
        self._left += content
        while len(self._left) >= _HEADER_BYTES:
            body = _HEADER_BYTES + self._left[_SEGMENTS]
            end = body + sum(self._left[_HEADER_BYTES:body])
            if len(self._left) < max(body, end):
                return
            page, self._left = bytearray(self._left[:end]), self._left[end:]
            _NUMBER.pack_into(page, _SERIAL, 1)
            _NUMBER.pack_into(page, _CHECKSUM, 0)
            _NUMBER.pack_into(page, _CHECKSUM, checksum(page))
            yield bytes(page)


def checksum(page: bytes | bytearray) -> int:
    """CRC-32 with the polynomial of zlib's, but the highest bit of each byte first, and nothing inverted."""
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
