"""The served graph: a bundle's generator, and beside it what is computed of every sample, in one run on one device.

The bundle's file keeps its single output `sample`, its hash and its version; the rest is grafted when it is loaded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from latentserve.service.bundle import SampleSpec

Output = Literal["sample", "sample_uint8", "signals"]

MEAN: Final = "mean"
STD: Final = "std"
SATURATED_SHARE: Final = "saturated_share"
HIGH_FREQUENCY: Final = "high_frequency"
NONFINITE: Final = "nonfinite"

_SAMPLE = "sample"
_GREY_LEVELS = 255
_LEAST_OPSET = 13  # the first whose ReduceSum takes its axes as an input
_AXES_AS_INPUT = 18  # from here on every reduction does
_TO_THE_END = np.iinfo(np.int64).max


@dataclass(frozen=True)
class ServedGraph:
    """What follows a generator's ONNX file to make it the served one, and the names that outputs have there. A graph of
    an opset below 13 has `sample` alone.
    """

    graft: bytes
    outputs: dict[Output, str]


def signal_columns(spec: SampleSpec) -> list[str]:
    """What the columns of the output `signals` are, in order."""
    return [MEAN, STD, SATURATED_SHARE, HIGH_FREQUENCY, NONFINITE] if _is_image(spec) else [MEAN, STD, NONFINITE]


def served_graph(content: bytes, opset: int, spec: SampleSpec) -> ServedGraph:
    """The further outputs of a generator's ONNX file, whose output is `sample` float32 [batch, *shape].

    `sample_uint8` [batch, *shape], of images: `value_range` stretched to 0 .. 255, rounded half to even and clipped;
    NaN is 0. Bit for bit what `latentserve.service.encoding.images.to_uint8` makes of `sample`.

    `signals` float32 [batch, S], a row's numbers by `signal_columns`:
        mean, std: over the values of the row; NaN and infinity spread into them as they do in numpy.
        saturated_share: share of values within half a grey level of black or white, or beyond; NaN where mean is not
            finite.
        high_frequency: mean squared difference of horizontal and vertical neighbours, over all channels, divided by
            the square of the value range's span: 0 of a flat image (or of one pixel), 1 of a chessboard; NaN where
            mean is not finite.
        nonfinite: number of values that are NaN or infinite.
    The squares of values beyond 1e19 overflow: std and high_frequency are then infinite.

    The graph is neither parsed nor copied: messages of protobuf that follow one another are merged, lists end to end
    (https://protobuf.dev/programming-guides/encoding/#last-one-wins).
    """
    if opset < _LEAST_OPSET:
        return ServedGraph(b"", {"sample": _SAMPLE})
    prefix = b"served"
    while prefix in content:  # then no name of the graph, however deep inside, begins with it
        prefix += b"_"
    graft = _Graft(opset, prefix.decode())
    outputs: dict[Output, str] = {"sample": _SAMPLE}
    if _is_image(spec):
        outputs["sample_uint8"] = graft.output(_uint8(graft, spec), TensorProto.UINT8, spec.shape)
    outputs["signals"] = graft.output(_signals(graft, spec), TensorProto.FLOAT, [len(signal_columns(spec))])
    return ServedGraph(onnx.ModelProto(graph=graft.graph).SerializeToString(), outputs)


def _is_image(spec: SampleSpec) -> bool:
    return spec.kind == "image" and spec.value_range is not None


class _Graft:
    """New nodes of a model, by names that begin with a prefix that none of its own has."""

    def __init__(self, opset: int, prefix: str) -> None:
        self.graph = onnx.GraphProto()
        self._opset = opset
        self._prefix = prefix
        self._names = 0

    def constant(self, values: NDArray[np.generic]) -> str:
        name = self._name()
        self.graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def step(self, operator: str, *inputs: str, **attributes: object) -> str:
        name = self._name()
        self.graph.node.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def reduce(self, operator: str, value: str) -> str:
        """[batch, n] -> [batch, 1]."""
        if operator == "ReduceSum" or self._opset >= _AXES_AS_INPUT:
            return self.step(operator, value, self.constant(np.array([1])))
        return self.step(operator, value, axes=[1])

    def flat(self, value: str) -> str:
        """[batch, ...] -> [batch, n]."""
        return self.step("Flatten", value, axis=1)

    def slice(self, value: str, start: int, end: int, axis: int) -> str:
        bounds = [self.constant(np.array([number])) for number in (start, end, axis)]
        return self.step("Slice", value, *bounds)

    def output(self, name: str, dtype: int, sizes: list[int]) -> str:
        self.graph.output.append(helper.make_tensor_value_info(name, dtype, ["batch", *sizes]))
        return name

    def _name(self) -> str:
        self._names += 1
        return f"{self._prefix}/{self._names}"


def _uint8(graft: _Graft, spec: SampleSpec) -> str:
    low, high = spec.value_range or (0, 1)
    shifted = graft.step("Sub", _SAMPLE, graft.number(low))
    scaled = graft.step("Mul", shifted, graft.number(_GREY_LEVELS / (high - low)))
    # At a scale of 1 quantising is rounding half to even, clipping and casting in one pass. With the range's own scale
    # it would be all of this line, but divide where `to_uint8` multiplies, which rounds differently.
    return graft.step("QuantizeLinear", scaled, graft.number(1), graft.constant(np.array(0, np.uint8)))


def _signals(graft: _Graft, spec: SampleSpec) -> str:
    """Sums, beside each other, times what makes them means: one product for all columns."""
    values = math.prod(spec.shape)
    flat = graft.flat(_SAMPLE)
    mean = graft.reduce("ReduceMean", flat)
    deviation = graft.reduce("ReduceL2", graft.step("Sub", flat, mean))
    # x - x is 0, or NaN of what is not finite.
    faults = graft.step("IsNaN", graft.step("Sub", flat, flat))
    nonfinite = graft.reduce("ReduceSum", graft.step("Cast", faults, to=TensorProto.FLOAT))
    columns, scales = [mean, deviation, nonfinite], [1.0, 1 / math.sqrt(values), 1.0]
    if _is_image(spec):
        low, high = spec.value_range or (0, 1)
        half_step = (high - low) / (2 * _GREY_LEVELS)
        black = graft.step("LessOrEqual", flat, graft.number(low + half_step))
        white = graft.step("GreaterOrEqual", flat, graft.number(high - half_step))
        saturated = graft.step("Cast", graft.step("Or", black, white), to=TensorProto.FLOAT)
        differences, pairs = _differences(graft, spec.shape)
        # 0, or NaN where the mean is not finite: added, it marks columns that would not show it by themselves.
        mark = graft.step("Sub", mean, mean)
        columns[2:2] = [
            graft.step("Add", graft.reduce("ReduceSum", saturated), mark),
            graft.step("Add", differences, mark) if pairs else mark,
        ]
        scales[2:2] = [1 / values, 1 / (max(pairs, 1) * (high - low) ** 2)]
    return graft.step("Mul", graft.step("Concat", *columns, axis=1), graft.constant(np.array([scales], np.float32)))


def _differences(graft: _Graft, shape: list[int]) -> tuple[str, int]:
    """The sum [batch, 1] of the squared differences of vertical and horizontal neighbours, and how many there are."""
    sums, pairs = [], 0
    for axis, size in ((2, shape[1]), (3, shape[2])):
        if size > 1:
            later, earlier = graft.slice(_SAMPLE, 1, _TO_THE_END, axis), graft.slice(_SAMPLE, 0, -1, axis)
            sums.append(graft.reduce("ReduceSumSquare", graft.flat(graft.step("Sub", later, earlier))))
            pairs += math.prod(shape) // size * (size - 1)
    return (graft.step("Add", *sums) if len(sums) == 2 else "".join(sums)), pairs
