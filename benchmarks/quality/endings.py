"""ONNX generators that differ in how they end, as those of many kinds do: last operators, ranges, layouts and types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

DIM = 16  # of the latents

Step = str | tuple[str, Mapping[str, Any]]  # an operator, and its attributes and further inputs (arrays)


def ending(
    shape: Sequence[int],
    *steps: Step,
    dtype: int = TensorProto.FLOAT,
    gain: float = 1.0,
    offset: float = 0.0,
    labels: NDArray[np.floating[Any]] | None = None,
    name: str = "out",
    known: bool = True,
    seed: int = 0,
) -> onnx.ModelProto:
    """A generator of standard normal numbers times `gain` plus `offset`, which go through `steps`, are brought to
    `shape` and cast to `dtype`. `labels` [k] is what each label adds before the steps. Without `known` the graph does
    not say the shape of its output."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    arrays: dict[str, NDArray[Any]] = {
        "w": (rng.normal(size=(DIM, size)) * gain / np.sqrt(DIM)).astype(np.float32),
        "b": np.full(size, offset, np.float32),
        "sizes": np.array([-1, *shape]),
    }
    inputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", DIM])]
    nodes = [helper.make_node("MatMul", ["z", "w"], ["h"]), helper.make_node("Add", ["h", "b"], ["g"])]
    if labels is None:
        nodes.append(helper.make_node("Identity", ["g"], ["0"]))
    else:
        arrays["added"] = labels.astype(np.float32).reshape(-1, 1)
        inputs.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]))
        nodes.append(helper.make_node("Gather", ["added", "label"], ["of_label"]))
        nodes.append(helper.make_node("Add", ["g", "of_label"], ["0"]))
    for place, step in enumerate(steps):
        operator, told = (step, {}) if isinstance(step, str) else step
        given = [key for key, value in told.items() if isinstance(value, np.ndarray)]
        arrays |= {f"{place}/{key}": told[key] for key in given}
        attributes = {key: value for key, value in told.items() if key not in given}
        names = [str(place), *(f"{place}/{key}" for key in given)]
        nodes.append(helper.make_node(operator, names, [str(place + 1)], **attributes))
    nodes.append(helper.make_node("Reshape", [str(len(steps)), "sizes"], ["shaped"]))
    nodes.append(helper.make_node("Cast", ["shaped"], [name], to=dtype))
    graph = helper.make_graph(
        nodes,
        "ending",
        inputs,
        [helper.make_tensor_value_info(name, dtype, ["n", *shape] if known else None)],
        [numpy_helper.from_array(array, key) for key, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def number(value: float) -> NDArray[np.float32]:
    """A constant."""
    return np.array(value, np.float32)


def scaled(scale: float, offset: float = 0.0) -> list[Step]:
    """Times `scale`, plus `offset`."""
    return [("Mul", {"b": number(scale)}), ("Add", {"b": number(offset)})]


def mixed(size: int, share: float = 0.08, seed: int = 1) -> Step:
    """Each value with some of the others: what bounded it before does not bound it now, as in a last convolution."""
    mixing = np.random.default_rng(seed).normal(size=(size, size)) * share / np.sqrt(size)
    return "MatMul", {"b": (np.eye(size) + mixing).astype(np.float32)}
