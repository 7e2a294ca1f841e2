"""Faults of a generator's weights. Each changes a parsed ONNX model in place and says in words what it did."""

from __future__ import annotations

import math

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

BITS = 32  # of a float32: 0 to 22 mantissa, 23 to 30 exponent, 31 sign

# Where the weight of an operator has its output channels; Gemm's transB turns it round.
_CHANNELS = {"Conv": 0, "ConvTranspose": 1, "MatMul": -1, "Gemm": -1, "Gather": -1}


def flip_bit_in(model: onnx.ModelProto, rng: np.random.Generator, bit: int | None = None) -> str:
    """Flip one bit, by default a random one, of a random float32 weight; every weight is equally likely."""
    tensors = _weights(model, axes=1)
    sizes = np.array([math.prod(tensor.dims) for tensor in tensors])
    tensor = tensors[rng.choice(len(tensors), p=sizes / sizes.sum())]
    values = numpy_helper.to_array(tensor).copy()
    place = int(rng.integers(values.size))
    bit = int(rng.integers(BITS)) if bit is None else bit
    values.view(np.uint32).reshape(-1)[place] ^= np.uint32(1 << bit)
    _put(tensor, values)
    return f"bit {bit} of {tensor.name}[{place}]"


def zero_channel_in(model: onnx.ModelProto, rng: np.random.Generator) -> str:
    """Set a random output channel (a column of a matrix) of a random weight of two axes or more to zero."""
    tensors = _weights(model, axes=2)
    tensor = tensors[rng.integers(len(tensors))]
    values = numpy_helper.to_array(tensor).copy()
    axis = _channel_axis(model, tensor.name)
    channel = int(rng.integers(values.shape[axis]))
    np.moveaxis(values, axis, 0)[channel] = 0
    _put(tensor, values)
    return f"channel {channel} of {tensor.name}"


def shuffle_in(model: onnx.ModelProto, rng: np.random.Generator) -> str:
    """Shuffle the values within every weight of two axes or more: another generator of the same signature."""
    for tensor in _weights(model, axes=2):
        values = numpy_helper.to_array(tensor)
        _put(tensor, rng.permutation(values.reshape(-1)).reshape(values.shape))
    return "every weight shuffled"


def add_noise_in(model: onnx.ModelProto, rng: np.random.Generator, scale: float) -> str:
    """Add normal noise to every weight of two axes or more: `scale` times the root mean square of its values."""
    for tensor in _weights(model, axes=2):
        values = numpy_helper.to_array(tensor)
        deviation = scale * float(np.sqrt(np.mean(values.astype(np.float64) ** 2)))
        _put(tensor, (values + rng.normal(scale=deviation, size=values.shape)).astype(np.float32))
    return f"noise of {scale:.1e}"


def _weights(model: onnx.ModelProto, axes: int) -> list[TensorProto]:
    """The float32 initializers of so many axes or more. Raises ValueError where there are none."""
    found = [
        tensor
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) >= axes and math.prod(tensor.dims) > 1
    ]
    if not found:
        raise ValueError("the generator has no float32 weights")
    return found


def _channel_axis(model: onnx.ModelProto, name: str) -> int:
    for node in model.graph.node:
        if name in node.input and node.op_type in _CHANNELS:
            turned = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            return 0 if turned else _CHANNELS[node.op_type]
    return 0


def _put(tensor: TensorProto, values: NDArray[np.float32]) -> None:
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
