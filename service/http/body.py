"""The body of `POST /v1/samples`: bytes -> fields.

JSON holds all of them. A body of arrays holds those that there are one of a row, and the query holds the others.
"""

from __future__ import annotations

from typing import Literal

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json
from starlette.requests import ClientDisconnect

from latentserve.service.errors import InvalidError, MalformedError, TooLargeError, UnsupportedMediaError
from latentserve.service.http.arrays import read_npy, read_npz
from latentserve.service.http.call import Call
from latentserve.service.http.coding import decode, is_gzip
from latentserve.service.http.json_pieces import read_members
from latentserve.service.http.query import parameters, query_fields
from latentserve.service.http.turns import Turns
from latentserve.service.sampling.fields import SHOWN, NameField, SampleFields, TypedLabel, first_error
from latentserve.service.sampling.pieces import Steps
from latentserve.service.sampling.unsent import Share
from latentserve.service.settings import Settings

JSON, NPY = "application/json", "application/x-npy"
NPZ = ("application/x-npz", "application/zip")

_LONG_BYTES = 1 << 14  # of JSON that is not read at once: a parser takes up to two milliseconds for fewer


class SamplesBody(SampleFields):
    """What a client may ask for: what makes a row, of which model, and how it is to be answered."""

    model: NameField | None = None
    version: NameField | None = None
    deterministic: bool = False
    dtype: Literal["float32", "uint8"] = "float32"


_BODY = TypeAdapter(SamplesBody)


async def read_body(call: Call, limit: int, share: Share | None = None) -> bytes:
    """The whole body, decoded, held in `share` as it comes.

    Raises ClientDisconnect, QueueFullError, UnsupportedEncodingError, BadRequestError, and TooLargeError before the
    rest of it is read.
    """
    coded = is_gzip(call.headers)
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
    if not coded:
        return bytes(content)
    decoded = await decode(bytes(content), limit)
    if share is not None:
        share.take(len(decoded))
    return decoded


async def read_fields(call: Call, settings: Settings, share: Share, readers: Turns) -> SamplesBody:
    """The fields of a call for samples; long bodies are read in turns.

    Raises what `read_body` does, UnsupportedMediaError, MalformedError, MalformedArraysError, InvalidError.
    """
    media = _media(call)
    limit = settings.max_body_bytes if media == JSON else settings.max_latents_bytes
    query = call.scope.get("query_string", b"")
    if media == JSON:
        for name, _ in parameters(query):
            raise InvalidError(name[:SHOWN], "is in the query; beside a JSON body every field is in the body")
        content = await read_body(call, limit, share)
        if len(content) > _LONG_BYTES:
            return await readers.result(parse_long_body(content))
        return parse_body(content)
    fields = parse_query(query)
    content = await read_body(call, limit, share)
    if media == NPY:
        return fields.model_copy(update={"latents": read_npy(content)})
    share.take(limit)  # as much as it may be inflated to
    return fields.model_copy(update=await readers.result(read_npz(content, limit)))


def _media(call: Call) -> str:
    """The media type of the body. Raises UnsupportedMediaError."""
    stated = call.headers.get(b"content-type")
    if stated is None:
        return JSON
    shown = stated.decode("latin-1")
    media = shown.split(";")[0].strip().lower()
    if media not in (JSON, NPY, *NPZ):
        if call.headers.get(b"content-length") == b"0":
            return JSON
        taken = ", ".join((JSON, NPY, *NPZ))
        raise UnsupportedMediaError(f"Content-Type: {shown[:SHOWN]!r} is not taken; {taken} are")
    return media


def parse_query(query: bytes) -> SamplesBody:
    """The fields that a query holds. Raises InvalidError."""
    given = query_fields(query)
    fields = SamplesBody.of(**given)
    label = given.get("label")
    return fields.model_copy(update={"label": TypedLabel(label)}) if label is not None else fields


def parse_long_body(content: bytes) -> Steps[SamplesBody]:
    """The same of a long body, in steps. Its lists are parsed when they are made into rows, and then raise the same."""
    if not content.lstrip().startswith((b"{", b"[")):
        return parse_body(content)  # no list, or no JSON: it does not take long
    values, long = yield from read_members(content, SamplesBody.model_fields)
    fields = parse_body(to_json(values, inf_nan_mode="constants"))
    return fields.model_copy(update=long)


def parse_body(content: bytes) -> SamplesBody:
    """The fields of a JSON body; an empty one asks for the defaults. Raises MalformedError, InvalidError."""
    try:
        return _BODY.validate_json(content or b"{}").known()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise MalformedError(f"the body is not JSON: {first['msg']}") from None
        raise first_error(error) from None
