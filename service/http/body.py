"""The body of `POST /v1/samples`: bytes -> JSON -> fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from latentserve.service.errors import MalformedError, TooLargeError, UnsupportedMediaError
from latentserve.service.http.json_pieces import read_members
from latentserve.service.sampling.fields import NameField, SampleFields, first_error
from latentserve.service.sampling.pieces import Steps
from latentserve.service.sampling.unsent import Share

_JSON = b"application/json"


class SamplesBody(SampleFields):
    """What a client may ask for: what makes a row, of which model, and how it is to be answered."""

    model: NameField | None = None
    version: NameField | None = None
    deterministic: bool = False
    dtype: Literal["float32", "uint8"] = "float32"


_BODY = TypeAdapter(SamplesBody)


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, limit: int, share: Share | None = None) -> bytes:
    """The whole body, held in `share` as it comes. Raises ClientDisconnect, QueueFullError, and TooLargeError without
    reading the rest of it."""
    stated = headers.get(b"content-length", b"0")
    if stated.isdigit() and int(stated) > limit:
        raise TooLargeError(f"the body has {int(stated)} bytes; at most {limit} are taken")
    content = bytearray()  # bytes would be copied whole for each piece that arrives
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece = message.get("body", b"")
        if share is not None:
            share.take(len(piece))
        content += piece
        more = message.get("more_body", False)
        if len(content) > limit:
            raise TooLargeError(f"the body has more than the {limit} bytes that are taken")
    return bytes(content)


async def read_fields(headers: Mapping[bytes, bytes], receive: Receive, limit: int, share: Share) -> SamplesBody:
    """The fields of the body. Raises ClientDisconnect, QueueFullError, TooLargeError, UnsupportedMediaError,
    MalformedError, InvalidError.
    """
    content = await read_body(headers, receive, limit, share)
    kind = headers.get(b"content-type", _JSON)
    if content and kind != _JSON and kind.split(b";")[0].strip().lower() != _JSON:
        shown = kind[:100].decode("latin-1")
        raise UnsupportedMediaError(f"Content-Type: {shown!r} is not taken; application/json is")
    return parse_body(content)


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
