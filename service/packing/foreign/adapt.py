"""The beginning of a generator's graph: `z`, `label` and `condition` become the inputs that it was brought with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from latentserve.service.bundle.graph import opset
from latentserve.service.packing.foreign.names import read_names, set_apart
from latentserve.service.packing.foreign.roles import (
    ConditionRole,
    ConstantRole,
    LabelRole,
    LatentRole,
    UnusedRole,
)
from latentserve.service.packing.foreign.signature import Input, Signature
from latentserve.service.packing.steps import Steps, put_first

_PREFIX = "inputs/"  # of the names of what is put before the graph
_SIZES_AS_INPUT = 13  # the first operator set whose Split takes sizes as an input


def adapt_inputs(model: onnx.ModelProto, signature: Signature, batch: int | None = None) -> None:
    """Give a graph that has the inputs of `signature` the inputs of a bundle instead: `z` float32 [batch, dim], and
    `label` int64 [batch] and `condition` float32 [batch, k] where it has them. In place; its other values may get other
    names, and so may outputs: `sample`, and what begins with `sample/`, is free afterwards.

    `batch`: the number of rows that it takes; None: any.
    """
    name_of = set_apart(model.graph, (_PREFIX, "sample/"), "z", "label", "condition", "sample")
    before = _Before(opset(model))
    before.cut(signature)
    columns = {one.name: place for one, place in signature.columns()}
    read = {name for node in model.graph.node for name in read_names(node)}
    read |= {value.name for value in model.graph.output}
    for one in signature.inputs:
        name = name_of(one.name)
        match one.role:
            case LatentRole():
                piece = before.piece("z", columns[one.name])
                if one.dtype.kind in "iu":
                    piece = before.whole(piece, one.role.wholes)
                before.rows(piece, TensorProto.FLOAT, (one.width,), one, name)
            case ConditionRole():
                piece = before.piece("condition", columns[one.name])
                before.rows(piece, TensorProto.FLOAT, (one.width,), one, name)
            case LabelRole(form):
                before.label(one, form, name)
            case ConstantRole():
                before.constant(one, one.role.array(one.name, one.shape, one.dtype), name)
            case UnusedRole() if name in read:
                before.constant(one, np.zeros(one.shape, one.dtype), name)
    del model.graph.input[:], model.graph.value_info[:]
    model.graph.input.extend(_graph_inputs(signature, batch))
    put_first(model.graph, before)


class _Before(Steps):
    """The nodes that come before a graph's own."""

    def __init__(self, version: int) -> None:
        super().__init__(_PREFIX)
        self._version = version
        self._pieces: dict[tuple[str, int], str] = {}

    def cut(self, signature: Signature) -> None:
        """Cut `z` and `condition` into what each input takes of them."""
        for whole, kind in (("z", LatentRole), ("condition", ConditionRole)):
            places = [place for one, place in signature.columns() if isinstance(one.role, kind)]
            if len(places) == 1:
                self._pieces[whole, 0] = whole
            elif places:
                self._split(whole, places)

    def piece(self, whole: str, place: slice) -> str:
        """What is at this place of it, [batch, columns]."""
        return self._pieces[whole, place.start]

    def whole(self, piece: str, ends: tuple[int, int]) -> str:
        """The whole numbers that its numbers begin with, between two."""
        first, last = (self.weight(np.array(end, np.float32)) for end in ends)
        return self.step("Min", self.step("Max", self.step("Floor", piece), first), last)

    def label(self, one: Input, form: str | None, name: str) -> None:
        if form == "one-hot":
            column = self.step("Reshape", "label", self.numbers([-1, 1]))
            hot = self.step("Equal", column, self.weight(np.arange(one.width, dtype=np.int64)[None]))
            self.rows(hot, TensorProto.BOOL, (one.width,), one, name)
        else:
            self.rows("label", TensorProto.INT64, (), one, name)

    def rows(self, value: str, kind: int, shape: tuple[int, ...], one: Input, name: str) -> None:
        """Rows of this shape, in the type and shape of the input."""
        value = self.cast(value, helper.np_dtype_to_tensor_dtype(one.dtype), kind)
        if one.shape == shape:
            self.step("Identity", value, name=name)
        else:
            self.step("Reshape", value, self.numbers([-1, *one.shape]), name=name)

    def constant(self, one: Input, array: NDArray[np.generic], name: str) -> None:
        """The same numbers for all rows."""
        if one.batched:
            sizes = self.step("Concat", self.rows_of("z"), self.numbers(one.shape), axis=0)
            self.step("Expand", self.weight(array[None]), sizes, name=name)
        else:
            self.weight(array, name)

    def _split(self, whole: str, places: Sequence[slice]) -> None:
        names = [self.name() for _ in places]
        sizes = [place.stop - place.start for place in places]
        if self._version < _SIZES_AS_INPUT:
            self.nodes.append(helper.make_node("Split", [whole], names, axis=1, split=sizes))
        else:
            self.nodes.append(helper.make_node("Split", [whole, self.numbers(sizes)], names, axis=1))
        for place, name in zip(places, names, strict=True):
            self._pieces[whole, place.start] = name


def _graph_inputs(signature: Signature, batch: int | None) -> list[onnx.ValueInfoProto]:
    first = "batch" if batch is None else batch
    value = helper.make_tensor_value_info
    found = [value("z", TensorProto.FLOAT, [first, signature.latent.dim])]
    if signature.label is not None:
        found.append(value("label", TensorProto.INT64, [first]))
    if signature.conditions is not None:
        found.append(value("condition", TensorProto.FLOAT, [first, len(signature.conditions)]))
    return found
