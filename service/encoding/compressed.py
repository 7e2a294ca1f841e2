"""A document in a content coding."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator, Mapping
from typing import Literal, Protocol

from latentserve.service.encoding.document import Document, Piece
from latentserve.service.encoding.rows import Rows

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Coding = Literal["zstd", "gzip", "deflate"]
CODINGS: tuple[Coding, ...] = ("zstd", "gzip", "deflate")  # of those that are liked as well, the first takes the least

_WINDOWS = {"gzip": 31, "deflate": 15}  # zlib's numbers for each one's header, and the largest window
_LEVEL = 1  # others make numbers a few percent smaller, in several times as long
_STATE_BYTES = {"zstd": 1 << 21, "gzip": 1 << 18, "deflate": 1 << 18}  # of a compressor, at the most
_PIECE_BYTES = 1 << 16  # that are compressed at a time: a millisecond or two


class _Compressor(Protocol):
    def compress(self, data: Piece, /) -> bytes: ...

    def flush(self) -> bytes: ...


def _compressor(coding: Coding) -> _Compressor:
    if coding == "zstd":
        return zstd.ZstdCompressor(_LEVEL)
    return zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOWS[coding])


class Compressed(Document):
    """Another document, compressed as it is written."""

    def __init__(self, document: Document, coding: Coding) -> None:
        self._document = document
        self._compressor = _compressor(coding)
        self.in_one_go, self.has_room = document.in_one_go, document.has_room
        self.headers = (
            *(header for header in document.headers if header[0] != b"content-length"),
            (b"content-encoding", coding.encode()),
            (b"vary", b"Accept-Encoding"),
        )
        self.size, self.held = document.size, document.held + _STATE_BYTES[coding]

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
