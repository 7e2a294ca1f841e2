"""The mark that an MP3 file is synthetic, and what made it: an ID3 tag before its first frame.

"ID3 tag version 2.3.0" (M. Nilsson 1999): the text frames `TSSE` and `COMM`, and in a `PRIV` frame an XMP packet
(Adobe, XMP specification, part 3, section 2.3.3).
"""

from __future__ import annotations

import struct

from latentserve.service.encoding.provenance import Provenance

_LATIN_1 = b"\0"


def id3_tag(provenance: Provenance, n: int = 1) -> bytes:
    """The tag of n rows."""
    frames = b"".join(
        [
            _frame(b"TSSE", _LATIN_1 + b"latentserve"),
            _frame(b"COMM", _LATIN_1 + b"eng" + b"\0" + provenance.sentence(n).encode("ascii")),
            _frame(b"PRIV", b"XMP\0" + provenance.xmp(n)),
        ]
    )
    size = len(frames)
    return b"ID3\3\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + frames


def _frame(name: bytes, content: bytes) -> bytes:
    return struct.pack(">4sIH", name, len(content), 0) + content
