"""Graphs that take one number of rows only: they are set free where that changes nothing, else they run in blocks."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from onnx import helper, version_converter

from latentserve.service.bundle.graph import opset
from latentserve.service.errors import BundleError, one_line
from latentserve.service.packing.constants import Constants
from latentserve.service.packing.foreign.names import rename_values, set_apart
from latentserve.service.packing.steps import Steps, put_first

_PREFIX = "blocks/"  # of the names of what goes round the graph
_LEAST_OPSET = 13  # the first with all operators that cut rows into blocks, for integers too
_LARGEST = 4096  # rows that anybody's graph takes at a time
_MOST_SIZES = 16  # that are worth a try
_TO_THE_END = np.iinfo(np.int64).max


def in_blocks(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """The same graph for any number of rows, of one whose inputs and outputs all have `batch` rows: blocks of so many
    run one after the other (ONNX `Scan`), and the last is filled up with its last row. A single row costs as much as
    `batch` do, and what a larger batch would save is not saved.

    The names of inputs and outputs stay; weights stay where they are, and are not copied where the operator set is 13
    or later. Raises BundleError: an older one, which cannot be converted.
    """
    if opset(model) < _LEAST_OPSET:
        try:
            model = version_converter.convert_version(model, _LEAST_OPSET)
        except Exception as error:
            raise BundleError(
                f"takes {batch} rows at a time, and its operator set {opset(model)} is too old to be wrapped "
                f"({one_line(error)}); export it with operator set {_LEAST_OPSET} or later"
            ) from None
    graph = model.graph
    set_apart(graph, _PREFIX)
    weights = {weight.name for weight in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    outer_inputs = [_with_rows(value, "batch") for value in inputs]
    outer_outputs = [_with_rows(value, "batch") for value in graph.output]
    within = {value.name: f"{_PREFIX}{value.name}" for value in (*inputs, *graph.output)}
    rename_values(graph, lambda name: within.get(name, name))
    body_outputs = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in graph.output]
    body = helper.make_graph([], "block", inputs, body_outputs)
    body.node.extend(graph.node)
    around = _Around(batch)
    cut = [around.cut(value) for value in outer_inputs]
    made = [around.name() for _ in body_outputs]
    around.nodes.append(helper.make_node("Scan", cut, made, name=f"{_PREFIX}scan", body=body, num_scan_inputs=len(cut)))
    for blocks, value in zip(made, outer_outputs, strict=True):
        around.join(blocks, value.name)
    del graph.node[:], graph.value_info[:], graph.input[:], graph.output[:]
    graph.node.extend(around.nodes)
    graph.initializer.extend(around.weights)
    graph.input.extend(outer_inputs)
    graph.output.extend(outer_outputs)
    return model


def _with_rows(value: onnx.ValueInfoProto, rows: str) -> onnx.ValueInfoProto:
    """A copy of an input or output, whose first axis has this name."""
    copy = onnx.ValueInfoProto.FromString(value.SerializeToString())
    if copy.type.tensor_type.shape.dim:
        copy.type.tensor_type.shape.dim[0].dim_param = rows
    return copy


class _Around(Steps):
    """The nodes that cut rows into blocks and put them together again."""

    def __init__(self, batch: int) -> None:
        super().__init__(_PREFIX)
        self._batch = batch
        self._count = ""  # of the rows, [1]
        self._places = ""  # of the rows that fill the blocks

    def cut(self, value: onnx.ValueInfoProto) -> str:
        """[n, ...] -> [blocks, batch, ...]."""
        rows = value.name
        if self._batch > 1:
            if not self._places:
                self._place(rows)
            rows = self.step("Gather", rows, self._places)
        rest = self.step("Slice", self.step("Shape", rows), self.numbers([1]), self.numbers([_TO_THE_END]))
        return self.step("Reshape", rows, self.step("Concat", self.numbers([-1, self._batch]), rest, axis=0))

    def join(self, blocks: str, name: str) -> None:
        """[blocks, batch, ...] -> [n, ...]."""
        rest = self.step("Slice", self.step("Shape", blocks), self.numbers([2]), self.numbers([_TO_THE_END]))
        sizes = self.step("Concat", self.numbers([-1]), rest, axis=0)
        if self._batch == 1:
            self.step("Reshape", blocks, sizes, name=name)
        else:
            rows = self.step("Reshape", blocks, sizes)
            self.step("Slice", rows, self.numbers([0]), self._count, self.numbers([0]), name=name)

    def _place(self, rows: str) -> None:
        """0, 1, ..., n - 1, n - 1, ..., as many as fill the blocks."""
        self._count = self.rows_of(rows)
        size, one, zero = (self.weight(np.array(number, np.int64)) for number in (self._batch, 1, 0))
        last = self.step("Sub", self.step("Squeeze", self._count, self.numbers([0])), one)
        blocks = self.step("Div", self.step("Add", last, size), size)
        every = self.step("Range", zero, self.step("Mul", blocks, size), one)
        self._places = self.step("Min", every, last)


def set_free(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """A copy whose first axes may have any size, so far as a look at its shapes can do it: those of inputs and outputs,
    and constant shapes that begin with the batch, of Reshape, Expand, Tile and ConstantOfShape. Whether it computes the
    same must be seen."""
    free = onnx.ModelProto()
    free.CopyFrom(model)
    graph = free.graph
    set_apart(graph, _PREFIX)
    constants = Constants(graph)
    inputs = [value for value in graph.input if value.name not in constants]
    del graph.value_info[:]
    rows = ""
    for value in (*inputs, *graph.output):
        if _starts_with(value, batch):
            rows = rows or value.name
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
        elif value in graph.output:
            value.type.tensor_type.ClearField("shape")
    steps = Steps(_PREFIX)
    counted = ""
    for node in graph.node:
        if node.op_type not in _SHAPED:
            continue
        place = _SHAPED[node.op_type]
        sizes = constants.integers(node.input[place]) if len(node.input) > place else []
        if not sizes or sizes[0] <= 0 or sizes[0] % batch or batch == 1 != sizes[0]:
            continue
        if node.op_type == "Reshape" and node.input[0] not in constants:
            node.input[1] = steps.numbers([0 if -1 in sizes[1:] else -1, *sizes[1:]])
        elif node.op_type != "Reshape" and sizes[0] == batch > 1:
            counted = counted or steps.rows_of(rows)
            node.input[place] = steps.step("Concat", counted, steps.numbers(sizes[1:]), axis=0)
    put_first(graph, steps)
    return free


_SHAPED = {"Reshape": 1, "Expand": 1, "Tile": 1, "ConstantOfShape": 0}  # which input is the shape


_ADDED = {"Add", "Sub", "Mul", "Div", "Concat"}
_STATES = {"RNN": (5,), "GRU": (5,), "LSTM": (5, 6)}  # which inputs are [directions, rows, hidden]


def fixed_sizes(model: onnx.ModelProto) -> list[int]:
    """Numbers of rows that a graph may be made for, the likeliest first: its constant shapes begin with them, or what
    it adds to rows, or the states of its recurrent layers are of so many."""
    constants = Constants(model.graph)
    weights = {weight.name: weight.dims for weight in model.graph.initializer}
    found: Counter[int] = Counter()
    for value in model.graph.output:
        axes = value.type.tensor_type.shape.dim
        found.update(axis.dim_value for axis in axes[:1] for _ in model.graph.node)
    for node in model.graph.node:
        place = _SHAPED.get(node.op_type)
        sizes = constants.integers(node.input[place]) if place is not None and len(node.input) > place else []
        sizes = sizes or [int(size) for one in node.attribute if one.name == "shape" for size in one.ints]
        found.update(sizes[:1])
        if node.op_type in _ADDED:
            found.update(weights[name][0] for name in node.input if len(weights.get(name, ())) > 1)
        states = [name for place in _STATES.get(node.op_type, ()) for name in node.input[place : place + 1]]
        found.update(weights[name][1] for name in states if len(weights.get(name, ())) > 2)
    return [size for size, _ in found.most_common() if 0 < size <= _LARGEST][:_MOST_SIZES]


def _starts_with(value: onnx.ValueInfoProto, batch: int) -> bool:
    axes = value.type.tensor_type.shape.dim
    return len(axes) > 0 and axes[0].HasField("dim_value") and axes[0].dim_value == batch
