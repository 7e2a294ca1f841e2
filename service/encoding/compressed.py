"""A document in a content coding."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Literal

from latentserve.service.encoding.document import Document, Piece
from latentserve.service.encoding.rows import Rows

Coding = Literal["gzip", "deflate"]
CODINGS: tuple[Coding, ...] = ("gzip", "deflate")

_WINDOWS = {"gzip": 31, "deflate": 15}  # zlib's numbers for each one's header, and the largest window
_LEVEL = 1  # others make numbers a few percent smaller, in several times as long
_STATE_BYTES = 1 << 18  # of a compressor
_PIECE_BYTES = 1 << 16  # that are compressed at a time: a millisecond or two


class Compressed(Document):
    """Another document, compressed as it is written."""

    def __init__(self, document: Document, coding: Coding) -> None:
        self._document = document
        self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOWS[coding])
        self.in_one_go, self.has_room = document.in_one_go, document.has_room
        self.headers = (
            *(header for header in document.headers if header[0] != b"content-length"),
            (b"content-encoding", coding.encode()),
            (b"vary", b"Accept-Encoding"),
        )
        self.size, self.held = document.size, document.held + _STATE_BYTES

    def opening(self) -> bytes:
        """What comes before the rows."""
        return self._compressor.compress(self._document.opening())

    def rows(self, part: Rows) -> Iterator[Piece]:
        """The next rows."""
        for piece in self._document.rows(part):
            view = memoryview(piece)
            for start in range(0, len(view), _PIECE_BYTES):
                yield self._compressor.compress(view[start : start + _PIECE_BYTES])

    def conclude(self, told: Mapping[str, object]) -> None:
        """Hand on what is known of the answer."""
        self._document.conclude(told)

    def closing(self) -> Iterator[Piece]:
        """What comes after them."""
        for piece in self._document.closing():
            yield self._compressor.compress(piece)
        yield self._compressor.flush()
