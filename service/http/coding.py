"""`Content-Encoding` of bodies: gzip is taken, decoded within the limits of any body."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from contextlib import suppress

from latentserve.service.errors import BadRequestError, TooLargeError, UnsupportedEncodingError

_NONE = (b"", b"identity")
_GZIP = (b"gzip", b"x-gzip")
_GZIP_WINDOW = 31  # zlib's number for a gzip header and its largest window
_MOST_MEMBERS = 1000
_PIECE_BYTES = 1 << 16
_FEW_BYTES = 1 << 14  # that are decoded in less time than a thread takes to be told of it


def is_gzip(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a body is to be decoded. Raises UnsupportedEncodingError."""
    stated = headers.get(b"content-encoding")
    if stated is None or (coding := stated.strip().lower()) in _NONE:
        return False
    if coding in _GZIP:
        return True
    raise UnsupportedEncodingError(f"Content-Encoding: {stated[:100].decode('latin-1')!r} is not taken", "gzip")


async def decode(content: bytes, limit: int) -> bytes:
    """A gzip body as it was before. Raises BadRequestError, and TooLargeError where it has more than `limit` bytes."""
    if len(content) <= _FEW_BYTES:
        with suppress(TooLargeError):
            return inflate(content, min(limit, _FEW_BYTES))
    return await asyncio.to_thread(inflate, content, limit)


def inflate(content: bytes, limit: int) -> bytes:
    """The same, here and now."""
    whole = bytearray()
    at = 0
    for _ in range(_MOST_MEMBERS):  # one after the other (RFC 1952, section 2.2)
        member = zlib.decompressobj(_GZIP_WINDOW)
        while not member.eof:
            # What a member leaves of a piece is copied: of the whole body that would take minutes.
            if not (piece := content[at : at + _PIECE_BYTES]):
                raise BadRequestError("Content-Encoding: the body ends before its gzip does")
            try:
                whole += member.decompress(piece, limit + 1 - len(whole))
            except zlib.error as error:
                raise BadRequestError(f"Content-Encoding: the body is not gzip ({error})") from None
            if len(whole) > limit:
                raise TooLargeError(f"the body, decoded, has more than the {limit} bytes that are taken")
            at += len(piece) - len(member.unused_data) - len(member.unconsumed_tail)
        if at == len(content):
            return bytes(whole)
    raise BadRequestError(f"Content-Encoding: the body is gzip of more than {_MOST_MEMBERS} members")
