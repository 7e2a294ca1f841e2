"""Bodies: bytes -> fields.

JSON holds all of them; the query may hold `format`. A body of arrays holds those that there are one of a row, and the
query holds the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError
from pydantic_core import to_json
from starlette.requests import ClientDisconnect

from latentserve.service.encoding.documents import Format
from latentserve.service.errors import InvalidError, MalformedError, TooLargeError, UnsupportedMediaError
from latentserve.service.http.arrays import read_npy, read_npz
from latentserve.service.http.call import Call
from latentserve.service.http.coding import coding_of, decode
from latentserve.service.http.json_pieces import read_members
from latentserve.service.http.query import parameters, query_fields
from latentserve.service.http.repeated import refuse_repeated
from latentserve.service.http.turns import Turns
from latentserve.service.sampling.fields import SHOWN, NameField, SampleFields, StrictFields, TypedLabel, first_error
from latentserve.service.sampling.pieces import Steps
from latentserve.service.sampling.unsent import Share
from latentserve.service.settings import Settings

JSON, NPY = "application/json", "application/x-npy"
_JSON = JSON.encode()
NPZ = ("application/x-npz", "application/zip")
_ALSO_JSON = re.compile(r"text/json|application/[^/]+\+json")  # of pages, browsers ask first whether they may send it
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # that some clients put before JSON, and may be ignored (RFC 8259, section 8.1)

Kind = TypeVar("Kind", bound=StrictFields)

_IN_ITS_PLACE: Sequence[object] = ({}, {})  # of a list that has to be there
_LONG_BYTES = 1 << 14  # of JSON that is not read at once: a parser takes up to two milliseconds for fewer


class AnswerFields(StrictFields):
    """Of which model rows are wanted, and how they are to be answered."""

    model: NameField | None = Field(default=None, description="Which, where several are served.")
    version: NameField | None = Field(default=None, description="Of it, where several are served.")
    deterministic: bool = Field(
        default=False, description="Bit for bit the same rows, whatever they are asked for with."
    )
    dtype: Literal["float32", "uint8"] = Field(
        default="float32", description="Of npy and raw answers; uint8 of pictures."
    )
    format: Format | None = Field(default=None, description="Of the answer, by name, instead of Accept.")
    signed: bool | None = Field(
        default=None,
        description="Sign pictures, sounds and ZIP archives (C2PA); null: where the server always does.",
    )
    address: bool = Field(default=False, description="Tell the seed and number of each row as columns of a table.")


class SamplesBody(SampleFields, AnswerFields):
    """What a client may ask for: what makes a row, and `AnswerFields`."""


Answered = TypeVar("Answered", bound=AnswerFields)


def accepted(call: Call) -> str:
    """What media types the client takes."""
    return call.headers.get(b"accept", b"").decode("latin-1")


async def read_body(call: Call, limit: int, share: Share | None = None) -> bytes:
    """The whole body, decoded, held in `share` as it comes.

    Raises ClientDisconnect, QueueFullError, UnsupportedEncodingError, BadRequestError, and TooLargeError before the
    rest of it is read.
    """
    coding = coding_of(call.headers)
    stated = call.headers.get(b"content-length", b"0")
    if stated.isdigit() and int(stated) > limit:
        raise TooLargeError(f"the body has {int(stated)} bytes; at most {limit} are taken")
    content = bytearray()  # bytes would be copied whole for each piece that arrives
    more = True
    while more:
        message = await call.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece = message.get("body", b"")
        if share is not None:
            share.take(len(piece))
        content += piece
        more = message.get("more_body", False)
        if len(content) > limit:
            raise TooLargeError(f"the body has more than the {limit} bytes that are taken")
    if coding is None:
        return bytes(content)
    decoded = await decode(bytes(content), limit, coding)
    if share is not None:
        share.take(len(decoded))
    return decoded


async def read_fields(call: Call, settings: Settings, share: Share, readers: Turns) -> SamplesBody:
    """The fields of a call for samples; long bodies are read in turns.

    Raises what `read_body` does, UnsupportedMediaError, MalformedError, MalformedArraysError, InvalidError.
    """
    media = media_of(call, (JSON, NPY, *NPZ))
    if media == JSON:
        query = call.scope.get("query_string", b"")
        of_query = _answered(query, AnswerFields) if query else None
        content = await read_body(call, settings.max_body_bytes, share)
        fields = await parse_in_turns(content, SamplesBody, readers)
        return fields if of_query is None else _joined(fields, of_query)
    limit = settings.max_latents_bytes
    fields = parse_query(call.scope.get("query_string", b""))
    content = await read_body(call, limit, share)
    if media == NPY:
        return fields.model_copy(update={"latents": read_npy(content)})
    share.take(limit)  # as much as it may be inflated to
    return fields.model_copy(update=await readers.result(read_npz(content, limit)))


async def read_json(call: Call, limit: int, share: Share) -> bytes:
    """A body that is JSON, and holds every field. Raises what `read_body` does, UnsupportedMediaError, InvalidError."""
    media_of(call, (JSON,))
    query = call.scope.get("query_string", b"")
    for name, _ in parameters(query) if query else ():
        raise InvalidError(name[:SHOWN], "is in the query; beside a JSON body every field is in the body")
    return await read_body(call, limit, share)


async def read_answered(
    call: Call, limit: int, share: Share, kind: type[Answered], answered: type[AnswerFields], readers: Turns
) -> Answered:
    """A JSON body of fields of a kind, beside which the query may hold `format`, as a field of `answered`.

    Raises what `read_body` does, UnsupportedMediaError, MalformedError, InvalidError.
    """
    media_of(call, (JSON,))
    query = call.scope.get("query_string", b"")
    of_query = _answered(query, answered) if query else None
    fields = await parse_in_turns(await read_body(call, limit, share), kind, readers)
    return fields if of_query is None else _joined(fields, of_query)


def media_of(call: Call, taken: Sequence[str]) -> str:
    """The media type of the body. Raises UnsupportedMediaError."""
    stated = call.headers.get(b"content-type")
    if not stated or stated == _JSON:
        return JSON
    shown = stated.decode("latin-1")
    media = shown.split(";")[0].strip().lower()
    if media not in taken:
        if JSON in taken and _ALSO_JSON.fullmatch(media):
            return JSON
        if call.headers.get(b"content-length") == b"0":
            return JSON
        are = f"{', '.join(taken)} {'is' if len(taken) == 1 else 'are'}"
        raise UnsupportedMediaError(f"Content-Type: {shown[:SHOWN]!r} is not taken; {are}")
    return media


def _answered(query: bytes, kind: type[AnswerFields]) -> AnswerFields:
    """What may be in the query beside a JSON body: how it is to be answered. Raises InvalidError."""
    for name, _ in parameters(query):
        if name != "format":
            raise InvalidError(
                name[:SHOWN], "is in the query; beside a JSON body every field but format is in the body"
            )
    return kind.of(**query_fields(query))


def _joined(fields: Answered, of_query: AnswerFields) -> Answered:
    """With the format of the query. Raises InvalidError: there is another one in the body."""
    if of_query.format is None:
        return fields
    if fields.format is not None:
        raise InvalidError("format", "is in the query and in the body")
    return fields.model_copy(update={"format": of_query.format})


def parse_query(query: bytes) -> SamplesBody:
    """The fields that a query holds. Raises InvalidError."""
    return of_query(query_fields(query))


def of_query(given: Mapping[str, Any]) -> SamplesBody:
    """The fields that a query held. Raises InvalidError."""
    fields = SamplesBody.of(**given)
    label = given.get("label")
    return fields.model_copy(update={"label": TypedLabel(label)}) if label is not None else fields


async def parse_in_turns(content: bytes, kind: type[Kind], readers: Turns) -> Kind:
    """The fields of a JSON body, a long one beside the event loop. Raises MalformedError, InvalidError."""
    return parse_as(content, kind) if len(content) <= _LONG_BYTES else await readers.result(parse_long(content, kind))


def parse_long_body(content: bytes) -> Steps[SamplesBody]:
    """What `parse_body` gives, of a long body, in steps."""
    return parse_long(content, SamplesBody)


def parse_long(content: bytes, kind: type[Kind]) -> Steps[Kind]:
    """The fields of a long body, in steps. Its lists are parsed when they are made into rows, and then raise the same;
    how long those are that have to be there is for whoever takes them."""
    content = content.removeprefix(BYTE_ORDER_MARK)
    if not content.lstrip().startswith((b"{", b"[")):
        return parse_as(content, kind)  # no list, or no JSON: it does not take long
    values, long = yield from read_members(content, kind.model_fields)
    needed = {name: _IN_ITS_PLACE for name in long if kind.model_fields[name].is_required()}
    fields = parse_as(to_json({**values, **needed}, inf_nan_mode="constants"), kind)
    return fields.model_copy(update=long)


def parse_body(content: bytes) -> SamplesBody:
    """The fields of a JSON body; an empty one asks for the defaults. Raises MalformedError, InvalidError."""
    return parse_as(content, SamplesBody)


def parse_as(content: bytes, kind: type[Kind]) -> Kind:
    """The fields of a JSON body of another kind."""
    content = content.removeprefix(BYTE_ORDER_MARK) or b"{}"
    try:
        fields: Kind = kind.__pydantic_validator__.validate_json(content).known()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            wide = " (JSON is sent as UTF-8, and this is UTF-16)" if b"\0" in content[:4] else ""
            raise MalformedError(f"the body is not JSON: {first['msg']}{wide}") from None
        raise first_error(error) from None
    refuse_repeated(content, len(fields.model_fields_set))
    return fields
