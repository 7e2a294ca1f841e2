"""`If-None-Match`: whether a client has an answer already."""

from __future__ import annotations

import re

_TAGS = re.compile(rb'"[\x21\x23-\x7e\x80-\xff]*"')  # RFC 9110, section 8.8.3


def matches(if_none_match: bytes | None, tag: bytes) -> bool:
    """Whether a client has the answer of a tag already (RFC 9110, section 13.1.2); tags are compared weakly."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == b"*" or tag in _TAGS.findall(if_none_match)
