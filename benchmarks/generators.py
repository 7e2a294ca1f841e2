"""ONNX generators to measure with: untrained, for what a sample costs does not depend on the weights' values."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DIM = 64


def convolutional_28(seed: int = 0) -> onnx.ModelProto:
    """7x7x256, then transposed convolutions to 14x14x96 and 28x28x32, then 3x3 to one channel: 59 MFLOP a sample."""
    rng = np.random.default_rng(seed)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        fan_in = int(np.prod(shape[1:])) if len(shape) > 2 else shape[0]
        return numpy_helper.from_array((rng.normal(size=shape) / np.sqrt(fan_in)).astype(np.float32), name)

    up = {"kernel_shape": [4, 4], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("MatMul", ["z", "w0"], ["h0"]),
        helper.make_node("LeakyRelu", ["h0"], ["a0"], alpha=0.2),
        helper.make_node("Reshape", ["a0", "shape"], ["r0"]),
        helper.make_node("ConvTranspose", ["r0", "w1"], ["h1"], **up),
        helper.make_node("LeakyRelu", ["h1"], ["a1"], alpha=0.2),
        helper.make_node("ConvTranspose", ["a1", "w2"], ["h2"], **up),
        helper.make_node("LeakyRelu", ["h2"], ["a2"], alpha=0.2),
        helper.make_node("Conv", ["a2", "w3"], ["h3"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Tanh", ["h3"], ["sample"]),
    ]
    graph = helper.make_graph(
        nodes,
        "convolutional_28",
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", DIM])],
        [helper.make_tensor_value_info("sample", TensorProto.FLOAT, ["batch", 1, 28, 28])],
        [
            weights("w0", DIM, 7 * 7 * 256),
            numpy_helper.from_array(np.array([-1, 256, 7, 7], np.int64), "shape"),
            weights("w1", 256, 96, 4, 4),
            weights("w2", 96, 32, 4, 4),
            weights("w3", 1, 32, 3, 3),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
