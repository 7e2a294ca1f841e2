"""A generator in 8-bit integers: static quantisation by ONNX Runtime's own tools, calibrated on latents of the prior.

Activations are unsigned with a zero point, weights signed and per channel (the pairing that x86's dot products take),
written as QuantizeLinear/DequantizeLinear pairs that ONNX Runtime fuses into integer kernels.

Weights take 7 of the 8 bits. Processors without VNNI multiply by `vpmaddubsw`, which adds two products in 16 bits and
saturates there (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html); which weights stand
beside each other is the kernel's own affair. With 7 bits no two products can leave 16, so every processor computes the
same sums, and a variant that was made on one serves on the others.

The first and the last layer stay float32. The first would round the latent itself; the last would give images no more
levels than its own output has, the fewer in mid-grey the further a last tanh saturates. On a trained 28x28 generator
that takes the peak signal-to-noise ratio from 40 to 50 dB, for a third of the gain in speed.
"""

from __future__ import annotations

import copy
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

from latentserve.service.errors import BundleError
from latentserve.service.packing.edit import attributes
from latentserve.service.packing.fold import fold_batch_norm
from latentserve.service.packing.rewrite import rewrite_narrow, rewrite_transposed

_LAYERS = {"Conv", "MatMul", "Gemm"}
# What may stand between two layers and has an integer kernel, or needs none. Others are computed in float32.
_BETWEEN = {
    "Add",
    "Clip",
    "Concat",
    "DepthToSpace",
    "Flatten",
    "LeakyRelu",
    "MaxPool",
    "Relu",
    "Reshape",
    "Resize",
    "Slice",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
}

_LARGEST_ACTIVATION = 255
_INT16_MAX = 2**15 - 1

Feed = Mapping[str, NDArray[np.generic]]


def quantize_int8(model: onnx.ModelProto, calibration: Iterable[Feed]) -> onnx.ModelProto:
    """The int8 variant of a generator, its inputs and outputs unchanged.

    `calibration` gives batches of inputs by name; activations get the range that they take on them. Raises BundleError
    where there is no layer between the first and the last, or its sums do not fit 16 bits.
    """
    model = rewrite_narrow(rewrite_transposed(fold_batch_norm(model)))
    for index, node in enumerate(model.graph.node):
        node.name = f"{index}/{node.op_type}"  # nodes are told by name, and may have none
    chosen = _inner_nodes(model.graph)
    if not chosen:
        raise BundleError("int8: the generator has no layer between its first and its last, which stay float32")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        file = Path(folder) / "int8.onnx"
        quantize_static(
            copy.deepcopy(model),  # it is left with its weights in files that are gone
            file,
            _Reader(calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=sorted(_LAYERS | _BETWEEN),
            nodes_to_quantize=chosen,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=True,
        )
        quantized = onnx.load(file)
    for field in ("producer_name", "producer_version"):
        quantized.ClearField(field)
    largest = largest_pair_sum(quantized)
    if largest > _INT16_MAX:
        raise BundleError(f"int8: two products add up to {largest}, beyond the 16 bits of processors without VNNI")
    return quantized


def largest_pair_sum(model: onnx.ModelProto) -> int:
    """The largest magnitude that the sum of two products of an 8-bit activation and a weight can have, in any layer of
    a quantised graph: of activations at 255 and, of one output channel, the two largest weights of one sign.

    Up to 32,767 the integer kernels of every processor give the same sums, in whatever order they take the weights.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    stored = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    largest = 0
    for node in model.graph.node:
        name = stored.get(node.input[1]) if node.op_type in _LAYERS else None
        if name not in weights:
            continue
        axis = 0 if node.op_type == "Conv" or attributes(node).get("transB") else -1
        weight = numpy_helper.to_array(weights[name]).astype(np.int64)
        channels = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
        for signed in (channels, -channels):
            two = np.sort(signed, axis=1)[:, -2:].clip(min=0)
            largest = max(largest, _LARGEST_ACTIVATION * int(two.sum(axis=1).max()))
    return largest


class _Reader:
    """The batches, as ONNX Runtime's calibration asks for them."""

    def __init__(self, feeds: Iterable[Feed]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)


def _inner_nodes(graph: onnx.GraphProto) -> list[str]:
    """Names of the layers that have a layer before and one after them, and of what lies between layers."""
    weights = {tensor.name for tensor in graph.initializer}
    after_layer: set[str] = set()  # values
    after_inner: set[str] = set()
    before_layer: set[str] = set()
    inner: set[str] = set()
    for node in reversed(graph.node):
        if _is_layer(node, weights) or before_layer.intersection(node.output):
            before_layer.update(node.input)
    for node in graph.node:
        follows = bool(after_layer.intersection(node.input))
        ahead = bool(before_layer.intersection(node.output))
        if _is_layer(node, weights) and follows and ahead:
            inner.add(node.name)
            after_inner.update(node.output)
        if after_inner.intersection(node.input):
            after_inner.update(node.output)
            if node.op_type in _BETWEEN and ahead:
                inner.add(node.name)
        if follows or _is_layer(node, weights):
            after_layer.update(node.output)
    return [node.name for node in graph.node if node.name in inner]


def _is_layer(node: onnx.NodeProto, weights: set[str]) -> bool:
    return node.op_type in _LAYERS and node.input[1] in weights


@contextmanager
def _quiet() -> Iterator[None]:
    """The tools advise through the root logger, for people who call them by hand."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
