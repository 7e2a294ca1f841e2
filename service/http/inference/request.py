"""The body of an inference request: bytes -> fields.

A header of JSON, and behind it the data of those inputs that say their `binary_data_size`, one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from latentserve.service.errors import BadRequestError, InvalidError, MalformedError
from latentserve.service.http.body import BYTE_ORDER_MARK
from latentserve.service.http.inference.tensors import HEADER_BYTES, Datatype, Span, cut_data, read_list, view_bytes
from latentserve.service.http.repeated import refuse_repeated
from latentserve.service.sampling.fields import SHOWN, NameField, SampleFields, StrictFields
from latentserve.service.sampling.pieces import Steps

SAMPLE = "sample"  # the one output

_MOST_TENSORS = 16
_NAMED = 2  # members on the way to any value
_CONDITION = "condition."
_SIZE = "binary_data_size"
_ASKED = ("n", "seed", "offset", "truncation", "label", "condition", "deterministic", "binary_data_output")
_HINTS = ("priority", "timeout")  # which a server may follow, and this one does not
_PARAMETERS = {*_ASKED, *_HINTS}
_INDEX = re.compile(r"[0-9]{1,18}", re.ASCII)


class _Kind(NamedTuple):
    """Of an input: the field that it is to `SampleFields`, its datatype, and its axes."""

    field: str
    datatype: Datatype
    axes: str


INPUTS: Mapping[str, _Kind] = {
    "z": _Kind("latents", "FP32", "[n, dim]"),
    "label": _Kind("labels", "INT64", "[n]"),
    "condition": _Kind("conditions", "FP32", "[n, k]"),
}
_NAMES = {kind.field: name for name, kind in INPUTS.items()}


class _Output(StrictFields):
    name: NameField
    parameters: dict[str, Any] | None = None


class _Input(_Output):
    shape: Annotated[list[Annotated[int, Field(ge=1, lt=1 << 40)]], Field(max_length=8, fail_fast=True)]
    datatype: Annotated[str, Field(max_length=16)]
    data: list[Any] | None = None


class _Parameters(SampleFields):
    deterministic: bool = False
    binary_data_output: bool = False
    priority: Any = None
    timeout: Any = None

    def known(self) -> Self:
        """With the numbers of `condition.NAME` in `condition`. Raises InvalidError: there is an unknown one."""
        if self.model_fields_set <= _PARAMETERS:
            return self
        condition = dict(self.condition or {})
        for name, value in (self.model_extra or {}).items():
            key = name.removeprefix(_CONDITION)
            if key == name:
                raise _unknown(name)
            if key in condition:
                raise InvalidError(f"parameters.{name[:SHOWN]}", "is given twice")
            condition[key] = value
        for name in self.model_fields_set.difference(_PARAMETERS, self.model_extra or ()):
            raise _unknown(name)
        return self.model_copy(update={"condition": condition})


class _Header(StrictFields):
    id: Annotated[str, Field(max_length=1024)] | None = None
    model_name: str | None = None
    parameters: _Parameters | None = None
    inputs: Annotated[list[_Input], Field(max_length=_MOST_TENSORS, fail_fast=True)] | None = None
    outputs: Annotated[list[_Output], Field(max_length=_MOST_TENSORS, fail_fast=True)] | None = None


class Inference(NamedTuple):
    """What makes the rows (`fields`), of which model, and how the answer is to be written: with the client's `id`, its
    numbers behind the JSON (`binary`) or in it."""

    model: str
    version: str | None
    fields: SampleFields
    deterministic: bool = False
    id: str | None = None
    binary: bool = False

    @property
    def long(self) -> bool:
        """Whether the fields are understood in turns."""
        return self.fields.long


def header_length(stated: bytes | None, content: bytes) -> int | None:
    """How many bytes of a body are its header, as `Inference-Header-Content-Length` has it; None: all of them.

    Raises BadRequestError.
    """
    if stated is None:
        return None
    shown = stated[:SHOWN].decode("latin-1")
    if _INDEX.fullmatch(shown) is None:
        raise BadRequestError(f"Inference-Header-Content-Length: {shown!r} is no number of bytes")
    if (length := int(shown)) > len(content):
        raise BadRequestError(
            f"Inference-Header-Content-Length: says {length} bytes of JSON; the body has {len(content)}"
        )
    return length


def parse_request(content: bytes, length: int | None, model: str, version: str | None) -> Steps[Inference]:
    """The fields of a body whose first `length` bytes are its header; names of errors are the protocol's.

    Raises MalformedError, BadRequestError, TooLargeError, InvalidError.
    """
    if length == 0:
        return _raw(content, model, version)
    text = content[:length].removeprefix(BYTE_ORDER_MARK)
    header, spans = (yield from cut_data(text)) if b'"data"' in text or len(text) > HEADER_BYTES else (text, [])
    request = _parse(header)
    if request.model_name not in (None, model):
        raise InvalidError("model_name", f"is {request.model_name[:SHOWN]!r}; the path says {model}")
    given = _Parameters() if request.parameters is None else request.parameters.known()
    binary = _binary(request.outputs or [], given.binary_data_output)
    fields: SampleFields = given
    if request.inputs or spans or len(content[:length]) < len(content):
        arrays = yield from _arrays(request.inputs or [], text, spans, content)
        _require_one_source(given, arrays)
        fields = given.model_copy(update={INPUTS[name].field: values for name, values in arrays.items()})
    return Inference(model, version, fields, given.deterministic, request.id, binary)


def as_asked(error: InvalidError) -> InvalidError:
    """An error of a field of `SampleFields`, with the name that the field has here."""
    name, bracket, rest = error.field.partition("[")
    field = _NAMES[name] + bracket + rest if name in _NAMES else f"parameters.{error.field}"
    return InvalidError(field, error.reason)


def _raw(content: bytes, model: str, version: str | None) -> Inference:
    """Of a body without a header: one row of `z`."""
    size = np.dtype(np.float32).itemsize
    if not content or len(content) % size:
        raise BadRequestError(f"the body is to be a row of z, FP32, and has {len(content)} bytes")
    z = np.frombuffer(content, "<f4").reshape(1, -1)
    return Inference(model, version, SampleFields().model_copy(update={"latents": z}), binary=True)


def _parse(header: bytes) -> _Header:
    try:
        request = _Header.model_validate_json(header)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise MalformedError(f"the body is not JSON: {first['msg']}") from None
        if not first["loc"]:
            raise InvalidError("body", "a JSON object is needed") from None
        raise InvalidError(_path(first["loc"]), first["msg"]) from None
    for kind, tensors in (("inputs", request.inputs or []), ("outputs", request.outputs or [])):
        for place, tensor in enumerate(tensors):
            for member in tensor.model_extra or ():
                raise InvalidError(f"{kind}[{place}].{member[:SHOWN]}", "unknown field")
    refuse_repeated(header, len(request.model_fields_set))
    return request.known()


def _path(location: Sequence[int | str]) -> str:
    """`inputs[0].shape[1]`, `parameters.label`. Names below that are pydantic's, of the alternatives that it tried."""
    path, names = "", 0
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif names < _NAMED:
            path += f".{part}" if path else part
            names += 1
    return path


def _refuse_parameters(given: Collection[str], known: Collection[str], field: str) -> None:
    """Raise InvalidError for one of `given` that is not known."""
    for name in given:
        if name in known:
            continue
        path = f"{field}.parameters.{name[:SHOWN]}"
        if name.startswith("shared_memory_"):
            raise InvalidError(path, "memory is shared with no client; the data goes in the request and its answer")
        if name == "classification":
            raise InvalidError(path, "samples are no scores of classes")
        raise InvalidError(path, f"unknown parameter; {', '.join(known)} is known")


def _arrays(inputs: list[_Input], text: bytes, spans: list[Span], content: bytes) -> Steps[dict[str, NDArray[Any]]]:
    """The inputs, by name, as their data is in the header (`text`, at `spans`) or behind it."""
    lists = [one.data for one in inputs if one.data is not None]
    if any(lists):
        place = next(place for place, one in enumerate(inputs) if one.data)
        raise InvalidError(f"inputs[{place}].data", "holds what is no number")
    if len(lists) != len(spans):
        raise InvalidError("inputs", "data stands where it has no place")
    unread = iter(spans)
    arrays: dict[str, NDArray[Any]] = {}
    at = len(text)
    for place, one in enumerate(inputs):
        field = f"inputs[{place}]"
        size = _check(one, arrays, field)
        datatype = INPUTS[one.name].datatype
        if size is None:
            values = yield from read_list(text, next(unread), one.shape, datatype, field)
        else:
            values = view_bytes(content, at, size, one.shape, datatype, field)
            at += size
        arrays[one.name] = values
    if at != len(content):
        raise BadRequestError(f"{len(content) - at} bytes follow the JSON and the data that its inputs say")
    return arrays


def _check(one: _Input, others: Mapping[str, NDArray[Any]], field: str) -> int | None:
    """How many bytes of data an input has behind the header; None: they are in it. Raises InvalidError."""
    kind = INPUTS.get(one.name)
    if kind is None:
        raise InvalidError(f"{field}.name", f"no input is called {one.name!r}; {', '.join(INPUTS)} are")
    if one.name in others:
        raise InvalidError(f"{field}.name", f"{one.name} is there twice")
    if one.datatype != kind.datatype:
        raise InvalidError(f"{field}.datatype", f"is {one.datatype!r}; {one.name} is {kind.datatype}")
    if len(one.shape) != kind.axes.count(",") + 1:
        raise InvalidError(f"{field}.shape", f"is {one.shape}; {kind.axes} is needed")
    for name, values in others.items():
        if len(values) != one.shape[0]:
            raise InvalidError(f"{field}.shape", f"says {one.shape[0]} rows; {name} has {len(values)}")
    given = one.parameters or {}
    _refuse_parameters(given, (_SIZE,), field)
    size = given.get(_SIZE)
    if size is not None and (type(size) is not int or size < 0):
        raise InvalidError(f"{field}.parameters.{_SIZE}", "a number of bytes is needed")
    if (size is None) == (one.data is None):
        raise InvalidError(field, f"has {'both' if size is not None else 'neither'} of data and {_SIZE}")
    return size


def _unknown(parameter: str) -> InvalidError:
    return InvalidError(f"parameters.{parameter[:SHOWN]}", f"unknown parameter; {', '.join(_ASKED)} are known")


def _require_one_source(given: _Parameters, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise InvalidError where parameters and inputs say the same thing, or different numbers of rows."""
    for name in ("label", "condition"):
        if name in arrays and getattr(given, name) is not None:
            raise InvalidError(f"parameters.{name}", f"excludes the input {name}")
    for name, values in arrays.items():
        if given.n not in (None, len(values)):
            raise InvalidError("parameters.n", f"differs from the {len(values)} rows of {name}")


def _binary(outputs: list[_Output], default: bool) -> bool:
    """Whether the samples are to stand behind the JSON. Raises InvalidError."""
    if len(outputs) > 1:
        raise InvalidError("outputs[1].name", f"the model has one output, {SAMPLE}")
    for output in outputs:
        if output.name != SAMPLE:
            raise InvalidError("outputs[0].name", f"no output is called {output.name!r}; {SAMPLE} is")
        given = output.parameters or {}
        _refuse_parameters(given, ("binary_data",), "outputs[0]")
        binary = given.get("binary_data", default)
        if type(binary) is not bool:
            raise InvalidError("outputs[0].parameters.binary_data", "true or false is needed")
        return binary
    return default
