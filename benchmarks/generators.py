"""ONNX generators to measure with: untrained, for what a sample costs does not depend on the weights' values."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

DIM = 64  # of the latents
_UP = {"kernel_shape": [4, 4], "strides": [2, 2], "pads": [1, 1, 1, 1]}


@dataclass(frozen=True)
class Generator:
    """A graph to measure with, and what it is called in tables and results."""

    name: str
    about: str
    build: Callable[[], onnx.ModelProto]


def convolutional(image: int, channels: tuple[int, ...], colours: int) -> onnx.ModelProto:
    """A DCGAN generator: a first square of `channels[0]`, doubled once for each further one, then 3x3 to `colours`."""
    first = image >> (len(channels) - 1)
    weights = _Weights()
    nodes = [
        helper.make_node("MatMul", ["z", weights.add("w0", DIM, channels[0] * first * first, fan_in=DIM)], ["h0"]),
        helper.make_node("LeakyRelu", ["h0"], ["a0"], alpha=0.2),
        helper.make_node("Reshape", ["a0", weights.shape("square", -1, channels[0], first, first)], ["x0"]),
    ]
    for level, (before, after) in enumerate(itertools.pairwise(channels), start=1):
        kernel = weights.add(f"w{level}", before, after, 4, 4, fan_in=4 * before)  # each pixel sees 2x2 of the 4x4
        nodes += [
            helper.make_node("ConvTranspose", [f"x{level - 1}", kernel], [f"h{level}"], **_UP),
            helper.make_node("LeakyRelu", [f"h{level}"], [f"x{level}"], alpha=0.2),
        ]
    last = weights.add("to_colours", colours, channels[-1], 3, 3, fan_in=9 * channels[-1])
    nodes += [
        helper.make_node("Conv", [f"x{len(channels) - 1}", last], ["h"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Tanh", ["h"], ["sample"]),
    ]
    return _model(nodes, weights, [colours, image, image])


def linear(weights: NDArray[np.float32], mean: NDArray[np.float32], shape: Sequence[int]) -> onnx.ModelProto:
    """Samples of this shape that are `mean` [m] and a sum of `weights` [dim, m], within -1 and 1."""
    made = _Weights()
    for name, values in (("w", weights), ("mean", mean), ("low", np.float32(-1)), ("high", np.float32(1))):
        made.tensors.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
    nodes = [
        helper.make_node("MatMul", ["z", "w"], ["h"]),
        helper.make_node("Add", ["h", "mean"], ["sum"]),
        helper.make_node("Clip", ["sum", "low", "high"], ["flat"]),
        helper.make_node("Reshape", ["flat", made.shape("of", -1, *shape)], ["sample"]),
    ]
    model = _model(nodes, made, [*shape])
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = len(weights)
    return model


def one_layer() -> onnx.ModelProto:
    """A linear layer to 16 numbers: 2 kFLOP a sample, so that what is measured is everything else."""
    weights = _Weights()
    layer = helper.make_node("MatMul", ["z", weights.add("w", DIM, 16, fan_in=DIM)], ["sample"])
    return _model([layer], weights, [16])


CONVOLUTIONAL_28 = Generator("28x28", "1x28x28, 60 MFLOP a sample", lambda: convolutional(28, (256, 96, 32), colours=1))
LARGE = Generator(
    "64x64 large", "3x64x64, 7.6 GFLOP a sample", lambda: convolutional(64, (1024, 512, 512, 256), colours=3)
)
TINY = Generator("16x16 tiny", "3x16x16, 0.5 MFLOP a sample", lambda: convolutional(16, (16, 8), colours=3))
ONE_LAYER = Generator("one layer", "16 numbers, 2 kFLOP a sample", one_layer)


class _Weights:
    """Initializers of a graph, drawn from one seed."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self.tensors: list[TensorProto] = []

    def add(self, name: str, *shape: int, fan_in: int) -> str:
        values = self._rng.normal(size=shape) / np.sqrt(fan_in)
        self.tensors.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def add_values(self, name: str, *values: float) -> str:
        self.tensors.append(numpy_helper.from_array(np.array(values, np.float32), name))
        return name

    def shape(self, name: str, *sizes: int) -> str:
        self.tensors.append(numpy_helper.from_array(np.array(sizes, np.int64), name))
        return name


def _model(nodes: list[NodeProto], weights: _Weights, sample: list[int]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "generator",
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", DIM])],
        [helper.make_tensor_value_info("sample", TensorProto.FLOAT, ["batch", *sample])],
        weights.tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def calorimeter(labels: int | None = None, cells: int = 144, dim: int = 8) -> onnx.ModelProto:
    """A shower of so many cells for the `condition` [energy, angle]: of sum energy, its shape of latent, angle,
    logarithm of the energy, and the kind of particle where there are labels."""
    weights = _Weights()
    split = weights.shape("one_each", 1, 1)
    nodes = [
        helper.make_node("Split", ["condition", split], ["energy", "angle"], axis=1),
        helper.make_node("Log", ["energy"], ["log_energy"]),
        helper.make_node("Div", ["angle", weights.add_values("degrees", 45.0)], ["turn"]),
        helper.make_node("Concat", ["z", "log_energy", "turn"], ["inputs"], axis=1),
        helper.make_node("MatMul", ["inputs", weights.add("w0", dim + 2, 128, fan_in=dim // 4)], ["h0"]),
    ]
    inputs = {"z": ["batch", dim], "condition": ["batch", 2]}
    last = "h0"
    if labels is not None:
        nodes += [
            helper.make_node("Gather", [weights.add("kinds", labels, 128, fan_in=1), "label"], ["kind"]),
            helper.make_node("Add", ["h0", "kind"], ["h1"]),
        ]
        last = "h1"
    nodes += [
        helper.make_node("Relu", [last], ["h2"]),
        helper.make_node("MatMul", ["h2", weights.add("w1", 128, cells, fan_in=32)], ["h3"]),
        helper.make_node("Softmax", ["h3"], ["shape"], axis=1),
        helper.make_node("Mul", ["shape", "energy"], ["sample"]),
    ]
    model = _model(nodes, weights, [cells])
    del model.graph.input[:]
    found = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    if labels is not None:
        found.insert(1, helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]))
    model.graph.input.extend(found)
    return model


def enlarged(height: int, width: int, scale: int, colours: int = 3) -> onnx.ModelProto:
    """Pictures of `scale` times so many pixels either way, whose numbers cost next to nothing: what is measured is what
    becomes of large answers."""
    weights = _Weights()
    sizes = numpy_helper.from_array(np.array([1, 1, scale, scale], np.float32), "scales")
    weights.tensors.append(sizes)
    size = colours * height * width
    nodes = [
        helper.make_node("MatMul", ["z", weights.add("w", DIM, size, fan_in=DIM)], ["h"]),
        helper.make_node("Reshape", ["h", weights.shape("square", -1, colours, height, width)], ["small"]),
        helper.make_node("Tanh", ["small"], ["a"]),
        helper.make_node("Resize", ["a", "", "scales"], ["sample"], mode="nearest"),
    ]
    return _model(nodes, weights, [colours, scale * height, scale * width])


def census(hidden: int = 256) -> onnx.ModelProto:
    """A row of a table of people: two layers, then for each column a number of its range, whole where it counts."""
    weights = _Weights()
    low, span = (np.array(one, np.float32) for one in zip(*CENSUS.values(), strict=True))
    nodes = [
        helper.make_node("MatMul", ["z", weights.add("w0", DIM, hidden, fan_in=DIM)], ["h0"]),
        helper.make_node("Relu", ["h0"], ["a0"]),
        helper.make_node("MatMul", ["a0", weights.add("w1", hidden, hidden, fan_in=hidden // 2)], ["h1"]),
        helper.make_node("Relu", ["h1"], ["a1"]),
        helper.make_node("MatMul", ["a1", weights.add("w2", hidden, len(CENSUS), fan_in=hidden // 2)], ["h2"]),
        helper.make_node("Sigmoid", ["h2"], ["share"]),
        helper.make_node("Mul", ["share", weights.add_values("span", *span.tolist())], ["within"]),
        helper.make_node("Add", ["within", weights.add_values("low", *low.tolist())], ["value"]),
        helper.make_node("Floor", ["value"], ["sample"]),
    ]
    return _model(nodes, weights, [len(CENSUS)])


# Columns as the census income data have them: the least value, and how many there are.
CENSUS = {
    "age": (17, 74), "workclass": (0, 9), "weight": (12_285, 1_472_420), "education": (0, 16),
    "education years": (1, 16), "marital": (0, 7), "occupation": (0, 15), "relationship": (0, 6), "race": (0, 5),
    "sex": (0, 2), "capital gain": (0, 99_999), "capital loss": (0, 4_356), "hours": (1, 99), "country": (0, 42),
    "income": (0, 2),
}  # fmt: skip
CENSUS_CATEGORIES = 43  # of a column with fewer values they are words
