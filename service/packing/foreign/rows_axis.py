"""Graphs whose rows lie along another axis than the first, as those of recurrent networks and of columns do, or along
none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import onnx
from onnx import TensorProto

from latentserve.service.packing.foreign.inputs import is_label
from latentserve.service.packing.foreign.names import set_apart
from latentserve.service.packing.steps import Steps, put_first

ROWS = (2, 3)  # of two runs whose shapes are compared
_PREFIX = "rows/"  # of the names of what turns them


def rows_axis(few: Sequence[int], more: Sequence[int]) -> int | None:
    """The axis along which rows lie, of shapes for `ROWS`; it may have several places a row. None: there is none."""
    differ = [axis for axis, (one, other) in enumerate(zip(few, more, strict=False)) if one != other]
    if len(few) != len(more) or len(differ) != 1 or few[differ[0]] * ROWS[1] != more[differ[0]] * ROWS[0]:
        return None
    return differ[0]


def put_rows_first(model: onnx.ModelProto) -> list[str]:
    """Let the inputs and the one output of a graph begin with the axis of their rows, where that is seen: the only axis
    of any size that inputs and output share by its name, none of which begins with one. In place; what was turned is
    told, a line each."""
    graph = model.graph
    weights = {weight.name for weight in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    rows = _rows(inputs, graph.output)
    if rows is None:
        return []
    turned = [("input", value) for value in inputs] + [("output", value) for value in graph.output]
    turned = [(kind, value) for kind, value in turned if rows in _names(value)[1:]]
    names = [value.name for _, value in turned]
    set_apart(graph, _PREFIX, *names)
    steps = {"input": Steps(f"{_PREFIX}in/"), "output": Steps(f"{_PREFIX}out/")}
    said = []
    for (kind, value), name in zip(turned, names, strict=True):
        own, value.name = value.name, name
        axes = list(_axes(value))
        place = _names(value).index(rows)
        first = [place, *(axis for axis in range(len(axes)) if axis != place)]
        if kind == "output":
            steps[kind].step("Transpose", own, name=name, perm=first)
        else:
            steps[kind].step("Transpose", name, name=own, perm=[first.index(axis) for axis in range(len(axes))])
        said.append(f"{kind} {name}: its rows lie along axis {place}, {rows}, and are put first")
        shape = onnx.TensorShapeProto(dim=[axes[axis] for axis in first])
        value.type.tensor_type.shape.CopyFrom(shape)
    put_first(graph, steps["input"])
    graph.node.extend(steps["output"].nodes)
    return said


def put_axis_first(model: onnx.ModelProto, place: int, rank: int) -> None:
    """Let the one output of a graph, which has so many axes, begin with this one. In place."""
    (output,) = model.graph.output
    name = output.name
    set_apart(model.graph, _PREFIX, name)
    own, output.name = output.name, name
    first = [place, *(axis for axis in range(rank) if axis != place)]
    steps = Steps(f"{_PREFIX}out/")
    steps.step("Transpose", own, name=name, perm=first)
    output.type.tensor_type.ClearField("shape")
    model.graph.node.extend(steps.nodes)


def may_lie_elsewhere(model: onnx.ModelProto) -> bool:
    """Whether rows of the one output may lie along another axis than the first, by what the graph says of it."""
    (output,) = model.graph.output
    axes = _axes(output)
    return not output.type.tensor_type.HasField("shape") or (
        len(axes) > 1 and (axes[0].dim_value > 0 or any(axis.dim_value <= 0 for axis in axes[1:]))
    )


def give_rows(model: onnx.ModelProto, told: Mapping[str, str]) -> list[str]:
    """Let inputs of a graph of one row that have no axis for it have one of 1 in front. In place; what is told is a
    line each.

    These are all inputs of graphs that are mapped over rows by others, whose output's first axis is not that of any of
    them, none of which is open or 1 (nor, but for vectors, that of another axis, which may be the rows); else, where
    rows lie along an axis of 1, labels and conditions without axes.

    Args:
        model: with one output.
        told: words for the roles of inputs: constants stay as they are.
    """
    graph = model.graph
    weights = {weight.name for weight in graph.initializer}
    held = [value for value in graph.input if value.name not in weights]
    kinds = {value.name: told.get(value.name, "").partition(":")[0] for value in held}
    held = [value for value in held if kinds[value.name] not in ("constant", "unused")]
    sizes = {value.name: [axis.dim_value for axis in _axes(value)] for value in held}
    made = [axis.dim_value for axis in _axes(graph.output[0])]
    wide = [sizes[value.name] for value in held if _is_decimal(value) and math.prod(sizes[value.name]) > 1]
    if not wide or any(size <= 0 for shape in (*sizes.values(), made) for size in shape):
        return []
    if all(shape[0] == 1 for shape in wide):
        held = [value for value in held if not sizes[value.name] and _is_of_row(value, kinds[value.name])]
    elif not made or any(shape[0] in (1, made[0]) or (len(shape) > 1 and shape[0] in made) for shape in wide):
        return []
    names = [value.name for value in held]
    set_apart(graph, _PREFIX, *names)
    steps = Steps(f"{_PREFIX}one/")
    for value, name in zip(held, names, strict=True):
        steps.step("Reshape", name, steps.numbers(sizes[name]), name=value.name)
        value.name = name
        shape = onnx.TensorShapeProto(dim=[onnx.TensorShapeProto.Dimension(dim_value=1), *_axes(value)])
        value.type.tensor_type.shape.CopyFrom(shape)
    put_first(graph, steps)
    return [f"input {name}: has no axis for rows, and is of one row" for name in names]


def _is_of_row(value: onnx.ValueInfoProto, kind: str) -> bool:
    """Whether a number is a row's own: it is told so, or a whole number that is called a label."""
    return kind in ("label", "condition") or (not kind and not _is_decimal(value) and is_label(value.name))


def _is_decimal(value: onnx.ValueInfoProto) -> bool:
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
    return value.type.tensor_type.elem_type in kinds


def _rows(inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]) -> str | None:
    """The name of the axis of the rows, where that is the first of not all of them; None: it is not seen."""
    firsts = {axes[0] for value in inputs if (axes := _names(value)) and axes[0]}
    known = {name for value in outputs for name in _names(value) if name}
    if firsts:
        found = firsts if len(firsts) == 1 else set()
    else:
        # Of a graph for one row an axis of any size is a length.
        several = [value for value in inputs if _axes(value) and _axes(value)[0].dim_value > 1]
        found = {name for value in several for name in _names(value) if name} & known
    if len(found) != 1 or not found <= known:
        return None
    (rows,) = found
    having = [names for value in (*inputs, *outputs) if rows in (names := _names(value))]
    once = all(names.count(rows) == 1 for names in having)
    apart = not {value.name for value in inputs} & {value.name for value in outputs}
    return rows if once and apart and any(names[0] != rows for names in having) else None


def _axes(value: onnx.ValueInfoProto) -> Sequence[onnx.TensorShapeProto.Dimension]:
    return value.type.tensor_type.shape.dim


def _names(value: onnx.ValueInfoProto) -> list[str]:
    """Of the axes; empty of one whose size is known, or that has none."""
    return [axis.dim_param for axis in _axes(value)]
