"""Small ONNX generators and critics, made with `onnx` alone, with weights from a seed."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def dense_generator(
    dim: int = 8,
    shape: tuple[int, ...] = (1, 8, 8),
    labels: int | None = 10,
    hidden: int = 32,
    seed: int = 0,
    poison: bool = False,
    fragile: bool = False,
    hangs: bool = False,
    depth: int = 0,
    batch_mean: bool = False,
    places: bool = False,
    conditions: int = 0,
    rounds: int = 0,
) -> onnx.ModelProto:
    """tanh(W2 relu(W1 z + E[label] + C condition)) of the given sample shape; conditions may be in the hundreds.

    Where z[0] > 3 it gives NaN with `poison`, cannot be run with `fragile`, and with `hangs` does not come to an end
    (within the life of anybody). There are `depth` more hidden layers, all of one weight. A call takes
    `rounds` times half a microsecond more, however many rows it has.
    With `batch_mean` a row depends on the others of its batch, whose mean is taken off; with `places` on its place in
    the batch and on the batch's size, as the last bits of real generators do.
    """
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    weights = {
        "w1": rng.normal(size=(dim, hidden)) / np.sqrt(dim),
        "w2": rng.normal(size=(hidden, size)) / np.sqrt(hidden),
    }
    inputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", dim])]
    nodes = [helper.make_node("MatMul", ["z", "w1"], ["h0"])]
    last = "h0"
    if labels is not None:
        weights["embedding"] = rng.normal(size=(labels, hidden))
        inputs.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]))
        nodes += [
            helper.make_node("Gather", ["embedding", "label"], ["e"]),
            helper.make_node("Add", ["h0", "e"], ["h1"]),
        ]
        last = "h1"
    if conditions:
        weights["c"] = rng.normal(size=(conditions, hidden)) / 100
        inputs.append(helper.make_tensor_value_info("condition", TensorProto.FLOAT, ["batch", conditions]))
        nodes += [helper.make_node("MatMul", ["condition", "c"], ["g"]), helper.make_node("Add", [last, "g"], ["h10"])]
        last = "h10"
    nodes.append(helper.make_node("Relu", [last], ["h2"]))
    last = "h2"
    if depth:
        weights["w"] = rng.normal(size=(hidden, hidden)) / np.sqrt(hidden)
    for layer in range(depth):
        nodes.append(helper.make_node("MatMul", [last, "w"], [f"deep{layer}"]))
        last = f"deep{layer}"
    initializers = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    initializers.append(numpy_helper.from_array(np.array([-1, *shape], np.int64), "shape"))
    nodes += [
        helper.make_node("MatMul", [last, "w2"], ["h3"]),
        helper.make_node("Tanh", ["h3"], ["h4"]),
    ]
    last = "h4"
    if batch_mean:
        initializers.append(numpy_helper.from_array(np.array([0], np.int64), "batch_axis"))
        nodes += [
            helper.make_node("ReduceMean", [last, "batch_axis"], ["m"], keepdims=1),
            helper.make_node("Sub", [last, "m"], ["h6"]),
        ]
        last = "h6"
    if places:
        initializers += [
            numpy_helper.from_array(np.array(0, np.int64), "first_place"),
            numpy_helper.from_array(np.array(1, np.int64), "step"),
            numpy_helper.from_array(np.array([1], np.int64), "second_axis"),
            numpy_helper.from_array(np.array(1e-3, np.float32), "little"),
        ]
        nodes += [
            helper.make_node("Shape", [last], ["sizes"]),
            helper.make_node("Gather", ["sizes", "first_place"], ["n"], axis=0),
            helper.make_node("Range", ["first_place", "n", "step"], ["place"]),
            helper.make_node("Add", ["place", "n"], ["placed"]),
            helper.make_node("Cast", ["placed"], ["placed_float"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["placed_float", "second_axis"], ["column"]),
            helper.make_node("Mul", ["column", "little"], ["shift"]),
            helper.make_node("Add", [last, "shift"], ["h7"]),
        ]
        last = "h7"
    if poison or fragile or hangs:
        initializers += [
            numpy_helper.from_array(np.array([0], np.int64), "zero"),
            numpy_helper.from_array(np.array(3.0, np.float32), "three"),
        ]
        nodes += [
            helper.make_node("Gather", ["z", "zero"], ["first"], axis=1),
            helper.make_node("Greater", ["first", "three"], ["bad"]),
        ]
    if poison:
        initializers.append(numpy_helper.from_array(np.array(np.nan, np.float32), "nan"))
        nodes.append(helper.make_node("Where", ["bad", "nan", last], ["h5"]))
        last = "h5"
    if fragile:  # a look into a table of one value, at the place 1
        initializers.append(numpy_helper.from_array(np.ones(1, np.float32), "table"))
        nodes += [
            helper.make_node("Cast", ["bad"], ["place_in_table"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "place_in_table"], ["one"]),
            helper.make_node("Mul", [last, "one"], ["h8"]),
        ]
        last = "h8"
    if hangs:
        initializers += [
            numpy_helper.from_array(np.array(2**62, np.int64), "for_ever"),
            numpy_helper.from_array(np.array(True), "go_on"),
        ]
        nodes += [
            helper.make_node("Cast", ["bad"], ["bad_number"], to=TensorProto.INT64),
            helper.make_node("ReduceMax", ["bad_number"], ["any_bad"], keepdims=0),
            helper.make_node("Mul", ["any_bad", "for_ever"], ["rounds"]),
            helper.make_node("Loop", ["rounds", "go_on", last], ["h9"], body=_nothing()),
        ]
        last = "h9"
    if rounds:
        initializers += [
            numpy_helper.from_array(np.array(rounds, np.int64), "rounds"),
            numpy_helper.from_array(np.array(True), "go_on"),
        ]
        nodes.append(helper.make_node("Loop", ["rounds", "go_on", last], ["h11"], body=_nothing()))
        last = "h11"
    nodes.append(helper.make_node("Reshape", [last, "shape"], ["sample"]))
    outputs = [helper.make_tensor_value_info("sample", TensorProto.FLOAT, ["batch", *shape])]
    return model(nodes, "generator", inputs, outputs, initializers)


def _nothing() -> onnx.GraphProto:
    """The body of a loop that passes its value on."""
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Identity", ["again"], ["again_out"]),
        helper.make_node("Identity", ["carried"], ["carried_out"]),
    ]
    inputs = [
        value("round", TensorProto.INT64, []),
        value("again", TensorProto.BOOL, []),
        value("carried", TensorProto.FLOAT, None),
    ]
    outputs = [value("again_out", TensorProto.BOOL, []), value("carried_out", TensorProto.FLOAT, None)]
    return helper.make_graph(nodes, "nothing", inputs, outputs)


def dense_critic(shape: tuple[int, ...] = (1, 8, 8), labels: int | None = 10, seed: int = 1) -> onnx.ModelProto:
    """Features relu(W x) of 16 values, score their mean."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    inputs = [helper.make_tensor_value_info("sample", TensorProto.FLOAT, ["batch", *shape])]
    if labels is not None:
        inputs.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]))
    nodes = [
        helper.make_node("Flatten", ["sample"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["features"]),
        helper.make_node("ReduceMean", ["features", "axis"], ["score"], keepdims=0),
    ]
    outputs = [
        helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch"]),
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 16]),
    ]
    weights = [
        numpy_helper.from_array((rng.normal(size=(size, 16)) / np.sqrt(size)).astype(np.float32), "w"),
        numpy_helper.from_array(np.array([1], np.int64), "axis"),
    ]
    return model(nodes, "critic", inputs, outputs, weights)


def changed_critics() -> dict[str, onnx.ModelProto]:
    """Critics of the signature of `dense_critic()`, and not its values: by how they differ."""
    found = {}
    for kind in ("other weights", "a weight that is NaN", "other features, the same score"):
        critic = found[kind] = dense_critic()
        (tensor,) = (tensor for tensor in critic.graph.initializer if tensor.name == "w")
        weights = numpy_helper.to_array(tensor).copy()
        if kind == "other weights":
            weights[:, 3] *= 1.1
        elif kind == "a weight that is NaN":
            weights[0, 0] = np.nan
        else:
            weights = weights[:, ::-1]
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(weights), "w"))
    return found


def model(
    nodes: list[onnx.NodeProto],
    name: str,
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    initializers: list[onnx.TensorProto],
) -> onnx.ModelProto:
    """An ONNX model of operator set 18."""
    graph = helper.make_graph(nodes, name, inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
