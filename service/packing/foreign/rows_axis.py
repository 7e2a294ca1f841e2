"""Graphs whose rows lie along another axis than the first, as those of recurrent networks and of columns do."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from latentserve.service.packing.foreign.names import set_apart
from latentserve.service.packing.steps import Steps, put_first

_PREFIX = "rows/"  # of the names of what turns them


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
