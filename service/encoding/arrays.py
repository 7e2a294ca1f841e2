"""Samples as numbers: an `.npy` file or nothing but the values; and the values of a JSON document, in pieces that take
a millisecond or two."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Literal, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding import images, tables
from latentserve.service.encoding.document import NPY, RAW, Document, Headers, Piece
from latentserve.service.encoding.provenance import Provenance, named
from latentserve.service.encoding.rows import PART_NUMBERS, Rows, SampleArray, in_parts

Dtype = Literal["float32", "uint8"]


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


def _bytes_of(values: NDArray[Any]) -> memoryview:
    """Without a copy where they stand in C order."""
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data


def json_values(part: Rows, spec: SampleSpec, provenance: Provenance, first: int = 0) -> Iterator[bytes]:
    """Samples [n, *shape] as a JSON array without its brackets: images as base64 of a PNG file, tables as rows of their
    columns' values, everything else as nested numbers. The answer's row `first` is the part's first."""
    if spec.kind == "image":
        return _json_pictures(part, spec, provenance, first)
    if spec.kind == "table":
        parts = (tables.rows(some, spec) for some in in_parts(cast("NDArray[np.float32]", part.samples)))
        return listed(orjson.dumps(list(rows))[1:-1] for rows in parts)
    return json_numbers(part.samples)


def listed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """With commas between them."""
    comma = b""
    for piece in pieces:
        yield comma + piece
        comma = b","


def _json_pictures(part: Rows, spec: SampleSpec, provenance: Provenance, first: int) -> Iterator[bytes]:
    row = 0
    for some in in_parts(part.samples):
        for picture in images.pixels(some, spec):
            if row:
                yield b","
            yield from json_picture(picture, provenance.of(part, row, first))
            row += 1


def json_picture(picture: NDArray[np.uint8], provenance: Provenance) -> Iterator[bytes]:
    """An image uint8 [C, H, W] as a JSON string: base64 of a PNG file."""
    yield b'"'
    yield from base64_of(images.png(picture, provenance))
    yield b'"'


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
    if values.size == 0 or values[0].size <= PART_NUMBERS:
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
    return listed(orjson.dumps(named(part, names))[1:-1] for part in in_parts(values))


class Values(Document):
    """Numbers in C order, little-endian: an `.npy` file, or nothing but the values with headers that describe them."""

    cheap = True

    def __init__(
        self, media: str, n: int, spec: SampleSpec, dtype: Dtype, provenance: Provenance | None = None
    ) -> None:
        """With `provenance`, the headers hold the mark."""
        self._spec = spec
        self._dtype: Dtype = dtype
        self._opening, self.headers, self.size = _describe(media, (n, *spec.shape), dtype)
        if provenance is not None:
            self.headers = (*self.headers, provenance.header(n))

    def opening(self) -> bytes:
        """The `.npy` header."""
        return self._opening

    def rows(self, part: Rows) -> Iterator[Piece]:
        """The values."""
        return raw(part.samples, self._spec, self._dtype)


@lru_cache(maxsize=64)
def _describe(media: str, shape: tuple[int, ...], dtype: Dtype) -> tuple[bytes, Headers, int]:
    """What precedes the values of an array, its headers, and the bytes of all."""
    opening = npy_header(shape, dtype) if media == NPY else b""
    length = len(opening) + math.prod(shape) * np.dtype(dtype).itemsize
    headers = [(b"content-type", media.encode()), (b"content-length", b"%d" % length)]
    if media == RAW:
        headers.append((b"latentserve-shape", ",".join(map(str, shape)).encode()))
        headers.append((b"latentserve-dtype", dtype.encode()))
    return opening, tuple(headers), length
