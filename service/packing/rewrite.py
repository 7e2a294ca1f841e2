"""Convolutions rewritten as others and a pixel shuffle: the same numbers from faster kernels.

A transposed convolution of stride s and kernel k sums, at u = o + pad of its uncropped output, x[i] w[u - s i] over i.
With u = s q + r, phase r of every output is an ordinary convolution of x with the taps w[r + s m], m < M = ceil(k / s)
(Shi et al. 2016, https://arxiv.org/abs/1609.07009). So one convolution of kernel M gives all s^n phases as channels,
a shuffle interleaves them, and the pads are cropped off. It multiplies little more than the transposed convolution
does: M - 1 positions an axis, at the border.

The shuffle is spelled channels last (reshape, transpose, reshape): integer convolutions run in that layout, so ONNX
Runtime cancels the transposes around them, and what is left moves whole rows of channels. The operator DepthToSpace
would bring back channels first twice a layer, which cost a quarter of the speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from latentserve.service.packing.edit import Edit, attributes

# Functions of one value, which may as well be taken before the shuffle: right behind the convolution, where a
# quantised convolution takes them into its own rounding.
_POINTWISE = {"Relu", "LeakyRelu", "Elu", "Selu", "Sigmoid", "Tanh", "Softplus", "Gelu", "HardSigmoid", "HardSwish"}

_LANES = 16  # channels that a kernel computes at once: float32 numbers in 512 bits


@dataclass(frozen=True)
class _Axis:
    """One spatial axis of the rewrite: the convolution's `taps` and pads, then `crop` at either end of the output."""

    stride: int
    taps: int
    pads: tuple[int, int]
    positions: int
    crop: tuple[int, int]

    @classmethod
    def of(cls, size: int, kernel: int, stride: int, pads: tuple[int, int], output_padding: int) -> _Axis:
        if size == 1:  # one position has no neighbours: its phases are the whole kernel
            stride = kernel
        taps = -(-kernel // stride)
        crop = (pads[0], stride * taps - kernel - output_padding + pads[1])
        left, first = cls._trimmed(stride, taps, crop[0])
        right, last = cls._trimmed(stride, taps, crop[1])
        return cls(stride, taps, (left, right), size + left + right - taps + 1, (first, last))

    @staticmethod
    def _trimmed(stride: int, taps: int, crop: int) -> tuple[int, int]:
        """The convolution's pad at one end, and what is then left to crop: whole positions are never computed.

        An output padding beyond the last tap is a negative crop, that is, a position more.
        """
        positions = min(crop // stride, taps - 1)
        return taps - 1 - positions, crop - stride * positions


def rewrite_transposed(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` in which transposed convolutions are convolutions and a pixel shuffle.

    The outputs are the same to float32 rounding (sums are taken in another order). Any stride, kernel, pads, output
    padding and groups over 1 to 3 spatial axes; left as they are: those with dilation, `auto_pad` SAME, an
    `output_shape`, weights that are no constants, spatial axes of a size that shape inference does not find, and those
    inside control flow. A pointwise activation that alone follows moves before the shuffle.
    """
    edit = Edit(model)
    graph = edit.graph
    outputs = {value.name for value in graph.output}
    nodes: list[onnx.NodeProto] = []
    moved: set[str] = set()  # activations, by their output
    for index, node in enumerate(graph.node):
        if node.op_type in _POINTWISE and node.output[0] in moved:
            continue
        axes = _axes(node, edit)
        if axes is None:
            nodes.append(node)
            continue
        followers = [after for after in graph.node if node.output[0] in after.input]
        activation = None
        if len(followers) == 1 and followers[0].op_type in _POINTWISE and node.output[0] not in outputs:
            activation = followers[0]
            moved.add(activation.output[0])
        nodes += _shuffled(node, f"{node.name or node.op_type}/{index}", axes, activation, edit)
    return edit.done(nodes)


def _axes(node: onnx.NodeProto, edit: Edit) -> list[_Axis] | None:
    """How each spatial axis is rewritten; None: the node is not a transposed convolution that can be."""
    if node.op_type != "ConvTranspose" or node.domain not in ("", "ai.onnx"):
        return None
    given = attributes(node)
    sizes = edit.shapes.get(node.input[0], [])[2:]
    if not edit.are_constant(node.input[1:]) or not 1 <= len(sizes) <= 3 or 0 in sizes or "output_shape" in given:
        return None
    if given.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or any(d != 1 for d in given.get("dilations", [])):
        return None
    rank = len(sizes)
    pads, strides = given.get("pads", [0] * 2 * rank), given.get("strides", [1] * rank)
    extra = given.get("output_padding", [0] * rank)
    return [
        _Axis.of(sizes[i], edit.weights[node.input[1]].dims[2 + i], strides[i], (pads[i], pads[rank + i]), extra[i])
        for i in range(rank)
    ]


class _Nodes:
    """The nodes that take one node's place, with their weights."""

    def __init__(self, name: str, edit: Edit) -> None:
        self.made: list[onnx.NodeProto] = []
        self._name = name
        self._edit = edit

    def constant(self, label: str, array: NDArray[np.generic]) -> str:
        return self._edit.constant(f"{self._name}/{label}", array)

    def step(self, operator: str, inputs: list[str], **attributes: object) -> str:
        output = f"{self._name}/{len(self.made)}"
        self.made.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def pointwise(self, node: onnx.NodeProto, value: str) -> str:
        """The same function of another value."""
        output = f"{self._name}/{len(self.made)}"
        moved = onnx.NodeProto.FromString(node.SerializeToString())
        moved.name, moved.input[0], moved.output[0] = output, value, output
        self.made.append(moved)
        return output

    def shuffle(self, value: str, axes: Sequence[_Axis], groups: int, channels: int) -> str:
        """[batch, groups * phases * channels / groups, *positions] -> [batch, channels, *sizes], cropped."""
        rank, strides = len(axes), [axis.stride for axis in axes]
        cropped = [i for i, axis in enumerate(axes) if axis.crop != (0, 0)]
        if prod(strides) == 1 and not cropped:
            return value
        value = self.step("Transpose", [value], perm=[0, *range(2, rank + 2), 1])
        if prod(strides) > 1:
            sizes = [axis.positions for axis in axes]
            split = np.array([-1, *sizes, groups, *strides, channels // groups], np.int64)
            value = self.step("Reshape", [value, self.constant("split", split)])
            # [batch, positions ..., group, phases ..., channel] -> [batch, (position, phase) ..., group, channel]
            interleaved = [axis for i in range(rank) for axis in (1 + i, 2 + rank + i)]
            value = self.step("Transpose", [value], perm=[0, *interleaved, 1 + rank, 2 + 2 * rank])
            merged = [-1, *(size * stride for size, stride in zip(sizes, strides, strict=True)), channels]
            value = self.step("Reshape", [value, self.constant("merged", np.array(merged, np.int64))])
        if cropped:
            starts = np.array([axes[i].crop[0] for i in cropped], np.int64)
            ends = np.array([axes[i].positions * strides[i] - axes[i].crop[1] for i in cropped], np.int64)
            bounds = [self.constant("starts", starts), self.constant("ends", ends)]
            value = self.step("Slice", [value, *bounds, self.constant("axes", np.array(cropped, np.int64) + 1)])
        return self.step("Transpose", [value], perm=[0, rank + 1, *range(1, rank + 1)])


def _shuffled(
    node: onnx.NodeProto,
    name: str,
    axes: Sequence[_Axis],
    activation: onnx.NodeProto | None,
    edit: Edit,
) -> list[onnx.NodeProto]:
    """The nodes that take the place of a transposed convolution (and of its activation)."""
    phases = prod(axis.stride for axis in axes)
    groups = attributes(node).get("group", 1)
    kernel = _phases(edit.array(node.input[1]), axes, groups)
    nodes = _Nodes(name, edit)
    inputs = [node.input[0], nodes.constant("weight", kernel)]
    if len(node.input) > 2 and node.input[2]:
        bias = edit.array(node.input[2]).reshape(groups, 1, -1)
        inputs.append(nodes.constant("bias", np.repeat(bias, phases, axis=1).reshape(-1)))
    pads = [axis.pads[end] for end in (0, 1) for axis in axes]
    value = nodes.step("Conv", inputs, kernel_shape=[axis.taps for axis in axes], pads=pads, group=groups)
    if activation is not None:
        value = nodes.pointwise(activation, value)
    nodes.shuffle(value, axes, groups, len(kernel) // phases)
    nodes.made[-1].output[0] = (activation or node).output[0]
    return nodes.made


def _phases(weight: NDArray[np.float32], axes: Sequence[_Axis], groups: int) -> NDArray[np.float32]:
    """The convolution's weights [groups * phases * outputs, inputs / groups, *taps].

    `weight` is the transposed convolution's [inputs, outputs / groups, *kernel]; channels come out ordered by group,
    then phase (last axis fastest), then output.
    """
    inputs, outputs = weight.shape[:2]
    rank = len(axes)
    short = [(0, axis.taps * axis.stride - size) for axis, size in zip(axes, weight.shape[2:], strict=True)]
    full = np.pad(weight, [(0, 0), (0, 0), *short])
    split = full.reshape(groups, inputs // groups, outputs, *(n for axis in axes for n in (axis.taps, axis.stride)))
    # Tap m of a transposed convolution reaches m positions back: reversed, it is a convolution's.
    split = np.flip(split, tuple(3 + 2 * i for i in range(rank)))
    phases, taps = [4 + 2 * i for i in range(rank)], [3 + 2 * i for i in range(rank)]
    ordered = split.transpose(0, *phases, 2, 1, *taps)
    return ordered.reshape(-1, inputs // groups, *(axis.taps for axis in axes))


def rewrite_narrow(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` in which convolutions to very few channels are wider ones and a pixel shuffle.

    A convolution of stride 1 to C channels becomes one of stride s to C s^2 channels, which give a block of s x s
    neighbours: its kernel of k + s - 1 holds k at each of s^2 places. That multiplies more, by zeros, in lanes of the
    processor that were idle, and reads its input less often.
    The outputs are the same to float32 rounding. Left as they are: more than 4 channels, strides, dilation, groups,
    `auto_pad` SAME, weights that are no constants, outputs whose size is unknown or odd.
    """
    edit = Edit(model)
    nodes: list[onnx.NodeProto] = []
    for index, node in enumerate(edit.graph.node):
        block = _block(node, edit)
        nodes += [node] if block is None else _widened(node, f"{node.name or node.op_type}/{index}", block, edit)
    return edit.done(nodes)


def _block(node: onnx.NodeProto, edit: Edit) -> int | None:
    """The largest block, of 4 or 2 a side, that fills no more than the lanes; None: no such convolution."""
    given = attributes(node)
    sizes = edit.shapes.get(node.output[0], [])[2:]
    if node.op_type != "Conv" or not edit.are_constant(node.input[1:]) or len(sizes) != 2:
        return None
    plain = given.get("group", 1) == 1 and {*given.get("strides", []), *given.get("dilations", [])} <= {1}
    kernel = list(edit.weights[node.input[1]].dims)
    if not plain or given.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or max(kernel[2:]) == 1 or 0 in sizes:
        return None
    return next((s for s in (4, 2) if kernel[0] * s * s <= _LANES and not any(size % s for size in sizes)), None)


def _widened(node: onnx.NodeProto, name: str, block: int, edit: Edit) -> list[onnx.NodeProto]:
    """The nodes that take the place of a convolution to few channels."""
    weight = edit.array(node.input[1])
    channels, inputs, height, width = weight.shape
    kernel = np.zeros((block, block, channels, inputs, height + block - 1, width + block - 1), weight.dtype)
    for row in range(block):
        for column in range(block):
            kernel[row, column, :, :, row : row + height, column : column + width] = weight
    nodes = _Nodes(name, edit)
    taken = [node.input[0], nodes.constant("weight", kernel.reshape(-1, *kernel.shape[3:]))]
    if len(node.input) > 2 and node.input[2]:
        taken.append(nodes.constant("bias", np.tile(edit.array(node.input[2]), block * block)))
    pads = attributes(node).get("pads", [0] * 4)
    value = nodes.step("Conv", taken, kernel_shape=list(kernel.shape[4:]), strides=[block] * 2, pads=pads)
    axes = [
        _Axis(stride=block, taps=size + block - 1, pads=(0, 0), positions=output // block, crop=(0, 0))
        for size, output in zip((height, width), edit.shapes[node.output[0]][2:], strict=True)
    ]
    nodes.shuffle(value, axes, 1, channels)
    nodes.made[-1].output[0] = node.output[0]
    return nodes.made
