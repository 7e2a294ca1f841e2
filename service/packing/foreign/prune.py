"""A graph whose one output is the sample, without what it does not need."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from latentserve.service.packing.foreign.names import read_names, set_apart
from latentserve.service.packing.steps import Steps, put_first

_PREFIX = "plain/"  # of the names of casts


def holds_numbers(value: onnx.ValueInfoProto) -> bool:
    """Whether an input or output is a tensor of them, not of strings, and no sequence or optional value."""
    kind = value.type.tensor_type.elem_type
    return bool(value.type.HasField("tensor_type") and kind not in (TensorProto.UNDEFINED, TensorProto.STRING))


def keep_output(model: onnx.ModelProto, output: str) -> None:
    """Let an output be the only one, and nodes and weights that it does not need be gone, and inputs that hold no
    numbers either. In place."""
    graph = model.graph
    kept = [value for value in graph.output if value.name == output]
    makers = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
    needed: set[str] = set()
    places: set[int] = set()
    found = [output]
    while found:
        name = found.pop()
        if name in needed:
            continue
        needed.add(name)
        place = makers.get(name)
        if place is not None and place not in places:
            places.add(place)
            found.extend(read_names(graph.node[place]))
    nodes = [graph.node[place] for place in sorted(places)]
    for node in nodes:
        if node.op_type == "Dropout" and len(node.output) > 1 and node.output[1] not in needed:
            del node.output[1:]  # the mask
    weights = [weight for weight in graph.initializer if weight.name in needed]
    sparse = [weight for weight in graph.sparse_initializer if weight.values.name in needed]
    inputs = [value for value in graph.input if value.name in needed or holds_numbers(value)]
    for field, values in (
        (graph.node, nodes),
        (graph.initializer, weights),
        (graph.sparse_initializer, sparse),
        (graph.output, kept),
        (graph.input, inputs),
    ):
        copies = list(values)
        del field[:]
        field.extend(copies)


def without_bfloat16(model: onnx.ModelProto) -> None:
    """Let inputs and outputs of a type that numpy does not know be float32. In place."""
    graph = model.graph
    values = [value for value in (*graph.input, *graph.output) if _is_bfloat16(value)]
    if not values:
        return
    names = {value.name for value in values}
    weights = {weight.name for weight in graph.initializer}
    before, after = Steps(_PREFIX), Steps(_PREFIX)
    name_of = set_apart(graph, _PREFIX, *names)
    for value in values:
        if value.name in weights:
            continue
        own = value.name
        value.name = next(name for name in names if name_of(name) == own)
        value.type.tensor_type.elem_type = TensorProto.FLOAT
        if value in graph.input:
            before.step("Cast", value.name, name=own, to=TensorProto.BFLOAT16)
        else:
            after.nodes.append(helper.make_node("Cast", [own], [value.name], to=TensorProto.FLOAT))
    put_first(graph, before)
    graph.node.extend(after.nodes)


def add_row_axis(model: onnx.ModelProto, shape: tuple[int, ...]) -> None:
    """Let the output of a graph of one row, which has this shape, have an axis for rows in front. In place."""
    graph = model.graph
    name_of = set_apart(graph, _PREFIX)
    steps = Steps(_PREFIX)
    (output,) = graph.output
    made = steps.step("Reshape", name_of(output.name), steps.numbers([1, *shape]))
    output.CopyFrom(helper.make_tensor_value_info(made, output.type.tensor_type.elem_type, [1, *shape]))
    graph.node.extend(steps.nodes)
    graph.initializer.extend(steps.weights)


def _is_bfloat16(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.elem_type == TensorProto.BFLOAT16)
