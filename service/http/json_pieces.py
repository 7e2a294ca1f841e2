"""Long JSON bodies, read a piece at a time.

A parser keeps the interpreter for as long as it works: a tenth of a second for a mebibyte of small objects, and nobody
is answered meanwhile. Here numpy finds where the elements of long lists end (as simdjson does: Langdale and Lemire,
"Parsing gigabytes of JSON per second", 2019, section 3), and the parser gets some kilobytes of them at a time, when
they are made into rows. Values and words of refusal are those of a body that is read whole; where it has several
faults, the first that is met is told.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from latentserve.service.errors import InvalidError, MalformedError
from latentserve.service.http.repeated import refuse_repeated
from latentserve.service.sampling.fields import SHOWN, ConditionField, LabelField, LatentField
from latentserve.service.sampling.pieces import InPieces, Steps

_PIECE_BYTES = 1 << 14
_LONGEST_BYTES = 1 << 17  # of a value that cannot be cut: those that make rows are shorter, or choose them

_BLANK = b" \t\n\r"
_BLANKS = re.compile(rb"[ \t\n\r]*")
_COLON = re.compile(rb"[ \t\n\r]*:[ \t\n\r]*")
_PLACE = re.compile(r"(.*) at line (\d+) column (\d+)")
_CLOSES = {b"[": b"]", b"{": b"}"}

_SPECIAL = np.isin(np.arange(256), list(b'"[]{},'))
_DEPTH = np.zeros(256, np.int8)
_DEPTH[list(b"[{")], _DEPTH[list(b"]}")] = 1, -1

_LISTS: dict[str, TypeAdapter[list[Any]]] = {
    "latents": TypeAdapter(list[LatentField]),
    "labels": TypeAdapter(list[LabelField]),
    "conditions": TypeAdapter(list[ConditionField]),
    "samples": TypeAdapter(list[Any]),
    "ends": TypeAdapter(list[dict[str, Any]]),
}
_OF_ANYTHING = ("samples", "ends")  # whose elements may hold long lists themselves, which are read whole
_OBJECT = "condition"
_WHOLE = {"where": (b"{", _LONGEST_BYTES), "latent": (b"[", 1 << 18)}  # values that are read whole, up to so many bytes


def read_members(content: bytes, known: Collection[str]) -> Steps[tuple[dict[str, Any], dict[str, InPieces]]]:
    """Of an object with no names but these: their values; and those lists, and that object, which are too long to be
    read at once. Raises MalformedError, InvalidError.
    """
    values: dict[str, Any] = {}
    long: dict[str, InPieces] = {}
    for member in _members(content, known):
        if isinstance(member, _Long):
            read: dict[str, Any] = {member.name: member}
        else:
            read = member if isinstance(member, dict) else _object(content, *member)
        for name, value in read.items():
            _require_known(name, known)
            if name in values or name in long:
                raise InvalidError(name, "is given twice")
            if isinstance(value, _Long):
                long[name] = value
            else:
                values[name] = value
        yield
    return values, long


def _members(content: bytes, known: Collection[str]) -> list[_Long | dict[str, Any] | tuple[int, int]]:
    """What stands in an object, in order: long lists; other long values by name; and from where to where there are
    short ones."""
    outline = _Outline(content)
    edges = np.concatenate([[outline.start], outline.commas(outline.start, outline.stop, 1), [outline.stop]])
    found: list[_Long | dict[str, Any] | tuple[int, int]] = []
    at = 0
    for long in [*np.flatnonzero(np.diff(edges) > _PIECE_BYTES), len(edges) - 1]:
        while at < long:
            after = min(max(at + 1, int(np.searchsorted(edges, edges[at] + _PIECE_BYTES)) - 1), long)
            found.append((int(edges[at]) + 1, int(edges[after])))
            at = after
        if at < len(edges) - 1:
            found.append(_long_member(content, outline, int(edges[at]) + 1, int(edges[at + 1]), known))
            at += 1
    if len(found) == 1 and isinstance(found[0], tuple) and not content[slice(*found[0])].strip(_BLANK):
        return []
    return found


def _object(content: bytes, start: int, stop: int, field: str = "") -> dict[str, Any]:
    """Members of an object, of which there are some; `field`: what it is the value of."""
    text = b"{%b}" % content[start:stop]
    try:
        read: dict[str, Any] = from_json(text)
    except ValueError as error:
        raise _malformed(content, start, 1, str(error)) from None
    if not read:
        raise _malformed(content, start, 0, "key must be a string at line 1 column 1")
    refuse_repeated(text, len(read), field)
    return read


def _long_member(
    content: bytes, outline: _Outline, start: int, stop: int, known: Collection[str]
) -> _Long | dict[str, Any]:
    start = outline.skip(start)
    end = outline.text.find(b'"', start + 1, stop) + 1
    colon = _COLON.match(content, end)
    if content[start : start + 1] != b'"' or not end or colon is None:
        raise _malformed(content, start, 0, "key must be a string at line 1 column 1")
    try:
        name = from_json(content[start:end])
        _require_known(name, known)
        at = colon.end()
        bracket = content[at : at + 1]
        if bracket not in _CLOSES:
            return {name: from_json(content[at:stop])}
    except ValueError as error:
        raise _malformed(content, start, 0, str(error)) from None
    last = at + len(content[at:stop].rstrip(_BLANK)) - 1
    if content[last : last + 1] != _CLOSES[bracket] or not outline.is_one(at, last):
        raise _malformed(content, last, 0, "expected `,` or `}` at line 1 column 1")
    if (bracket == b"[" and name in _LISTS) or (bracket == b"{" and name == _OBJECT):
        return _Long(content, outline, name, at, last)
    if name in _WHOLE and bracket == _WHOLE[name][0]:
        most = _WHOLE[name][1]
        if stop - at > most:
            raise InvalidError(name, f"has more than the {most} bytes that are taken")
        value = _value(content, at, stop)
        refuse_repeated(content[at:stop], 0, name)
        return {name: value}
    return {name: from_json(bracket + _CLOSES[bracket])}  # it is refused, whatever it holds


def _value(content: bytes, start: int, stop: int) -> Any:
    try:
        return from_json(content[start:stop])
    except ValueError as error:
        raise _malformed(content, start, 0, str(error)) from None


def _require_known(name: str, known: Collection[str]) -> None:
    if name not in known:
        raise InvalidError(name[:SHOWN], "unknown field")


def _require_new(part: dict[str, Any], seen: set[str], field: str) -> None:
    """Raise InvalidError for a name of a part of an object that an earlier part has."""
    for name in part:
        if name in seen:
            raise InvalidError(f"{field}.{name[:SHOWN]}", "is given twice")
    seen.update(part)


class _Outline:
    """Where the values of a JSON text begin and end, of which the outermost is an object. Raises MalformedError,
    InvalidError.

    Attributes:
        start, stop: where that object's brackets stand.
        text: as long as the content, with neither escaped quotes nor backslashes before them.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.text = content.replace(b"\\\\", b"__").replace(b'\\"', b"__") if b"\\" in content else content
        values = np.frombuffer(self.text, np.uint8)
        places = np.flatnonzero(_SPECIAL[values])
        kinds = values[places]
        quotes = kinds == ord('"')
        count = np.cumsum(quotes, dtype=np.int32)
        outside = ~quotes & (count & 1 == 0)
        self._places, self._kinds = places[outside], kinds[outside]
        self._depths = np.cumsum(_DEPTH[self._kinds], dtype=np.int32)
        self.start, self.stop = self.skip(0), len(content.rstrip(_BLANK)) - 1
        if (
            len(self._places) < 2
            or count[-1] & 1
            or (self._places[0], self._places[-1]) != (self.start, self.stop)
            or content[self.stop : self.stop + 1] != _CLOSES.get(content[self.start : self.start + 1])
            or self._depths[-1] != 0
            or self._depths[:-1].min() < 1
        ):
            raise MalformedError("the body is not JSON: its brackets or quotes do not match")
        if content[self.start : self.start + 1] == b"[":
            raise InvalidError("body", "a JSON object is needed")

    def skip(self, place: int) -> int:
        """From there, where the next character stands that is not blank."""
        found = _BLANKS.match(self._content, place)
        return found.end() if found is not None else place

    def _between(self, start: int, stop: int) -> slice:
        low, high = np.searchsorted(self._places, (start, stop))
        return slice(low, high)

    def commas(self, start: int, stop: int, depth: int) -> NDArray[np.int64]:
        """Where the commas of so many arrays and objects around stand, between two places."""
        part = self._between(start, stop)
        return self._places[part][(self._depths[part] == depth) & (self._kinds[part] == ord(","))]

    def opens(self, start: int, stop: int, depth: int) -> NDArray[np.int64]:
        """Where arrays and objects of a depth begin."""
        part = self._between(start, stop)
        return self._places[part][(self._depths[part] == depth) & (_DEPTH[self._kinds[part]] == 1)]

    def is_one(self, start: int, last: int) -> bool:
        """Whether the bracket at `start`, of depth 2, is closed at `last` and not before."""
        part = self._between(start, last + 1)
        places, closed = self._places[part], np.flatnonzero(self._depths[part] < 2)
        return len(closed) == 1 and places[closed[0]] == last


class _Piece(NamedTuple):
    """Of a list: from where to where; the number of its first element; the brackets of elements that were begun before
    it, and that end after it; and how many values of the first one came before.
    """

    start: int
    stop: int
    row: int
    begun: bytes
    unended: bytes
    column: int


class _Long:
    """A list as text, cut where its elements end, or between the values of those that are long themselves; or an
    object, between its members.
    """

    def __init__(self, content: bytes, outline: _Outline, name: str, start: int, stop: int) -> None:
        self.name = name
        self._content = content
        self._bracket = content[start : start + 1]
        ends = outline.commas(start, stop, 2)
        inner, opens = ends[:0], ends[:0]
        if self._bracket == b"[":
            inner, opens = outline.commas(start, stop, 3), outline.opens(start, stop, 3)
        blank = not len(ends) and not content[start + 1 : stop].strip(_BLANK)
        self._count = 0 if blank else len(ends) + 1
        self._pieces: list[_Piece] = []
        at, begun, column = start + 1, b"", 0
        while at <= stop and not blank:
            cut = _cut(ends, inner, at, stop)
            row, within = int(np.searchsorted(ends, at)), int(np.searchsorted(inner, cut))
            too_long = cut - at > _LONGEST_BYTES and name not in _OF_ANYTHING
            if too_long and len(outline.opens(at, cut, 4 if len(inner) else 3)):
                raise InvalidError(
                    f"{name}[{row}]" if self._bracket == b"[" else name, "holds a value that is too long"
                )
            unended, following = b"", 0
            if within < len(inner) and inner[within] == cut:
                bracket = int(opens[np.searchsorted(opens, cut) - 1])
                unended = content[bracket : bracket + 1]
                following = within + 1 - int(np.searchsorted(inner, bracket))
            self._pieces.append(_Piece(at, cut, row, begun, unended, column))
            at, begun, column = cut + 1, unended, following

    def __len__(self) -> int:
        return self._count

    def pieces(self) -> Iterator[tuple[int, list[Any]]]:
        """The elements; of an object, its parts. Raises MalformedError, InvalidError."""
        seen: set[str] = set()  # names in an object that comes in parts
        for piece in self._pieces:
            if self._bracket == b"{":
                part = _object(self._content, piece.start, piece.stop, self.name)
                _require_new(part, seen, self.name)
                yield 0, [part]
                continue
            elements = self._elements(piece)
            if piece.begun == b"{":
                _require_new(elements[0], seen, f"{self.name}[{piece.row}]")
            if len(elements) > 1 or piece.begun != b"{":
                seen = set(elements[-1]) if piece.unended == b"{" else set()
            yield piece.row, elements

    def _elements(self, piece: _Piece) -> list[Any]:
        start, stop, row, begun, unended, column = piece
        text = b"".join([b"[", begun, self._content[start:stop], _CLOSES.get(unended, b""), b"]"])
        try:
            elements = _LISTS[self.name].validate_json(text, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            if first["type"] == "json_invalid":
                raise _malformed(self._content, start, 1 + len(begun), first["ctx"]["error"]) from None
            places = [place for place in first["loc"] if isinstance(place, int)]
            places[1:] = [place + (column if places[0] == 0 else 0) for place in places[1:]]
            places[0] += row
            raise InvalidError(self.name + "".join(f"[{place}]" for place in places), first["msg"]) from None
        if not elements or (begun and not elements[0]) or (unended and not elements[-1]):
            raise _malformed(self._content, start, 0, "expected value at line 1 column 1")
        refuse_repeated(text, sum(len(one) for one in elements if isinstance(one, dict)), self.name, row)
        return elements


def _cut(ends: NDArray[np.int64], inner: NDArray[np.int64], at: int, stop: int) -> int:
    """Where a piece that begins at `at` had best end."""
    most = at + _PIECE_BYTES
    if stop <= most:
        return stop
    for commas in (ends, inner):
        last = int(np.searchsorted(commas, most, "right")) - 1
        if last >= 0 and commas[last] >= at:
            return int(commas[last])
    after = [int(commas[place]) for commas in (ends, inner) if (place := np.searchsorted(commas, most)) < len(commas)]
    return min([*after, stop])


def _malformed(content: bytes, start: int, added: int, reason: str) -> MalformedError:
    """What the parser said of a piece that begins at `start`, behind so many bytes that were `added`, of the whole."""
    told = _PLACE.fullmatch(reason)
    if told is not None:
        place = start - added - 1
        for _ in range(int(told[2]) - 1):
            place = content.find(b"\n", max(place + 1, start))
        place += int(told[3])
        line, column = content.count(b"\n", 0, place) + 1, place - content.rfind(b"\n", 0, place)
        reason = f"{told[1]} at line {line} column {column}"
    return MalformedError(f"the body is not JSON: Invalid JSON: {reason}")
