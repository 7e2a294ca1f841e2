"""Samples as numbers: an `.npy` file, and the values of a JSON document; in pieces that take a millisecond or two."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, TypeVar, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding import images, tables
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.rows import SampleArray

Dtype = Literal["float32", "uint8"]
Values = TypeVar("Values", bound=NDArray[Any])

_PART_NUMBERS = 1 << 14  # that are written at a time


def npy_header(shape: tuple[int, ...], dtype: Dtype) -> bytes:
    """What precedes the values (C order, little-endian) of an array in an `.npy` file, version 1.0."""
    buffer = io.BytesIO()
    described = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, described)
    return buffer.getvalue()


def raw(samples: SampleArray, spec: SampleSpec, dtype: Dtype) -> Iterator[memoryview]:
    """The values in C order, little-endian; `uint8` stretches the value_range, which the sample must have."""
    if dtype != "uint8":
        yield _bytes_of(samples.astype("<f4", copy=False))
    elif samples.dtype == np.uint8:
        yield _bytes_of(samples)
    else:
        for part in in_parts(samples):
            yield _bytes_of(images.pixels(part, spec))


def in_parts(samples: Values) -> Iterator[Values]:
    """Samples [n, ...], as many at a time as hold few numbers, at least one."""
    rows = max(1, _PART_NUMBERS // max(1, math.prod(samples.shape[1:])))
    for start in range(0, len(samples), rows):
        yield cast("Values", samples[start : start + rows])


def _bytes_of(values: NDArray[Any]) -> memoryview:
    """Without a copy where they stand in C order."""
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data


def json_values(samples: SampleArray, spec: SampleSpec, provenance: Provenance) -> Iterator[bytes]:
    """Samples [n, *shape] as a JSON array without its brackets: images as base64 of a PNG file, tables as rows of their
    columns' values, everything else as nested numbers."""
    if spec.kind == "image":
        return _json_pictures(samples, spec, provenance)
    if spec.kind == "table":
        parts = (tables.rows(part, spec) for part in in_parts(cast("NDArray[np.float32]", samples)))
        return listed(orjson.dumps(list(rows))[1:-1] for rows in parts)
    return json_numbers(samples)


def listed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """With commas between them."""
    comma = b""
    for piece in pieces:
        yield comma + piece
        comma = b","


def _json_pictures(samples: SampleArray, spec: SampleSpec, provenance: Provenance) -> Iterator[bytes]:
    row = 0
    for part in in_parts(samples):
        for picture in images.pixels(part, spec):
            yield b',"' if row else b'"'
            yield from base64_of(images.png(picture, provenance.at(row)))
            yield b'"'
            row += 1


def base64_of(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces as one text: three bytes are four characters, wherever they were cut."""
    left = b""
    for piece in pieces:
        content = left + piece
        whole = len(content) // 3 * 3
        left = content[whole:]
        yield base64.b64encode(content[:whole])
    yield base64.b64encode(left)


def json_numbers(values: NDArray[Any]) -> Iterator[bytes]:
    """An array [n, ...] as a JSON array without its brackets, of a float32 the shortest decimal that is read back as it
    (0.1, where its double would be 0.10000000149011612); null of what is not finite."""
    if values.size == 0 or values[0].size <= _PART_NUMBERS:
        return listed(
            orjson.dumps(np.ascontiguousarray(part), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
            for part in in_parts(values)
        )
    return _nested(values)


def _nested(values: NDArray[Any]) -> Iterator[bytes]:
    """Of large rows."""
    for index, row in enumerate(values):
        yield b",[" if index else b"["
        yield from json_numbers(row)
        yield b"]"


def json_objects(values: NDArray[np.float32], names: Sequence[str]) -> Iterator[bytes]:
    """Rows of float32 [n, k] as a JSON array without its brackets of objects, their k numbers by name."""
    rows = (orjson.loads(b"[%b]" % b"".join(json_numbers(part))) for part in in_parts(values))
    return listed(orjson.dumps([dict(zip(names, row, strict=True)) for row in part])[1:-1] for part in rows)
