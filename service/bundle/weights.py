"""Where the weights of an ONNX model lie: within its tensors, or in a file beside it (ONNX's external data).

A model is parsed and edited without its large weights. They stay where they are, in a file that is mapped, and their
tensors refer to it; so a graph costs what its nodes cost, whatever it weighs, and protobuf's limit of 2 GiB is none.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Final, NamedTuple

import onnx
from onnx import TensorProto

Buffer = bytes | mmap.mmap
Files = Mapping[str, Buffer]  # what lies in them, by the names that references call them
NO_FILES: Final[Files] = MappingProxyType({})

LARGE: Final = 1 << 16  # bytes of a weight that is worth a reference

# Field numbers of onnx.proto, and wire types (https://protobuf.dev/programming-guides/encoding).
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
_VARINT, _FIXED_64, _LENGTH, _FIXED_32 = 0, 1, 2, 5
_NO_NUMBERS = (TensorProto.UNDEFINED, TensorProto.STRING)
_WITHIN_BYTES = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2, "FLOAT6E2M3": 6, "FLOAT6E3M2": 6}
BITS: Final = {kind: _WITHIN_BYTES[name] for name, kind in TensorProto.DataType.items() if name in _WITHIN_BYTES}
"""Of the types whose values do not fill bytes."""


class Place(NamedTuple):
    """Where the values of a tensor lie: `length` bytes from `offset` on, of the file that is called `location`."""

    location: str
    offset: int
    length: int


def lift(content: Buffer, location: str, least: int = LARGE) -> bytes:
    """An ONNX file without the initializers of its main graph that have `least` bytes or more of raw data: they refer
    to `location`, which is what this very content is called. Raises ValueError: no messages of protobuf."""
    pieces = []
    for number, start, payload, end in _fields(content, 0, len(content)):
        graph = _lifted_graph(content, payload, end, location, least) if number == _GRAPH else None
        pieces.append(content[start:end] if graph is None else _field(_GRAPH, graph))
    return b"".join(pieces)


def _lifted_graph(content: Buffer, at: int, end: int, location: str, least: int) -> bytes:
    pieces = []
    for number, start, payload, stop in _fields(content, at, end):
        large = number == _INITIALIZER and stop - payload >= least
        tensor = _lifted_tensor(content, payload, stop, location, least) if large else None
        pieces.append(content[start:stop] if tensor is None else _field(_INITIALIZER, tensor))
    return b"".join(pieces)


def _lifted_tensor(content: Buffer, at: int, end: int, location: str, least: int) -> bytes | None:
    """None: its values are not raw, or not that many."""
    rest, place = [], None
    for number, start, payload, stop in _fields(content, at, end):
        if number == _RAW_DATA:
            place = Place(location, payload, stop - payload)
        else:
            rest.append(content[start:stop])
    if place is None or place.length < least:
        return None
    tensor = TensorProto.FromString(b"".join(rest))
    if tensor.data_location == TensorProto.EXTERNAL or tensor.data_type in _NO_NUMBERS:
        return None
    refer(tensor, place)
    return tensor.SerializeToString()


def _fields(content: Buffer, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Of a message: each field's number (0 of one that holds a number), where it starts, where its content starts, and
    where it ends."""
    while at < end:
        start = at
        tag, at = _varint(content, at, end)
        payload, kind = at, tag & 7
        if kind == _LENGTH:
            size, payload = _varint(content, at, end)
            at = payload + size
        elif kind == _VARINT:
            _, at = _varint(content, at, end)
        elif kind in (_FIXED_32, _FIXED_64):
            at += 4 if kind == _FIXED_32 else 8
        else:
            raise ValueError("a field of an unknown kind")
        if at > end:
            raise ValueError("it ends within a field")
        yield tag >> 3 if kind == _LENGTH else 0, start, payload, at


def _varint(content: Buffer, at: int, end: int) -> tuple[int, int]:
    """A number of 7 bits a byte, least first, and where it ends."""
    value = 0
    for place in range(10):
        if at >= end:
            raise ValueError("it ends within a number")
        byte = content[at]
        value |= (byte & 127) << 7 * place
        at += 1
        if byte < 128:
            return value, at
    raise ValueError("a number of more than 64 bits")


def write_whole(model: onnx.ModelProto, weights: Sequence[TensorProto], files: Files, stream: BinaryIO) -> None:
    """One ONNX file of a model and of weights that it is without, which go from their files to this one."""
    heads, size = [], 0
    for tensor in weights:
        length = len(values(tensor, files))
        within = _bare(tensor).SerializeToString() + _head(_RAW_DATA, length)
        heads.append(_head(_INITIALIZER, len(within) + length) + within)
        size += len(heads[-1]) + length
    graph = model.graph.SerializeToString(deterministic=True)
    rest = onnx.ModelProto()
    rest.CopyFrom(model)
    rest.ClearField("graph")
    stream.write(rest.SerializeToString(deterministic=True) + _head(_GRAPH, len(graph) + size) + graph)
    for tensor, head in zip(weights, heads, strict=True):
        stream.write(head)
        _copy(tensor, files, stream)


def write_beside(
    weights: Sequence[TensorProto], files: Files, stream: BinaryIO, location: str
) -> Iterator[TensorProto]:
    """The weights, each beginning at a page of the file `location`, to which they go."""
    for tensor in weights:
        stream.seek(-(-stream.tell() // mmap.PAGESIZE) * mmap.PAGESIZE)
        moved = _bare(tensor)
        refer(moved, Place(location, stream.tell(), len(values(tensor, files))))
        _copy(tensor, files, stream)
        yield moved


def _copy(tensor: TensorProto, files: Files, stream: BinaryIO) -> None:
    stream.write(values(tensor, files))
    for content in files.values():
        if isinstance(content, mmap.mmap):
            content.madvise(mmap.MADV_DONTNEED)  # what has been read would count as memory of this process


def _bare(tensor: TensorProto) -> TensorProto:
    """Without values."""
    return TensorProto(data_type=tensor.data_type, dims=tensor.dims, name=tensor.name)


def _field(number: int, content: bytes) -> bytes:
    return _head(number, len(content)) + content


def _head(number: int, size: int) -> bytes:
    """What stands before a field of so many bytes: a string, bytes, or a message."""
    return _number(number << 3 | _LENGTH) + _number(size)


def _number(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes((*found, value))


def refer(tensor: TensorProto, place: Place) -> None:
    """Let a tensor's values lie there."""
    for name in ("raw_data", "external_data"):
        tensor.ClearField(name)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in place._asdict().items():
        tensor.external_data.add(key=key, value=str(value))


def place_of(tensor: TensorProto) -> Place | None:
    """Where a tensor's values lie; None: within it. Raises ValueError, in words: it does not say where, or says another
    size than its shape has."""
    if tensor.data_location != TensorProto.EXTERNAL:
        return None
    told = {entry.key: entry.value for entry in tensor.external_data}
    size = _bytes(tensor)
    try:
        place = Place(told["location"], int(told.get("offset") or 0), int(told.get("length") or size))
    except (KeyError, ValueError):
        raise ValueError(f"weight {tensor.name!r} does not say where its values lie") from None
    if place.length != size or place.offset < 0:
        raise ValueError(f"weight {tensor.name!r} has {size} bytes by its shape, and {place.length} at {place.offset}")
    return place


def values(tensor: TensorProto, files: Files) -> memoryview:
    """The bytes of a tensor whose values are raw, wherever they lie. Raises ValueError, in words: in no file that is
    given, or beyond its end."""
    place = place_of(tensor)
    if place is None:
        return memoryview(tensor.raw_data)
    if place.location not in files:
        raise ValueError(f"weight {tensor.name!r} lies in another file, {place.location!r}")
    content = files[place.location]
    if place.offset + place.length > len(content):
        raise ValueError(
            f"weight {tensor.name!r} lies beyond the end of {place.location!r}, which has {len(content)} bytes"
        )
    return memoryview(content)[place.offset : place.offset + place.length]


def map_file(file: Path | int) -> Buffer:
    """What a file holds, that is, its pages as they are asked for. Raises OSError."""
    descriptor = file if isinstance(file, int) else os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # The empty file cannot be mapped.
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) if os.fstat(descriptor).st_size else b""
    finally:
        if descriptor is not file:
            os.close(descriptor)


def _bytes(tensor: TensorProto) -> int:
    """That the values of a tensor of this shape and type take. Raises ValueError: a type, or a shape, that has none."""
    count = 1
    for axis in tensor.dims:
        if axis < 0:
            raise ValueError(f"weight {tensor.name!r} has shape {list(tensor.dims)}")
        count *= axis
    kind = tensor.data_type
    if kind in _NO_NUMBERS or kind not in TensorProto.DataType.values():
        raise ValueError(f"weight {tensor.name!r} is not of numbers")
    return -(-count * (BITS.get(kind) or 8 * onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize) // 8)
