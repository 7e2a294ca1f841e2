"""Names that come twice in an object of JSON: parsers take the last one without a word, and others would read another
request than ours (RFC 8259, section 4)."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from latentserve.service.errors import InvalidError
from latentserve.service.sampling.fields import SHOWN


class _Repeated(dict[str, Any]):
    """An object that has a name twice."""

    name = ""


def refuse_repeated(content: bytes, members: int, field: str = "", first: int = 0) -> None:
    """Raise InvalidError where an object of a JSON text has a name twice.

    `members`: of all its objects, as far as they were read. Each has a colon: where there are no more, none was lost.
    `field`: what the text is the value of, or a part of it, from element `first` on.
    """
    if content.count(b":") == members:
        return
    try:
        value = json.loads(content, object_pairs_hook=_object, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):  # what is no JSON is refused by whoever reads it
        return
    if (found := _path(value, field, first)) is not None:
        raise InvalidError(found, "is given twice")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    repeated, seen = _Repeated(made), Counter(name for name, _ in pairs)
    repeated.name = next(name for name, count in seen.items() if count > 1)
    return repeated


def _path(value: object, field: str, first: int = 0) -> str | None:
    """Of the first name that comes twice."""
    if isinstance(value, dict):
        start = f"{field}." if field else ""
        if isinstance(value, _Repeated):
            return start + (value.name if value.name.isprintable() else ascii(value.name))[:SHOWN]
        inner = ((f"{start}{name[:SHOWN]}", one) for name, one in value.items())
    elif isinstance(value, list):
        inner = ((f"{field}[{place}]", one) for place, one in enumerate(value, first))
    else:
        return None
    return next((found for place, one in inner if (found := _path(one, place)) is not None), None)
