"""Tensors as Triton's client sends them."""

from __future__ import annotations

from typing import Any

import tritonclient.http as triton
from numpy.typing import NDArray


def tensor(name: str, values: NDArray[Any], binary: bool = True) -> triton.InferInput:
    """An input: float32 or int64, as bytes or as JSON."""
    datatype = {"f": "FP32", "i": "INT64"}[values.dtype.kind]
    return triton.InferInput(name, list(values.shape), datatype).set_data_from_numpy(values, binary_data=binary)
