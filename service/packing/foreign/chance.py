"""Random operators of a graph become inputs of it: what they drew is then drawn from the row's own seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, inliner

from latentserve.service.bundle.graph import all_nodes, draws, opset, subgraphs
from latentserve.service.errors import BundleError, one_line
from latentserve.service.packing.constants import Constants
from latentserve.service.packing.edit import attributes
from latentserve.service.packing.foreign.names import set_apart
from latentserve.service.packing.foreign.roles import LatentRole
from latentserve.service.packing.foreign.signature import Input
from latentserve.service.packing.steps import Steps, set_nodes

_PREFIX = "drawn/"  # of the names of what is put in their place
_NUMBERS = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli")
_CUMULATIVE = 11  # the first operator set with CumSum
_SUM_AXES = 13  # the first whose ReduceSum takes its axes as an input

# The values by these names, of a run on so many rows.
Values = Callable[[Sequence[str], int], list[NDArray[Any]]]


class Drawn(NamedTuple):
    """What took the place of an operator that drew."""

    operator: str
    input: Input


def replace_chance(model: onnx.ModelProto, source: str, values: Values, sizes: Sequence[int]) -> list[Drawn]:
    """Let a graph take as inputs what it drew. In place.

    RandomNormal(Like) and RandomUniform(Like) become inputs; Bernoulli, Multinomial and Dropout in training mode
    compare uniform numbers with what they are given.

    Args:
        model: as `bring_out_chance` left it.
        source: what errors name.
        values: runs the graph, or the same `without_chance`.
        sizes: numbers of rows that it takes: two of them, or its only one.

    Raises BundleError: it cannot be seen what belongs to a row.
    """
    drawing = [node for node in model.graph.node if draws(node)]
    if not drawing:
        return []
    given = list(dict.fromkeys(node.input[0] for node in drawing if node.input))
    found = [values(given, size) if given else [] for size in sizes]
    name_of = set_apart(model.graph, _PREFIX)
    seen = [dict(zip(map(name_of, given), arrays, strict=True)) for arrays in found]
    replacer = _Replacer(model, source, seen, sizes)
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if draws(node):
            replacer.replace(node)
            nodes.extend(replacer.steps.nodes)
            replacer.steps.nodes.clear()
        else:
            nodes.append(node)
    set_nodes(model.graph, nodes)
    model.graph.initializer.extend(replacer.steps.weights)
    first = "batch" if len(sizes) > 1 else sizes[0]
    for _, one in replacer.drawn:
        model.graph.input.append(helper.make_tensor_value_info(one.name, TensorProto.FLOAT, [first, *one.shape]))
    return replacer.drawn


def bring_out_chance(model: onnx.ModelProto, source: str) -> None:
    """Let everything that draws be in the main graph: functions are inlined where they do. In place. Raises
    BundleError: something draws in the graph of a node, or draws or not as is computed."""
    if any(draws(node) for function in model.functions for node in function.node):
        try:
            model.CopyFrom(inliner.inline_local_functions(model))
        except Exception as error:  # the functions are anybody's
            raise BundleError(f"{source}: its functions cannot be put in place ({one_line(error)})") from None
    _settle_branches(model.graph)
    _settle_dropouts(model, source)
    without = [node for node in model.graph.node if draws(node)]
    within = next((node for node in all_nodes(model) if draws(node) and node not in without), None)
    if within is not None:
        raise BundleError(
            f"{source}: {_named(within)} is in the body of a Loop, Scan or If, where it cannot be drawn from the seed "
            "of a row; export it unrolled, or with its numbers as an input"
        )


def without_chance(model: onnx.ModelProto) -> onnx.ModelProto:
    """A graph whose values have the same shapes and types, for runtimes that cannot draw them: zeros are drawn."""
    if not any(draws(node) for node in model.graph.node):
        return model
    still = onnx.ModelProto()
    still.CopyFrom(model)
    steps = Steps("still/")
    set_apart(still.graph, "still/")
    nodes: list[onnx.NodeProto] = []
    for node in still.graph.node:
        if node.op_type not in _NUMBERS:
            nodes.append(node)
            continue
        told = attributes(node)
        if node.input:
            zeros = steps.step("Sub", node.input[0], node.input[0])
        else:
            zeros = steps.step("ConstantOfShape", steps.numbers(told["shape"]))
        if "dtype" in told:
            steps.step("Cast", zeros, name=node.output[0], to=told["dtype"])
        else:
            steps.step("Identity", zeros, name=node.output[0])
        nodes.extend(steps.nodes)
        steps.nodes.clear()
    set_nodes(still.graph, nodes)
    still.graph.initializer.extend(steps.weights)
    return still


def _settle_branches(graph: onnx.GraphProto) -> None:
    """Put the branch in the place of each If that draws in one, where a constant says which it is."""
    settled = True
    while settled:
        settled = False
        constants = Constants(graph)
        makers = {name: node for node in graph.node for name in node.output}
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            draws_within = node.op_type == "If" and _draws_within(node)
            on = _settled(node.input[0], constants, makers) if draws_within else None
            if on is None:
                nodes.append(node)
                continue
            settled = True
            branch = attributes(node)["then_branch" if on else "else_branch"]
            nodes.extend(branch.node)
            given = zip(branch.output, node.output, strict=True)
            nodes.extend(helper.make_node("Identity", [value.name], [name]) for value, name in given if name)
            graph.initializer.extend(branch.initializer)
        set_nodes(graph, nodes)


def _draws_within(node: onnx.NodeProto) -> bool:
    return any(draws(one) or _draws_within(one) for inner in subgraphs(node) for one in inner.node)


def _settled(name: str, constants: Constants, makers: Mapping[str, onnx.NodeProto]) -> bool | None:
    """Whether a condition is true always, or false always; None: it is computed."""
    if (value := constants.array(name)) is not None:
        return bool(value.all())
    node = makers.get(name)
    if node is None or node.op_type not in ("Identity", "Cast", "Not"):
        return None
    found = _settled(node.input[0], constants, makers)
    return found if found is None or node.op_type != "Not" else not found


def _settle_dropouts(model: onnx.ModelProto, source: str) -> None:
    """Let those be gone that are told to do nothing. Raises BundleError: whether one draws is computed."""
    constants = Constants(model.graph)
    for node in model.graph.node:
        if node.op_type != "Dropout" or not draws(node):
            continue
        training = constants.array(node.input[2])
        if training is None:
            raise BundleError(
                f"{source}: {_named(node)} draws or not as {node.input[2]} says, which is computed; make it a constant"
            )
        if not training.any() and not any(node.output[1:]):
            node.op_type = "Identity"
            del node.input[1:], node.output[1:], node.attribute[:]


class _Replacer:
    """Makes inputs of operators that draw, and of the inputs what the operators gave."""

    def __init__(
        self,
        model: onnx.ModelProto,
        source: str,
        seen: Sequence[Mapping[str, NDArray[Any]]],
        sizes: Sequence[int],
    ) -> None:
        self.steps = Steps(_PREFIX)
        self.drawn: list[Drawn] = []
        self._constants = Constants(model.graph)
        self._opset = opset(model)
        self._source = source
        self._seen = seen
        self._sizes = sizes

    def replace(self, node: onnx.NodeProto) -> None:
        """Put nodes into `steps` that give the node's outputs, of an input that is one of `drawn` now."""
        told = attributes(node)
        operator, made = node.op_type, node.output[0]
        like = [values[node.input[0]] for values in self._seen] if node.input else []
        given = helper.np_dtype_to_tensor_dtype(like[0].dtype) if like else TensorProto.FLOAT
        wanted = told.get("dtype", given)
        shapes = [value.shape for value in like] or [tuple(told["shape"])] * len(self._sizes)
        if operator == "Multinomial":
            shapes = [(shape[0], told.get("sample_size", 1)) for shape in shapes]
        if operator.startswith("RandomNormal"):
            role = LatentRole(
                "normal", _decimal(told.get("mean", 0.0)), abs(_decimal(told.get("scale", 1.0))), noise=True
            )
            self.steps.step("Cast", self._input(node, shapes, role), name=made, to=wanted)
            return
        low, high = _decimal(told.get("low", 0.0)), _decimal(told.get("high", 1.0))
        u = self._input(node, shapes, LatentRole("uniform", (low + high) / 2, (high - low) / 2, noise=True))
        # Rounded, the highest number may be drawn, which none of these operators gives.
        kind = helper.tensor_dtype_to_np_dtype(wanted if operator.startswith("Random") else TensorProto.FLOAT)
        kind = min(kind, np.dtype(np.float32), key=lambda one: one.itemsize)
        u = self.steps.step("Min", u, self.steps.weight(np.nextafter(kind.type(high), kind.type(low)).astype("f4")))
        match operator:
            case "Bernoulli":
                share = self.steps.cast(node.input[0], TensorProto.FLOAT, given)
                self.steps.step("Cast", self.steps.step("Less", u, share), name=made, to=wanted)
            case "Multinomial":
                self._multinomial(node, u, given, like[0].shape[1], told.get("dtype", TensorProto.INT32))
            case "Dropout":
                self._dropout(node, u, given)
            case _:
                self.steps.step("Cast", u, name=made, to=wanted)

    def _input(self, node: onnx.NodeProto, shapes: Sequence[tuple[int, ...]], role: LatentRole) -> str:
        """A new input for what a node draws in these shapes, of so many rows each; its value in that shape."""
        found = _of_a_row(shapes, self._sizes)
        if found is None:
            raise BundleError(
                f"{self._source}: {_named(node)} draws numbers of shape {list(shapes[0])}, of which it cannot be seen "
                "which belong to a row; export it with them as an input, or with the batch as their first axis"
            )
        if role.scale <= 0:
            raise BundleError(f"{self._source}: {_named(node)} draws nothing but {role.shift:g}; make it a constant")
        each, rest = found
        name = f"{_PREFIX}{node.output[0]}"
        shape = rest if each == 1 else (each, *rest)
        self.drawn.append(Drawn(_named(node), Input(name, np.dtype(np.float32), shape, True, role)))
        return name if each == 1 else self.steps.step("Reshape", name, self.steps.numbers([-1, *rest]))

    def _dropout(self, node: onnx.NodeProto, u: str, given: int) -> None:
        """https://onnx.ai/onnx/operators/onnx__Dropout.html: scale * data * mask, scale = 1 / (1 - ratio)."""
        ratio = self._constants.array(node.input[1]) if node.input[1] else np.array(0.5)
        if ratio is None or not 0 <= float(ratio.reshape(())) < 1:
            raise BundleError(f"{self._source}: {_named(node)} has a ratio that is no constant in [0, 1)")
        dropped = float(ratio.reshape(()))
        kept = node.output[1] if len(node.output) > 1 and node.output[1] else None
        kept = self.steps.step("Not", self.steps.step("Less", u, self.steps.weight(np.array(dropped, "f4"))), name=kept)
        factor = self.steps.weight(np.array(1 / (1 - dropped), helper.tensor_dtype_to_np_dtype(given)))
        mask = self.steps.step("Mul", self.steps.step("Cast", kept, to=given), factor)
        self.steps.step("Mul", node.input[0], mask, name=node.output[0])

    def _multinomial(self, node: onnx.NodeProto, u: str, given: int, classes: int, wanted: int) -> None:
        """How many of the classes' cumulative shares lie at or below u; that of the last is 1, and left out."""
        if self._opset < _CUMULATIVE:
            raise BundleError(
                f"{self._source}: {_named(node)} needs operator set {_CUMULATIVE}; the graph has {self._opset}"
            )
        steps = self.steps
        shares = steps.step("Softmax", steps.cast(node.input[0], TensorProto.FLOAT, given), axis=1)
        ends = steps.step("CumSum", shares, steps.weight(np.array(1, np.int64)))
        inner = steps.step("Slice", ends, *(steps.numbers([number]) for number in (0, classes - 1, 1)))
        row = steps.step("Reshape", inner, steps.numbers([-1, 1, classes - 1]))
        column = steps.step("Reshape", u, steps.numbers([0, -1, 1]))
        passed = steps.step("Cast", steps.step("Not", steps.step("Less", column, row)), to=TensorProto.FLOAT)
        if self._opset < _SUM_AXES:
            count = steps.step("ReduceSum", passed, axes=[2], keepdims=0)
        else:
            count = steps.step("ReduceSum", passed, steps.numbers([2]), keepdims=0)
        steps.step("Cast", count, name=node.output[0], to=wanted)


def _of_a_row(shapes: Sequence[tuple[int, ...]], sizes: Sequence[int]) -> tuple[int, tuple[int, ...]] | None:
    """Of shapes of runs on so many rows, which are [n * each, *rest]: each, and the rest. What has an axis of 1 for
    the rows, the same for all of them, may as well have one number a row. None: it is not seen."""
    if not all(shapes) or len({shape[1:] for shape in shapes}) > 1:
        return None
    each = {shape[0] / size for shape, size in zip(shapes, sizes, strict=True)}
    if len(each) == 1 and (found := each.pop()) >= 1 and found == int(found):
        return int(found), shapes[0][1:]
    return (1, shapes[0][1:]) if {shape[0] for shape in shapes} == {1} and len(shapes[0]) > 1 else None


def _named(node: onnx.NodeProto) -> str:
    return f"{node.op_type} {node.name or node.output[0]}"


def _decimal(value: float) -> float:
    """Of a float32 attribute the number that was meant: 0.1, not 0.10000000149."""
    return float(str(np.float32(value)))
