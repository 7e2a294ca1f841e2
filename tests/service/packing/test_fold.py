"""Batch normalisation folded away gives the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from latentserve.service.packing.fold import fold_batch_norm
from tests.generators import model
from tests.sessions import session

CHANNELS = 6


def normalised(layer: str, twice: bool = False, **given: Any) -> onnx.ModelProto:
    """z -> layer (-> Reshape) -> batch normalisation (-> another) -> sample."""
    rng = np.random.default_rng(0)
    dense = layer in ("Gemm", "MatMul")
    if dense:
        weight = rng.normal(size=(CHANNELS * 4, 5) if given.get("transB") else (5, CHANNELS * 4))
    else:
        groups = given.get("group", 1)
        sizes = (CHANNELS, 4 // groups) if layer == "Conv" else (4, CHANNELS // groups)
        weight = rng.normal(size=(*sizes, 3, 3))
    weights = {"w": weight}
    for name in ("gain", "bias", "mean", "gain2", "bias2", "mean2"):
        weights[name] = rng.normal(size=CHANNELS)
    weights |= {"variance": rng.uniform(0.5, 2, CHANNELS), "variance2": rng.uniform(0.5, 2, CHANNELS)}
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    nodes = [helper.make_node(layer, ["z", "w"], ["h0"], **given)]
    last = "h0"
    if dense:
        tensors.append(numpy_helper.from_array(np.array([-1, CHANNELS, 2, 2], np.int64), "shape"))
        nodes.append(helper.make_node("Reshape", ["h0", "shape"], ["h1"]))
        last = "h1"
    norm = ["gain", "bias", "mean", "variance"]
    if twice:
        nodes.append(helper.make_node("BatchNormalization", [last, *norm], ["h2"], epsilon=1e-3))
        last, norm = "h2", [f"{name}2" for name in norm]
    nodes.append(helper.make_node("BatchNormalization", [last, *norm], ["sample"]))
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", *((5,) if dense else (4, 5, 5))])
    sample = helper.make_tensor_value_info("sample", TensorProto.FLOAT, ["batch", CHANNELS, None, None])
    return model(nodes, "normalised", [z], [sample], tensors)


def run(graph: onnx.ModelProto) -> np.ndarray:
    shape = [axis.dim_value for axis in graph.graph.input[0].type.tensor_type.shape.dim[1:]]
    z = np.random.default_rng(1).normal(size=(3, *shape)).astype(np.float32)
    opened = session(graph)
    return opened.run(["sample"], {"z": z})[0]


FORMS = [
    pytest.param("MatMul", {}, id="MatMul"),
    pytest.param("Gemm", {"transB": 1, "alpha": 0.5}, id="Gemm"),
    pytest.param("Conv", {}, id="Conv"),
    pytest.param("Conv", {"group": 2}, id="Conv in groups"),
    pytest.param("ConvTranspose", {}, id="ConvTranspose"),
    pytest.param("ConvTranspose", {"group": 2, "strides": [2, 2]}, id="ConvTranspose in groups"),
]


@pytest.mark.parametrize(("layer", "given"), FORMS)
@pytest.mark.parametrize("twice", [False, True])
def test_the_same_without(layer: str, given: dict[str, Any], twice: bool):
    graph = normalised(layer, twice, **given)
    folded = fold_batch_norm(graph)
    onnx.checker.check_model(folded, full_check=True)
    assert "BatchNormalization" not in {node.op_type for node in folded.graph.node}
    np.testing.assert_allclose(run(folded), run(graph), rtol=1e-4, atol=2e-5)


def test_what_is_read_elsewhere_is_left():
    graph = normalised("Conv")
    graph.graph.output.append(helper.make_tensor_value_info("h0", TensorProto.FLOAT, ["batch", CHANNELS, None, None]))
    folded = fold_batch_norm(graph)
    assert [node.op_type for node in folded.graph.node] == ["Conv", "BatchNormalization"]
    np.testing.assert_array_equal(run(folded), run(graph))
