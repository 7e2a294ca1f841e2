"""Small graphs as strangers export them, and what they give when they are fed by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.sessions import session

FLOAT, INT64, INT32, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL

Axes = Sequence[int | str | None] | None


def model(
    nodes: Sequence[tuple[str, str, str, dict[str, Any]]],
    inputs: Mapping[str, tuple[int, Axes]],
    outputs: Mapping[str, tuple[int, Axes]],
    weights: Mapping[str, Any] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """Nodes are (operator, inputs, outputs, attributes), names apart by blanks, `-` for one that is left out."""
    made = [
        helper.make_node(
            operator, ["" if name == "-" else name for name in given.split()], gives.split(), name=gives, **told
        )
        for operator, given, gives, told in nodes
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        made,
        "g",
        [value(name, kind, axes) for name, (kind, axes) in inputs.items()],
        [value(name, kind, axes) for name, (kind, axes) in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10 if opset > 20 else 8)


def rand(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)


def dense(
    before: Sequence[tuple[str, str, str, dict[str, Any]]],
    inputs: Mapping[str, tuple[int, Axes]],
    weights: Mapping[str, Any] | None = None,
    *,
    width: int = 16,
    batch: int | str = "n",
    shaped: Sequence[int] = (-1, 3, 4, 4),
    opset: int = 17,
) -> onnx.ModelProto:
    """tanh(m W) as pictures [n, 3, 4, 4], where `before` makes m [n, width] of the inputs."""
    nodes = [*before, ("MatMul", "m W", "h", {}), ("Tanh", "h", "t", {}), ("Reshape", "t shaped", "x", {})]
    held = {"W": rand(width, 48), "shaped": np.array(shaped), **(weights or {})}
    return model(nodes, inputs, {"x": (FLOAT, [batch, 3, 4, 4])}, held, opset)


def run(graph: onnx.ModelProto, feed: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """The first output of a graph."""
    opened = session(graph)
    found: NDArray[Any] = opened.run(None, {name: np.asarray(array) for name, array in feed.items()})[0]
    return found
