"""Samples as numbers: the header of an `.npy` file, and samples as the values of a JSON document."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding import images, tables
from latentserve.service.encoding.provenance import Provenance

Dtype = Literal["float32", "uint8"]
SampleArray = NDArray[np.float32] | NDArray[np.uint8]  # as they are, or 8-bit images already


def npy_header(shape: tuple[int, ...], dtype: Dtype) -> bytes:
    """What precedes the values (C order, little-endian) of an array in an `.npy` file, version 1.0."""
    buffer = io.BytesIO()
    described = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, described)
    return buffer.getvalue()


def raw(samples: SampleArray, spec: SampleSpec, dtype: Dtype) -> bytes:
    """The values in C order, little-endian; `uint8` stretches the value_range, which the sample must have."""
    if dtype == "uint8":
        return images.pixels(samples, spec).tobytes()
    return samples.astype("<f4", copy=False).tobytes()


def json_values(samples: SampleArray, spec: SampleSpec, provenance: Provenance) -> bytes:
    """Samples [n, *shape] as a JSON array: images as base64 of a PNG file, tables as rows of their columns' values,
    everything else as nested numbers."""
    if spec.kind == "table":
        return orjson.dumps(list(tables.rows(cast("NDArray[np.float32]", samples), spec)))
    if spec.kind != "image":
        return json_numbers(samples)
    pictures = images.pixels(samples, spec)
    return orjson.dumps(
        [base64.b64encode(images.encode(picture, provenance.at(row))).decode() for row, picture in enumerate(pictures)]
    )


def json_numbers(values: NDArray[Any]) -> bytes:
    """An array as a JSON array, of a float32 the shortest decimal that is read back as it (0.1, where its double would
    be 0.10000000149011612); null of what is not finite."""
    return orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)


def json_objects(values: NDArray[np.float32], names: Sequence[str]) -> bytes:
    """Rows of float32 [n, k] as a JSON array of objects, their k numbers by name."""
    return orjson.dumps([dict(zip(names, row, strict=True)) for row in orjson.loads(json_numbers(values))])
