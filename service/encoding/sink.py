"""A file that is written once, from its beginning to its end, and read meanwhile."""

from __future__ import annotations

import io
from typing import Any


class Sink(io.RawIOBase):
    """What was written is `taken` in pieces; what writes it knows where it is."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Bytes that were written."""
        return self._length

    def write(self, data: Any) -> int:
        """Take bytes, or any buffer of them."""
        piece = bytes(data)
        self._pieces.append(piece)
        self._length += len(piece)
        return len(piece)

    def taken(self) -> bytes:
        """What was written since it was last asked."""
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
