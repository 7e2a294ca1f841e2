"""What a graph holds as constants: its weights, and what its Constant nodes give."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_MOST = 1 << 16  # numbers of a constant that is looked at: shapes, shares and flags have a few


class Constants:
    """The small constants of a graph, by name; those within its nodes' graphs are not among them."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._weights = {weight.name: weight for weight in graph.initializer}
        self._nodes = {node.output[0]: node for node in graph.node if node.op_type == "Constant"}

    def __contains__(self, name: str) -> bool:
        return name in self._weights or name in self._nodes

    def array(self, name: str) -> NDArray[Any] | None:
        """The values; None: it is no constant, or a large one."""
        if (weight := self._weights.get(name)) is not None:
            return _array(weight)
        node = self._nodes.get(name)
        if node is None or len(node.attribute) != 1:
            return None
        value = helper.get_attribute_value(node.attribute[0])
        return _array(value) if isinstance(value, TensorProto) else np.array(value)

    def integers(self, name: str) -> list[int]:
        """The numbers of a constant list of integers, as shapes are; none where it is no such thing."""
        array = self.array(name)
        if array is None or array.ndim != 1 or array.dtype.kind not in "iu":
            return []
        return [int(value) for value in array]


def _array(tensor: onnx.TensorProto) -> NDArray[Any] | None:
    if math.prod(tensor.dims) > _MOST or tensor.data_location == TensorProto.EXTERNAL:
        return None
    return numpy_helper.to_array(tensor)
