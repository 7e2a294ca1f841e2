"""Answers that are signed: each file in them says, by Content Credentials (C2PA), who made it and that it is as it was
made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from latentserve.service.encoding.document import FLAC, GIF, MP3, PNG, WAV, WEBP, ZIP, Document, Piece
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.rows import Rows
from latentserve.service.errors import TooLargeError

SIGNED_FILES = (PNG, WEBP, GIF, WAV, MP3, FLAC)  # that hold a manifest
SIGNABLE = (*SIGNED_FILES, ZIP)  # each of whose members holds one, or has it beside it

MOST_BYTES = 64 << 20  # of a file that is signed: it is held until it is whole
_QUICK_BYTES = 1 << 20  # of one that is signed in a few milliseconds
_COPIES = 3  # of a file that are held while it is signed: as it was made, whole, and signed


class Signer(Protocol):
    """What signs files.

    Attributes:
        size: bytes of a signature and what it signs beside the mark, at the most.
    """

    size: int

    def sign(self, content: bytes, media: str, mark: Mapping[str, Any]) -> bytes:
        """The file of this media type, one of `SIGNED_FILES`, with a manifest that has the mark."""

    def beside(self, content: bytes, media: str, mark: Mapping[str, Any]) -> bytes:
        """The manifest of a file of another type, which is to be kept beside it."""


def require_room(size: int) -> None:
    """Raises TooLargeError: a file of so many bytes is not held."""
    if size > MOST_BYTES:
        raise TooLargeError(f"n: the file would have up to {size} bytes; at most {MOST_BYTES} are signed")


class Signed(Document):
    """Another document, held until it is whole, and signed then. Raises TooLargeError."""

    def __init__(self, document: Document, media: str, n: int, provenance: Provenance, signer: Signer) -> None:
        require_room(document.size)
        self._document, self._media = document, media
        self._n, self._provenance, self._signer = n, provenance, signer
        self._pieces: list[Piece] = []
        self._begun = False
        self.has_room = document.has_room
        self.headers = tuple(header for header in document.headers if header[0] != b"content-length")
        self.size = document.size + signer.size + 2 * provenance.rows_mark_bytes(n)
        self.held = document.held + _COPIES * self.size
        self.in_one_go = document.in_one_go or document.size > _QUICK_BYTES

    def opening(self) -> bytes:
        """Nothing yet."""
        self._pieces.append(self._document.opening())
        return b""

    def rows(self, part: Rows) -> Iterator[Piece]:
        """Nothing yet."""
        if not self._begun:
            self._begun = True
            self._provenance = self._provenance.knowing(part, self._n)
        for piece in self._document.rows(part):
            self._pieces.append(bytes(piece))
            yield b""

    def conclude(self, told: Mapping[str, object]) -> None:
        """Hand on what is known of the answer."""
        self._document.conclude(told)

    def closing(self) -> Iterator[Piece]:
        """The file."""
        for piece in self._document.closing():
            self._pieces.append(bytes(piece))
            yield b""
        content = b"".join(self._pieces)
        self._pieces.clear()
        yield self._signer.sign(content, self._media, self._provenance.mark(self._n))
