"""Query parameters of `/v1/samples` -> fields, as strictly as a body's: each once, none unknown, numbers as JSON has
them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from latentserve.service.errors import InvalidError
from latentserve.service.sampling.fields import CHOOSING, SHOWN, TypedLabel

_MOST = 1000  # parameters
_SHORT = 256  # bytes of a query that is worth its place in memory
_CONDITION = "condition."
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,19})", re.ASCII)
_EMPTY = re.compile(r"^&+|&+(?=&|$)")  # what is between two `&`, before the first and behind the last, and is nothing
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,99})(\.[0-9]{1,99})?([eE][-+]?[0-9]{1,4})?", re.ASCII)
_BOOLEANS = {"true": True, "false": False}


def parameters(query: bytes) -> list[tuple[str, str]]:
    """Names and values, in order. Raises InvalidError."""
    if not query:
        return []
    try:
        text = _EMPTY.sub("", query.decode("ascii"))
        return parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_MOST)
    except ValueError as error:  # bytes that are no text, among them
        raise InvalidError("query", f"is not made of NAME=VALUE: {str(error)[:SHOWN]}") from None


def integer(text: str) -> int | str:
    """The integer that a text is as JSON has it, else the text."""
    return int(text) if _INTEGER.fullmatch(text) else text


def query_fields(query: bytes) -> Mapping[str, Any]:
    """Values by field, still to be checked; those of `condition.NAME` together in `condition`. Raises InvalidError."""
    return _often(query) if len(query) <= _SHORT else _fields(query)  # clients that name a seed in the path ask alike


@lru_cache(1024)
def _often(query: bytes) -> Mapping[str, Any]:
    return _fields(query)


def _fields(query: bytes) -> Mapping[str, Any]:
    fields: dict[str, Any] = {}
    for name, text in parameters(query):
        if name in ("latents", "labels", "conditions", "condition") or name in CHOOSING:
            raise InvalidError(name, "is not taken from the query")
        value: object = text
        if name in ("n", "seed", "offset"):
            value = integer(text)
        elif name == "truncation" or name.startswith(_CONDITION):
            value = float(text) if _NUMBER.fullmatch(text) else text
        elif name in ("deterministic", "address", "signed"):
            value = _BOOLEANS.get(text, text)
        elif name == "label":
            value = TypedLabel(text)
        into, key = fields, name
        if name.startswith(_CONDITION):
            into, key = fields.setdefault("condition", {}), name.removeprefix(_CONDITION)
        if key in into:
            raise InvalidError(name[:SHOWN], "is given twice")
        into[key] = value
    return fields
