"""The data of tensors, as JSON in the header of a request and as bytes behind it.

A list of a million numbers is cut out of the header as text before a parser sees it: the parser then gets some
kilobytes of it at a time, and what is left is short.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from latentserve.service.errors import BadRequestError, InvalidError, MalformedError, TooLargeError
from latentserve.service.sampling.pieces import Steps

Datatype = Literal["FP32", "INT64"]
DTYPES: dict[Datatype, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "INT64": np.dtype("<i8")}

HEADER_BYTES = 1 << 14  # of JSON beside the data of tensors: a parser takes up to two milliseconds for as many
_PIECE_BYTES = 1 << 14  # of data that are parsed at a time
_SEARCHED_BYTES = 1 << 18  # that are searched at a time

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_LIST_OPENS = re.compile(rb"[ \t\n\r]*:[ \t\n\r]*\[")
_NO_STRING_OR_OBJECT = re.compile(rb'[^"{}]*')
_NOT_STRUCTURE = bytes(set(range(256)) - set(b"[],"))
_BRACKETS_AS_BLANKS = bytes.maketrans(b"[]", b"  ")
# A bracket opens behind a comma or a bracket, and closes before one.
_MISPLACED = re.compile(rb"[^\s,\[]\s*\[|\]\s*[^\s,\]]")


class Span(NamedTuple):
    """Where in a text a list stands."""

    start: int
    stop: int


def cut_data(text: bytes) -> Steps[tuple[bytes, list[Span]]]:
    """A header with an empty list in the place of each list that is called `data`; and where those stand.

    Raises TooLargeError: what is left has more than HEADER_BYTES.
    """
    left: list[bytes] = []
    spans: list[Span] = []
    size = begin = at = 0
    while (quote := text.find(b'"', at)) >= 0:
        if size + quote - begin > HEADER_BYTES or (string := _STRING.match(text, quote, quote + HEADER_BYTES)) is None:
            break  # what is left is too long, or no JSON
        at = string.end()
        if string[0] != b'"data"' or (opening := _LIST_OPENS.match(text, at, at + HEADER_BYTES)) is None:
            continue
        start = end = opening.end() - 1
        while (searched := _NO_STRING_OR_OBJECT.match(text, end, end + _SEARCHED_BYTES)) and searched.end() > end:
            end = searched.end()
            yield
        if (last := text.rfind(b"]", start, end)) < 0:
            continue  # it holds something else, and is refused with the rest
        spans.append(Span(start, last + 1))
        left += (text[begin:start], b"[]")
        size += start - begin
        begin = at = last + 1
    left.append(text[begin : begin + HEADER_BYTES + 1])
    header = b"".join(left)
    if len(header) > HEADER_BYTES:
        raise TooLargeError(
            f"the JSON has more than {HEADER_BYTES} bytes beside the data of tensors; where bytes follow it, "
            "Inference-Header-Content-Length says where it ends"
        )
    return header, spans


def read_list(text: bytes, span: Span, shape: Sequence[int], datatype: Datatype, field: str) -> Steps[NDArray[Any]]:
    """The numbers of a list, in its shape: one after the other, or nested as the shape is.

    Raises MalformedError, InvalidError.
    """
    count = math.prod(shape)
    unlike = InvalidError(
        f"{field}.data", f"is not {count} numbers, one after the other or nested as the shape {list(shape)} is"
    )
    if 2 * count + 1 > span.stop - span.start:  # a digit each, and what stands between: no memory is taken for more
        raise unlike
    values = np.empty(count, DTYPES[datatype])
    read = at = 0
    expected = b""
    for piece in _pieces(text, span, field):
        if _MISPLACED.search(piece) is not None:
            raise MalformedError(f"{field}.data: the body is not JSON: a bracket stands where none may")
        structure = piece.translate(None, _NOT_STRUCTURE)
        expected = expected or _nested(shape if structure.startswith(b"[[") else [count])
        numbers = _numbers(piece, datatype, field)
        if not expected.startswith(structure, at) or read + len(numbers) > count:
            raise unlike
        values[read : read + len(numbers)] = numbers
        read += len(numbers)
        at += len(structure) + 1  # and the comma between two pieces
        yield
    if read != count or at != len(expected) + 1:
        raise unlike
    return values.reshape(shape)


def _pieces(text: bytes, span: Span, field: str) -> Iterator[bytes]:
    """Of a list, without the commas between them."""
    at, stop = span
    while stop - at > _PIECE_BYTES:
        comma = text.rfind(b",", at, at + _PIECE_BYTES)
        if comma < 0:
            raise InvalidError(f"{field}.data", "holds a value that is too long")
        yield text[at:comma]
        at = comma + 1
    yield text[at:stop]


def _numbers(piece: bytes, datatype: Datatype, field: str) -> NDArray[Any]:
    try:
        values = from_json(b"[%b]" % piece.translate(_BRACKETS_AS_BLANKS))
    except ValueError as error:
        reason = str(error).partition(" at line")[0]
        raise MalformedError(f"{field}.data: the body is not JSON: {reason}") from None
    kinds = set(map(type, values))
    if datatype == "INT64" and kinds - {int}:
        raise InvalidError(f"{field}.data", "holds what is no integer")
    if kinds - {int, float}:  # a bool is none
        raise InvalidError(f"{field}.data", "holds what is no number")
    try:
        if datatype == "INT64":
            return np.fromiter(values, np.int64, len(values))
        wide = np.fromiter(values, np.float64, len(values))
    except OverflowError:
        raise InvalidError(f"{field}.data", f"holds a number that {datatype} has not") from None
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float32)
    if (np.isinf(narrow) & np.isfinite(wide)).any():
        raise InvalidError(f"{field}.data", "holds a number that FP32 has not")
    return narrow


def _nested(shape: Sequence[int]) -> bytes:
    """The brackets and commas of a list of this shape, no side of which is 0."""
    inside = b""
    for side in reversed(shape):
        inside = b"[" + (inside + b",") * (side - 1) + inside + b"]"
    return inside


def view_bytes(
    content: bytes, start: int, size: int, shape: Sequence[int], datatype: Datatype, field: str
) -> NDArray[Any]:
    """The same of `size` bytes from `start` on: little-endian, in C order; no copy.

    Raises InvalidError, and BadRequestError where the content ends before they do.
    """
    dtype = DTYPES[datatype]
    if size != (needed := math.prod(shape) * dtype.itemsize):
        field = f"{field}.parameters.binary_data_size"
        raise InvalidError(field, f"is {size}; the shape {list(shape)} of {datatype} has {needed} bytes")
    if start + size > len(content):
        raise BadRequestError(
            f"{field}: has {size} bytes of data; {max(0, len(content) - start)} of them are in the body"
        )
    values: NDArray[Any] = np.frombuffer(content, dtype, math.prod(shape), start)
    return values.reshape(shape)
