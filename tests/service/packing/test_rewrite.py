"""The rewrite gives the same numbers for every form of transposed convolution that it takes, and leaves the others."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from latentserve.service.packing.rewrite import rewrite_narrow, rewrite_transposed
from tests.generators import model
from tests.sessions import session


def transposed(
    size: tuple[int, ...], inputs: int, outputs: int, kernel: tuple[int, ...], after: str | None = None, **given: Any
) -> onnx.ModelProto:
    """sample = activation(transposed convolution of z), biased."""
    rng = np.random.default_rng(0)
    groups = given.get("group", 1)
    weights = [
        numpy_helper.from_array(rng.normal(size=(inputs, outputs // groups, *kernel)).astype(np.float32), "w"),
        numpy_helper.from_array(rng.normal(size=outputs).astype(np.float32), "b"),
    ]
    nodes = [helper.make_node("ConvTranspose", ["z", "w", "b"], ["h" if after else "sample"], **given)]
    if after:
        nodes.append(helper.make_node(after, ["h"], ["sample"]))
    rank = len(size)
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", inputs, *size])
    sample = helper.make_tensor_value_info("sample", TensorProto.FLOAT, ["batch", outputs, *[None] * rank])
    return model(nodes, "transposed", [z], [sample], weights)


def run(graph: onnx.ModelProto, z: np.ndarray) -> np.ndarray:
    opened = session(graph)
    return opened.run(None, {"z": z})[0]


def operators(graph: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in graph.graph.node]


def same(
    graph: onnx.ModelProto,
    size: tuple[int, ...],
    inputs: int,
    rewrite: Callable[[onnx.ModelProto], onnx.ModelProto] = rewrite_transposed,
) -> onnx.ModelProto:
    """The rewritten graph, after seeing that it gives what `graph` gives."""
    rewritten = rewrite(graph)
    onnx.checker.check_model(rewritten, full_check=True)
    z = np.random.default_rng(1).normal(size=(3, inputs, *size)).astype(np.float32)
    expected = run(graph, z)
    np.testing.assert_allclose(run(rewritten, z), expected, atol=2e-6 * max(1.0, np.abs(expected).max()))
    return rewritten


@st.composite
def forms(draw: st.DrawFn) -> dict[str, Any]:
    rank = draw(st.integers(1, 3))
    several = lambda low, high: tuple(draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank)))  # noqa: E731
    size, kernel, strides, first, last = several(1, 4), several(1, 5), several(1, 3), several(0, 3), several(0, 3)
    extra = tuple(draw(st.integers(0, stride - 1)) for stride in strides)
    for i in range(rank):
        assume(strides[i] * (size[i] - 1) + kernel[i] + extra[i] - first[i] - last[i] > 0)
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    return {
        "size": size,
        "kernel": kernel,
        "inputs": groups * draw(st.integers(1, 3)),
        "outputs": groups * draw(st.integers(1, 3)),
        "after": draw(st.sampled_from([None, "Relu", "LeakyRelu", "Tanh"])),
        "strides": strides,
        "pads": (*first, *last),
        "output_padding": extra,
        "group": groups,
    }


@given(forms())
def test_any_form_gives_the_same(form: dict[str, Any]):
    rewritten = same(transposed(**form), form["size"], form["inputs"])
    assert "ConvTranspose" not in operators(rewritten)


@pytest.mark.parametrize(
    ("kernel", "pad", "extra", "multiplied"),
    [
        pytest.param(4, 1, 0, 8 * 8 * 4 * 4, id="DCGAN's 4, 2, 1: 2x2 taps"),
        pytest.param(2, 0, 0, 7 * 7 * 4, id="2, 2, 0: one tap, no crop"),
        pytest.param(5, 2, 1, 7 * 7 * 9 * 4, id="5, 2, 2, 1: pads that are whole positions are not computed"),
        pytest.param(3, 1, 1, 8 * 8 * 4 * 4, id="3, 2, 1, 1"),
    ],
)
def test_what_is_computed(kernel: int, pad: int, extra: int, multiplied: int):
    form = {"strides": [2, 2], "pads": [pad] * 4, "output_padding": [extra] * 2}
    rewritten = same(transposed((7, 7), 1, 1, (kernel, kernel), **form), (7, 7), 1)
    node = rewritten.graph.node[0]
    shape = {value.name: value.type.tensor_type.shape.dim for value in rewritten.graph.value_info}[node.output[0]]
    phases, height, width = (axis.dim_value for axis in list(shape)[1:])
    taps = next(list(attribute.ints) for attribute in node.attribute if attribute.name == "kernel_shape")
    assert height * width * taps[0] * taps[1] * phases == multiplied


def test_stride_one_is_one_convolution():
    graph = transposed((5, 5), 2, 3, (3, 3), pads=[1, 1, 1, 1])
    assert operators(same(graph, (5, 5), 2)) == ["Conv"]


def test_one_position_is_a_product_of_matrices():
    """The first layer of DCGAN, which makes 4x4 of a latent."""
    rewritten = same(transposed((1, 1), 3, 2, (4, 4)), (1, 1), 3)
    taps = next(list(attribute.ints) for attribute in rewritten.graph.node[0].attribute if attribute.name == "pads")
    assert taps == [0, 0, 0, 0]


def test_an_activation_moves_behind_the_convolution():
    graph = transposed((5, 5), 2, 3, (4, 4), after="Relu", strides=[2, 2], pads=[1, 1, 1, 1])
    found = operators(same(graph, (5, 5), 2))
    assert ("Conv", "Relu") in list(pairwise(found))


def test_an_activation_stays_where_its_input_is_wanted_too():
    graph = transposed((5,), 2, 3, (4,), after="Relu", strides=[2])
    graph.graph.output.append(helper.make_tensor_value_info("h", TensorProto.FLOAT, ["batch", 3, None]))
    assert operators(same(graph, (5,), 2))[-1] == "Relu"


@pytest.mark.parametrize(
    "form",
    [
        {"dilations": [2, 2]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"output_shape": [9, 9], "strides": [2, 2]},
    ],
    ids=str,
)
def test_other_forms_are_left(form: dict[str, Any]):
    graph = transposed((5, 5), 2, 3, (3, 3), **form)
    assert operators(same(graph, (5, 5), 2)) == ["ConvTranspose"]


def test_sizes_that_are_not_known_are_left():
    graph = transposed((5, 5), 2, 3, (4, 4), strides=[2, 2])
    for axis in graph.graph.input[0].type.tensor_type.shape.dim[2:]:
        axis.ClearField("dim_value")
    assert operators(same(graph, (5, 5), 2)) == ["ConvTranspose"]


def test_the_original_is_not_touched():
    graph = transposed((5, 5), 2, 3, (4, 4), strides=[2, 2])
    before = graph.SerializeToString()
    rewrite_transposed(graph)
    assert graph.SerializeToString() == before


def convolution(size: tuple[int, int], outputs: int, kernel: tuple[int, int], **given: Any) -> onnx.ModelProto:
    """sample = convolution of two channels z, biased."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.normal(size=(outputs, 2, *kernel)).astype(np.float32), "w"),
        numpy_helper.from_array(rng.normal(size=outputs).astype(np.float32), "b"),
    ]
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", 2, *size])
    sample = helper.make_tensor_value_info("sample", TensorProto.FLOAT, ["batch", outputs, None, None])
    return model(
        [helper.make_node("Conv", ["z", "w", "b"], ["sample"], **given)], "convolution", [z], [sample], weights
    )


@pytest.mark.parametrize(
    ("size", "outputs", "kernel", "pads", "block"),
    [
        pytest.param((8, 8), 1, (3, 3), [1, 1, 1, 1], 4, id="grey"),
        pytest.param((8, 12), 3, (3, 3), [1, 1, 1, 1], 2, id="RGB"),
        pytest.param((6, 8), 1, (3, 3), [1, 1, 1, 1], 2, id="no multiple of 4"),
        pytest.param((8, 8), 2, (2, 4), [1, 0, 0, 1], 2, id="an even kernel, pads of its own"),
    ],
)
def test_narrow_convolutions_give_the_same(
    size: tuple[int, int], outputs: int, kernel: tuple[int, int], pads: list[int], block: int
):
    rewritten = same(convolution(size, outputs, kernel, pads=pads), size, 2, rewrite_narrow)
    first = rewritten.graph.node[0]
    assert next(list(attribute.ints) for attribute in first.attribute if attribute.name == "strides") == [block, block]


@pytest.mark.parametrize(
    ("outputs", "kernel", "given"),
    [
        pytest.param(5, (3, 3), {"pads": [1, 1, 1, 1]}, id="wide already"),
        pytest.param(1, (1, 1), {}, id="1x1"),
        pytest.param(1, (2, 2), {}, id="odd outputs"),
        pytest.param(1, (3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}, id="strided"),
        pytest.param(1, (3, 3), {"auto_pad": "SAME_UPPER"}, id="auto_pad"),
    ],
)
def test_other_convolutions_are_left(outputs: int, kernel: tuple[int, int], given: dict[str, Any]):
    assert operators(same(convolution((8, 8), outputs, kernel, **given), (8, 8), 2, rewrite_narrow)) == ["Conv"]
