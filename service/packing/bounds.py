"""What a graph's values can be at the most, by its last operators: a tanh, a sigmoid, a clip, and what scales them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto

from latentserve.service.packing.constants import Constants

Interval = tuple[float, float]

_FIXED: dict[str, Interval] = {
    "Tanh": (-1, 1),
    "Softsign": (-1, 1),
    "Sin": (-1, 1),
    "Cos": (-1, 1),
    "Erf": (-1, 1),
    "Sign": (-1, 1),
    "Sigmoid": (0, 1),
    "HardSigmoid": (0, 1),
    "Softmax": (0, 1),
}
# What gives some of the values, or means of them, of its first input.
_PASSING = {
    "Identity", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "Expand", "Tile",
    "DepthToSpace", "SpaceToDepth", "MaxPool", "AveragePool", "Dropout", "Round", "Floor", "Ceil",
}  # fmt: skip
_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "Add": lambda one, other: one + other,
    "Sub": lambda one, other: one - other,
    "Mul": lambda one, other: one * other,
    "Div": lambda one, other: one / other,
}
_CASTS: dict[int, Interval] = {
    TensorProto.BOOL: (0, 1),
    TensorProto.UINT8: (0, 255),
    TensorProto.INT8: (-128, 127),
    TensorProto.UINT16: (0, 65_535),
}
_MOST_NUMBERS = 4096  # of a constant: a scale for each channel, or each column
_DEPTH = 64  # operators from the output; nobody's last layer is longer


def output_bounds(model: onnx.ModelProto, output: str) -> Interval | None:
    """Between which two numbers every value of a graph's output lies; None where its last operators do not tell."""
    return _Tail(model.graph).of(output, _DEPTH)


class _Tail:
    """A graph, read from its end."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._makers = {name: node for node in graph.node for name in node.output if name}
        self._constants = Constants(graph)
        self._found: dict[str, Interval | None] = {}

    def of(self, name: str, depth: int) -> Interval | None:
        # Each value is looked at once: the ways to it double with every residual block.
        if name not in self._found:
            self._found[name] = self._look(name, depth)
        return self._found[name]

    def _look(self, name: str, depth: int) -> Interval | None:
        if (constant := self._constant(name)) is not None:
            return constant
        node = self._makers.get(name)
        if node is None or depth == 0 or node.domain not in ("", "ai.onnx"):
            return None
        operator = node.op_type
        if operator in _FIXED:
            return _FIXED[operator]
        known = [self.of(part, depth - 1) if part else None for part in node.input]
        first = known[0] if known else None
        if operator == "Cast":
            target = next(attribute.i for attribute in node.attribute if attribute.name == "to")
            return first or _CASTS.get(target)
        if operator == "Clip":
            return self._clip(node, known)
        if operator in ("QuantizeLinear", "DequantizeLinear"):
            return self._codes(node, known)
        if operator in _ARITHMETIC and known[0] is not None and known[1] is not None:
            return _combined(operator, known[0], known[1])
        if first is None:
            return None
        if operator in _PASSING or (operator == "Resize" and _interpolates(node)):
            return first
        if operator == "Relu":
            return max(first[0], 0.0), max(first[1], 0.0)
        if operator == "Neg":
            return -first[1], -first[0]
        if operator == "Concat" and all(known):
            parts = [part for part in known if part is not None]
            return min(low for low, _ in parts), max(high for _, high in parts)
        return None

    def _clip(self, node: onnx.NodeProto, known: list[Interval | None]) -> Interval | None:
        told = {attribute.name: attribute.f for attribute in node.attribute}  # of operator sets before 11
        ends = [told.get("min"), told.get("max")]
        for place in (1, 2):
            bound = known[place] if len(known) > place else None
            if bound is not None:
                ends[place - 1] = bound[place - 1]
        low, high = ends
        if known[0] is not None:
            low = known[0][0] if low is None else max(low, known[0][0])
            high = known[0][1] if high is None else min(high, known[0][1])
        return None if low is None or high is None else (low, high)

    def _codes(self, node: onnx.NodeProto, known: list[Interval | None]) -> Interval | None:
        """Of numbers as integers, x / scale + zero point as far as their type goes; and back."""
        zero = self._constants.array(node.input[2]) if len(node.input) > 2 else np.zeros(1, np.uint8)
        first, scale = known[:2]
        if (
            first is None
            or scale is None
            or scale[0] <= 0
            or zero is None
            or not zero.size
            or zero.dtype.kind not in "iu"
        ):
            return None
        of_zero = float(zero.min()), float(zero.max())
        if node.op_type == "DequantizeLinear":
            shifted = _combined("Sub", first, of_zero)
            return None if shifted is None else _combined("Mul", shifted, scale)
        scaled = _combined("Div", first, scale)
        codes = None if scaled is None else _combined("Add", scaled, of_zero)
        ends = np.iinfo(zero.dtype)
        return None if codes is None else (max(float(ends.min), round(codes[0])), min(float(ends.max), round(codes[1])))

    def _constant(self, name: str) -> Interval | None:
        """Of numbers that the graph holds."""
        values = self._constants.array(name)
        if values is None or not 0 < values.size <= _MOST_NUMBERS:
            return None
        if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
            return None
        return float(values.min()), float(values.max())


def _combined(operator: str, one: Interval, other: Interval) -> Interval | None:
    if operator == "Div" and other[0] <= 0 <= other[1]:
        return None
    ends = [_ARITHMETIC[operator](first, second) for first, second in itertools.product(one, other)]
    return min(ends), max(ends)


def _interpolates(node: onnx.NodeProto) -> bool:
    """Whether what is resized stays between its neighbours, which a cubic does not."""
    return all(attribute.s != b"cubic" for attribute in node.attribute if attribute.name == "mode")
