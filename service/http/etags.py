"""`If-Match` and `If-None-Match`: whether an answer is the one that a client means, and whether it has it already.

`If-Unmodified-Since` and `If-Modified-Since` are passed over, as they are to be where nothing says when an answer was
modified (RFC 9110, section 13.1).
"""

from __future__ import annotations

import re

from latentserve.service.errors import PreconditionError

_TAGS = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')  # RFC 9110, section 8.8.3


def matches(if_none_match: bytes | None, tag: bytes) -> bool:
    """Whether a client has the answer of a tag already (RFC 9110, section 13.1.2); tags are compared weakly."""
    if if_none_match is None:
        return False
    tags = [named.removeprefix(b"W/") for named in _TAGS.findall(if_none_match)]
    return if_none_match.strip() == b"*" or tag in tags


def require(if_match: bytes | None, tag: bytes) -> None:
    """Raise PreconditionError where a client means other answers than the one of a tag (RFC 9110, section 13.1.1); tags
    are compared strongly."""
    if if_match is not None and if_match.strip() != b"*" and tag not in _TAGS.findall(if_match):
        raise PreconditionError(f"If-Match: the answer has the entity tag {tag.decode()}, which is not named")
