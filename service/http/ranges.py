"""Parts of answers: `Range` and `If-Range` (RFC 9110, sections 13.1.5 and 14)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from latentserve.service.errors import RangeError

# One range of bytes; of several at once, or of another unit, none need be taken.
_ONE = re.compile(rb"bytes[ \t]*=[ \t,]*([0-9]{0,30})[ \t]*-[ \t]*([0-9]{0,30})[ \t,]*", re.IGNORECASE)


def asked_range(headers: Mapping[bytes, bytes], tag: bytes) -> bytes | None:
    """The `Range` that is to be answered; None: all is. With an `If-Range` of another tag, or of a date, which no
    answer has, it is not."""
    asked, only_if = headers.get(b"range"), headers.get(b"if-range")
    return asked if asked is not None and _ONE.fullmatch(asked) and only_if in (None, tag) else None


def part_of(asked: bytes, length: int) -> slice | None:
    """The bytes that a range means of an answer of so many; None: it means none, and all is answered. Raises
    RangeError: there are no such."""
    found = _ONE.fullmatch(asked)
    first, last = (found[1], found[2]) if found is not None else (b"", b"")
    if not first and not last:
        return None
    if not first:
        start, stop = max(0, length - int(last)), length
    else:
        start, stop = int(first), min(length, int(last) + 1) if last else length
        if last and int(last) < int(first):
            return None
    if start >= length or start >= stop:
        raise RangeError(f"Range: {asked[:100].decode('latin-1')!r} of an answer of {length} bytes", length)
    return slice(start, stop)
