"""Nodes and weights that are put into somebody else's graph, by names that begin with a prefix of ours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper


class Steps:
    """New nodes, one after the other, and the weights that they read."""

    def __init__(self, prefix: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._prefix = prefix
        self._made = 0

    def step(self, operator: str, *inputs: str, name: str | None = None, **attributes: object) -> str:
        """A node of one output, which is called `name`, or anything; its name."""
        made = name or self.name()
        self.nodes.append(helper.make_node(operator, inputs, [made], **attributes))
        return made

    def cast(self, value: str, wanted: int, has: int) -> str:
        """The same numbers in the type `wanted`."""
        return value if wanted == has else self.step("Cast", value, to=wanted)

    def numbers(self, values: Sequence[int]) -> str:
        """int64 [n]."""
        return self.weight(np.array(values, np.int64))

    def rows_of(self, value: str) -> str:
        """How many rows a value [n, ...] has, int64 [1]."""
        return self.step("Gather", self.step("Shape", value), self.numbers([0]))

    def weight(self, array: NDArray[np.generic], name: str | None = None) -> str:
        """A constant; its name."""
        made = name or self.name()
        # Not ascontiguousarray, which makes [1] of a scalar.
        self.weights.append(numpy_helper.from_array(np.asarray(array, order="C"), made))
        return made

    def name(self) -> str:
        """One that is new."""
        self._made += 1
        return f"{self._prefix}{self._made}"


def put_first(graph: onnx.GraphProto, steps: Steps) -> None:
    """Put the new nodes before the graph's own, and the weights to its."""
    set_nodes(graph, [*steps.nodes, *graph.node])
    graph.initializer.extend(steps.weights)


def set_nodes(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Let these be the nodes of a graph; its own may be among them."""
    kept = onnx.GraphProto(node=nodes)  # copies, for what is deleted is gone
    del graph.node[:]
    graph.node.MergeFrom(kept.node)
