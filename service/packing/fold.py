"""Batch normalisation folded into the layer before it: at inference it is a scale and a shift of each channel."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from latentserve.service.packing.edit import Edit, attributes

_EPSILON = 1e-5  # ONNX's default


def fold_batch_norm(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` without the batch normalisations that a Conv, ConvTranspose, Gemm or MatMul alone feeds, be it
    through a Reshape of [batch, C * ...] to [batch, C, ...].

    The outputs are the same to float32 rounding. Others are left: in training mode, with parameters or weights that are
    no constants, and those inside control flow. ONNX Runtime folds the first of these forms by itself; a
    graph that is to be quantised needs all of them folded before.
    """
    edit = Edit(model)
    graph = edit.graph
    readers: dict[str, int] = {value.name: 1 for value in graph.output}
    for name in (name for node in graph.node for name in node.input):
        readers[name] = readers.get(name, 0) + 1
    makers = {name: node for node in graph.node for name in node.output}
    folded: list[onnx.NodeProto] = []
    for node in graph.node:
        scale_shift = _scale_shift(node, edit)
        if scale_shift is None:
            continue
        reshape = makers.get(node.input[0])
        layer = reshape
        if reshape is not None and reshape.op_type == "Reshape" and readers[node.input[0]] == 1:
            layer = makers.get(reshape.input[0])
        if layer is None or readers[layer.output[0]] != 1 or readers[node.input[0]] != 1:
            continue
        through_reshape = layer is not reshape
        if not _is_foldable(layer, edit, through_reshape):
            continue
        _fold(layer, *scale_shift, edit, node.output[0])
        last = reshape if through_reshape else layer
        assert last is not None  # noqa: S101, for mypy
        last.output[0] = node.output[0]
        makers[node.output[0]] = last
        folded.append(node)
    return edit.done([node for node in graph.node if node not in folded])


def _scale_shift(node: onnx.NodeProto, edit: Edit) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """What a batch normalisation does to each channel, float64 [C] twice; None: the node is none with constants."""
    if node.op_type != "BatchNormalization" or len(node.output) > 1 or not edit.are_constant(node.input[1:]):
        return None
    given = attributes(node)
    if given.get("training_mode", 0):
        return None
    gain, bias, mean, variance = (edit.array(name).astype(np.float64) for name in node.input[1:])
    scale = gain / np.sqrt(variance + given.get("epsilon", _EPSILON))
    return scale, bias - mean * scale


def _is_foldable(layer: onnx.NodeProto, edit: Edit, through_reshape: bool) -> bool:
    constant = edit.are_constant(layer.input[1:])
    if layer.op_type in ("Conv", "ConvTranspose"):
        return constant and not through_reshape
    if layer.op_type == "MatMul":
        return constant and len(edit.shapes.get(layer.input[0], [])) == len(edit.weights[layer.input[1]].dims) == 2
    return layer.op_type == "Gemm" and constant


def _fold(
    layer: onnx.NodeProto,
    scale: NDArray[np.float64],
    shift: NDArray[np.float64],
    edit: Edit,
    name: str,
) -> None:
    """Make `layer` give scale * (what it gave) + shift, channel by channel; its new weights are named after `name`."""
    given = attributes(layer)
    weight = edit.array(layer.input[1]).astype(np.float64)
    bias = edit.array(layer.input[2]).astype(np.float64) if len(layer.input) > 2 and layer.input[2] else np.zeros(1)
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
        edit.constant(f"{name}/{slot}", array.astype(np.float32))
    layer.input[:] = [layer.input[0], f"{name}/weight", f"{name}/bias"]
