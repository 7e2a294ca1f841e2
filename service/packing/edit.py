"""A copy of an ONNX model whose nodes are replaced."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference


class Edit:
    """A copy of `model`, to be edited.

    Attributes:
        graph: the copy's.
        weights: its initializers by name.
        shapes: sizes of the values whose rank is known, by name; 0: unknown.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = shape_inference.infer_shapes(model)
        self.graph = self._model.graph
        self.weights = {tensor.name: tensor for tensor in self.graph.initializer}
        values = [*self.graph.input, *self.graph.value_info, *self.graph.output]
        self.shapes = {value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in values}

    def array(self, name: str) -> NDArray[Any]:
        """A weight's values."""
        return numpy_helper.to_array(self.weights[name])

    def constant(self, name: str, array: NDArray[np.generic]) -> str:
        """A new weight; its name."""
        tensor = numpy_helper.from_array(np.ascontiguousarray(array), name)
        self.graph.initializer.append(tensor)
        self.weights[name] = tensor
        return name

    def are_constant(self, names: Iterable[str]) -> bool:
        """Whether these inputs are weights, or left out."""
        return all(name in self.weights for name in names if name)

    def done(self, nodes: Iterable[onnx.NodeProto]) -> onnx.ModelProto:
        """The copy with these nodes, and the weights that they read."""
        kept = list(nodes)
        del self.graph.node[:], self.graph.value_info[:]
        self.graph.node.extend(kept)
        used = {name for node in kept for name in node.input} | {value.name for value in self.graph.output}
        read = [tensor for tensor in self.graph.initializer if tensor.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(read)
        return shape_inference.infer_shapes(self._model)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes by name."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
