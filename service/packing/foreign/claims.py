"""Sizes that a graph claims, looked at before anything is allocated for them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import onnx
from onnx import TensorProto, helper, shape_inference

from latentserve.service.bundle.graph import all_nodes
from latentserve.service.errors import BundleError
from latentserve.service.packing.constants import Constants

MOST_NUMBERS: Final = 1 << 28
"""Of one row of anything that goes in or out, 1 GB as float32."""

_PACKED = ("INT4", "INT2", "E2M1")  # types of which a byte holds several
_MOST_WITHIN = 1 << 31  # of a row of a value in between


def check_claims(model: onnx.ModelProto, source: str) -> None:
    """Raises BundleError naming `source`: an input, an output or an operator is said to have more numbers in a row than
    anybody's memory holds, or a weight more than are stored of it."""
    for weight in model.graph.initializer:
        held = _held(weight)
        if held is not None and held != math.prod(weight.dims):
            raise BundleError(
                f"{source}: the weight {weight.name} should hold {_counted(weight.dims)} numbers, and holds {held:,.0f}"
            )
    for what, shape, most in (*_stated(model), *_inferred(model)):
        if math.prod(size for size in shape if size > 0) > most:
            raise BundleError(
                f"{source}: {what} has {_counted(shape)} numbers, [{', '.join(map(str, shape))}]; "
                f"{most:,} can be held at the most"
            )


_Stated = tuple[str, Sequence[int], int]


def _inferred(model: onnx.ModelProto) -> Iterator[_Stated]:
    """What follows of that for values in between, and for outputs whose shape nobody says."""
    outputs = {value.name for value in model.graph.output}
    try:
        known = shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception:  # the graph is anybody's, and the runtime says what is wrong with it
        return
    for value in (*known.value_info, *known.output):
        shape = [axis.dim_value for axis in value.type.tensor_type.shape.dim[1:]]
        is_output = value.name in outputs
        what = "the output" if is_output else "the value"
        yield f"{what} {value.name}", shape, MOST_NUMBERS if is_output else _MOST_WITHIN


def _stated(model: onnx.ModelProto) -> Iterator[_Stated]:
    """What has a shape that is known, without the batch where it is known to have one; and the most that it may be."""
    weights = {weight.name for weight in model.graph.initializer}
    for kind, values in (("input", model.graph.input), ("output", model.graph.output)):
        for value in values:
            if value.name not in weights:
                axes = value.type.tensor_type.shape.dim
                yield f"the {kind} {value.name}", [axis.dim_value for axis in axes[1:]], MOST_NUMBERS
    constants = Constants(model.graph)
    for node in all_nodes(model):
        place = {"ConstantOfShape": 0, "Expand": 1}.get(node.op_type)
        shape = constants.integers(node.input[place]) if place is not None and len(node.input) > place else []
        if node.op_type in ("RandomNormal", "RandomUniform"):
            shape = [int(size) for one in node.attribute if one.name == "shape" for size in one.ints]
        yield f"{node.op_type} {node.name or ', '.join(node.output)}", shape, MOST_NUMBERS


def _held(weight: onnx.TensorProto) -> float | None:
    """How many numbers are stored of a weight in the file; None: they lie in another, or are no numbers."""
    if weight.data_location == TensorProto.EXTERNAL or weight.data_type in (TensorProto.STRING, TensorProto.UNDEFINED):
        return None
    if TensorProto.DataType.Name(weight.data_type).endswith(_PACKED):
        return None
    kind = helper.tensor_dtype_to_np_dtype(weight.data_type)
    if weight.HasField("raw_data"):
        return len(weight.raw_data) / kind.itemsize
    stored = len(getattr(weight, helper.tensor_dtype_to_field(weight.data_type)))
    return stored / 2 if kind.kind == "c" else stored


def _counted(sizes: Sequence[int]) -> str:
    return f"{math.prod(size for size in sizes if size > 0):,}"
