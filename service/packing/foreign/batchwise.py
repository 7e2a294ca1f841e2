"""Operators that look at all rows of a batch, so that a row is another beside others."""

from __future__ import annotations

import onnx
from onnx import TensorProto

from latentserve.service.bundle.graph import all_nodes, opset
from latentserve.service.packing.constants import Constants
from latentserve.service.packing.edit import attributes

_TRAINING_MODE = 14  # the first operator set whose BatchNormalization has it; before, further outputs told
_QUANTISED = {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"}


def rounds_by_batch(model: onnx.ModelProto) -> bool:
    """Whether numbers are rounded by the largest of a batch, as `quantize_dynamic` does it: a row is one alone."""
    return any(node.op_type in _QUANTISED for node in all_nodes(model))


def is_coarse(model: onnx.ModelProto) -> bool:
    """Whether a graph computes in less than float32, so that more of a difference is rounding."""
    kinds = {weight.data_type for weight in model.graph.initializer}
    kinds |= {attribute.i for node in all_nodes(model) for attribute in node.attribute if attribute.name == "to"}
    quantised = any("Quantize" in node.op_type or node.op_type.startswith("QLinear") for node in all_nodes(model))
    return quantised or bool(kinds & {TensorProto.FLOAT16, TensorProto.BFLOAT16})


def batchwise(model: onnx.ModelProto) -> str | None:
    """The first operator that is known to do so, and what to do, as a sentence; None: none is."""
    constants = Constants(model.graph)
    for node in all_nodes(model):
        told, named = attributes(node), f"{node.op_type} {node.name or node.output[0]}"
        further = opset(model) < _TRAINING_MODE and any(node.output[1:])
        if node.op_type == "BatchNormalization" and (told.get("training_mode", 0) or further):
            return f"{named} is in training mode, and takes the mean of a batch: export the model in eval mode"
        if node.op_type in _QUANTISED:
            return f"{named} rounds by the largest number of a batch: quantise the model statically"
        if node.op_type.startswith("Reduce") and node.input:
            has_axes = "axes" in told or any(node.input[1:]) or told.get("noop_with_empty_axes", 0)
            axes = told.get("axes") or (constants.integers(node.input[1]) if len(node.input) > 1 else [])
            if 0 in axes or not has_axes:
                over = "axis 0" if has_axes else "all axes"
                return f"{named} goes over {over}, and so over rows: leave it out, or put constants in its place"
    return None
