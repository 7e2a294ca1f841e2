"""Batch normalisation folded into the layer before it: at inference it is a scale and a shift of each channel."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference

_EPSILON = 1e-5  # ONNX's default


def fold_batch_norm(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` without the batch normalisations that a Conv, ConvTranspose, Gemm or MatMul alone feeds, be it
    through a Reshape of [batch, C * ...] to [batch, C, ...].

    The outputs are the same to float32 rounding. Others are left: in training mode, with parameters or weights that are
    no constants, and those inside control flow. ONNX Runtime folds the first of these forms by itself; a
    graph that is to be quantised needs all of them folded before.
    """
    model = shape_inference.infer_shapes(model)
    graph = model.graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    values = [*graph.input, *graph.value_info, *graph.output]
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in values}
    readers: dict[str, int] = {value.name: 1 for value in graph.output}
    for name in (name for node in graph.node for name in node.input):
        readers[name] = readers.get(name, 0) + 1
    makers = {name: node for node in graph.node for name in node.output}
    folded: list[onnx.NodeProto] = []
    for node in graph.node:
        scale_shift = _scale_shift(node, weights)
        if scale_shift is None:
            continue
        reshape = makers.get(node.input[0])
        layer = reshape
        if reshape is not None and reshape.op_type == "Reshape" and readers[node.input[0]] == 1:
            layer = makers.get(reshape.input[0])
        if layer is None or readers[layer.output[0]] != 1 or readers[node.input[0]] != 1:
            continue
        through_reshape = layer is not reshape
        if not _is_foldable(layer, weights, ranks, through_reshape):
            continue
        _fold(layer, *scale_shift, weights, graph, node.output[0])
        last = reshape if through_reshape else layer
        assert last is not None  # noqa: S101, for mypy
        last.output[0] = node.output[0]
        makers[node.output[0]] = last
        folded.append(node)
    for node in folded:
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]
    return shape_inference.infer_shapes(model)


def _scale_shift(
    node: onnx.NodeProto, weights: dict[str, NDArray[np.float32]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """What a batch normalisation does to each channel, float64 [C] twice; None: the node is none with constants."""
    if node.op_type != "BatchNormalization" or len(node.output) > 1 or any(n not in weights for n in node.input[1:]):
        return None
    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if given.get("training_mode", 0):
        return None
    gain, bias, mean, variance = (weights[name].astype(np.float64) for name in node.input[1:])
    scale = gain / np.sqrt(variance + given.get("epsilon", _EPSILON))
    return scale, bias - mean * scale


def _is_foldable(
    layer: onnx.NodeProto, weights: dict[str, NDArray[np.float32]], ranks: dict[str, int], through_reshape: bool
) -> bool:
    constant = all(name in weights for name in layer.input[1:] if name)
    if layer.op_type in ("Conv", "ConvTranspose"):
        return constant and not through_reshape
    if layer.op_type == "MatMul":
        return constant and ranks.get(layer.input[0]) == 2 and weights[layer.input[1]].ndim == 2
    return layer.op_type == "Gemm" and constant


def _fold(
    layer: onnx.NodeProto,
    scale: NDArray[np.float64],
    shift: NDArray[np.float64],
    weights: dict[str, NDArray[np.float32]],
    graph: onnx.GraphProto,
    name: str,
) -> None:
    """Make `layer` give scale * (what it gave) + shift, channel by channel; its new weights are named after `name`."""
    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in layer.attribute}
    weight = weights[layer.input[1]].astype(np.float64)
    bias = weights[layer.input[2]].astype(np.float64) if len(layer.input) > 2 and layer.input[2] else np.zeros(1)
    if layer.op_type in ("Gemm", "MatMul"):
        weight = weight.T if given.get("transB", 0) else weight
        each = weight.shape[1] // len(scale)  # values of a channel, next to each other
        scale, shift = np.repeat(scale, each), np.repeat(shift, each)
        weight, bias = given.get("alpha", 1.0) * weight * scale, given.get("beta", 1.0) * bias
        transposed = given.get("transA", 0)
        layer.op_type = "Gemm"
        del layer.attribute[:]
        layer.attribute.append(helper.make_attribute("transA", transposed))
    elif layer.op_type == "Conv":
        weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    else:  # [inputs, outputs / groups, *kernel], inputs ordered by group
        groups, inputs = given.get("group", 1), weight.shape[0]
        by_group = weight.reshape(groups, inputs // groups, *weight.shape[1:])
        weight = (by_group * scale.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))).reshape(weight.shape)
    for slot, array in (("weight", weight), ("bias", bias * scale + shift)):
        tensor = numpy_helper.from_array(np.ascontiguousarray(array.astype(np.float32)), f"{name}/{slot}")
        graph.initializer.append(tensor)
        weights[tensor.name] = array.astype(np.float32)
    layer.input[:] = [layer.input[0], f"{name}/weight", f"{name}/bias"]
