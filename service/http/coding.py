"""`Content-Encoding` of bodies: gzip and deflate are taken, decoded within the limits of any body."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from latentserve.service.errors import BadRequestError, TooLargeError, UnsupportedEncodingError

_MOST_MEMBERS = 1000
_PIECE_BYTES = 1 << 16
_FEW_BYTES = 1 << 14  # that are decoded in less time than a thread takes to be told of it


@dataclass(frozen=True, slots=True)
class Coding:
    """How a body was compressed: zlib's number for its header and largest window, and how many such there may be, one
    after the other (RFC 1952, section 2.2; RFC 1950 knows one)."""

    name: str
    window: int
    most_members: int


GZIP, DEFLATE = Coding("gzip", 31, _MOST_MEMBERS), Coding("deflate", 15, 1)
_NONE = (b"", b"identity")
_CODINGS = {b"gzip": GZIP, b"x-gzip": GZIP, b"deflate": DEFLATE}


def coding_of(headers: Mapping[bytes, bytes]) -> Coding | None:
    """How a body is to be decoded; None: it is as it was. Raises UnsupportedEncodingError."""
    stated = headers.get(b"content-encoding")
    if stated is None or (name := stated.strip().lower()) in _NONE:
        return None
    if name in _CODINGS:
        return _CODINGS[name]
    raise UnsupportedEncodingError(
        f"Content-Encoding: {stated[:100].decode('latin-1')!r} is not taken", "gzip, deflate"
    )


async def decode(content: bytes, limit: int, coding: Coding = GZIP) -> bytes:
    """A body as it was before. Raises BadRequestError, and TooLargeError where it has more than `limit` bytes."""
    if len(content) <= _FEW_BYTES:
        with suppress(TooLargeError):
            return inflate(content, min(limit, _FEW_BYTES), coding)
    return await asyncio.to_thread(inflate, content, limit, coding)


def inflate(content: bytes, limit: int, coding: Coding = GZIP) -> bytes:
    """The same, here and now."""
    whole = bytearray()
    at = 0
    for _ in range(coding.most_members):
        member = zlib.decompressobj(coding.window)
        while not member.eof:
            # What a member leaves of a piece is copied: of the whole body that would take minutes.
            if not (piece := content[at : at + _PIECE_BYTES]):
                raise BadRequestError(f"Content-Encoding: the body ends before its {coding.name} does")
            try:
                whole += member.decompress(piece, limit + 1 - len(whole))
            except zlib.error as error:
                raise BadRequestError(f"Content-Encoding: the body is not {coding.name} ({error})") from None
            if len(whole) > limit:
                raise TooLargeError(f"the body, decoded, has more than the {limit} bytes that are taken")
            at += len(piece) - len(member.unused_data) - len(member.unconsumed_tail)
        if at == len(content):
            return bytes(whole)
    if coding.most_members == 1:
        raise BadRequestError(f"Content-Encoding: {len(content) - at} bytes follow the end of the {coding.name}")
    raise BadRequestError(f"Content-Encoding: the body is {coding.name} of more than {coding.most_members} members")
