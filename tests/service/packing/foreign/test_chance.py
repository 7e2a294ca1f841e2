"""What a graph drew is an input of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from scipy.special import softmax

from latentserve.service.errors import BundleError
from latentserve.service.packing.foreign.original import draw_rows
from latentserve.service.packing.foreign.prune import keep_output
from latentserve.service.packing.foreign.understood import Understood, understand
from tests.service.packing.foreign.graphs import FLOAT, dense, model, rand, run

Nodes = list[tuple[str, str, str, dict[str, Any]]]
Z = {"z": (FLOAT, ["n", 16])}


def understood(graph: onnx.ModelProto, noise: Any = "random", **told: str) -> Understood:
    keep_output(graph, "x")
    return understand(graph, "g.onnx", told, None, "normal", noise)


def values(nodes: Nodes, width: int = 16, weights: dict[str, Any] | None = None, opset: int = 17) -> onnx.ModelProto:
    """A graph that gives what `nodes` make of z, `x`."""
    return model(nodes, {"z": (FLOAT, ["n", width])}, {"x": (FLOAT, ["n", None])}, weights, opset)


def feed_of(found: Understood, rows: int = 500) -> dict[str, NDArray[Any]]:
    return found.signature.feed(draw_rows(found.signature, rows))


NUMBERS: dict[str, tuple[str, dict[str, Any], tuple[str, float, float]]] = {
    "normal": ("RandomNormalLike", {}, ("normal", 0, 1)),
    "normal of a scale": ("RandomNormalLike", {"mean": 2.0, "scale": 0.1}, ("normal", 2, 0.1)),
    "uniform": ("RandomUniformLike", {}, ("uniform", 0.5, 0.5)),
    "uniform of a range": ("RandomUniformLike", {"low": -2.0, "high": 3.0}, ("uniform", 0.5, 2.5)),
    "half": ("RandomNormalLike", {"dtype": TensorProto.FLOAT16}, ("normal", 0, 1)),
    "double": ("RandomUniformLike", {"dtype": TensorProto.DOUBLE}, ("uniform", 0.5, 0.5)),
}


@pytest.mark.parametrize(("operator", "attributes", "expected"), NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize("opset", [9, 17, 21])
def test_numbers_are_drawn_for_each_row(
    operator: str, attributes: dict[str, Any], expected: tuple[str, float, float], opset: int
):
    graph = values([(operator, "z", "e", attributes), ("Cast", "e", "x", {"to": FLOAT})], opset=opset)
    found = understood(graph)
    (_, part) = found.signature.latent.pieces
    assert (part.prior, part.shift, part.scale) == expected
    assert (part.noise, part.shape) == (True, [16])
    onnx.checker.check_model(found.model)
    feed = feed_of(found)
    made, drawn = run(found.model, feed), feed["drawn/e"]
    np.testing.assert_allclose(made, drawn, atol=2e-3 if attributes.get("dtype") == TensorProto.FLOAT16 else 1e-6)
    if part.prior == "uniform":  # the highest number is never drawn
        assert made.max() < part.shift + part.scale
    assert any(f"{operator} e draws [batch, 16]: noise:" in line for line in found.lines)


def test_the_highest_number_is_never_drawn():
    """A Gumbel noise of it would be infinite."""
    for kind in (TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE):
        graph = values([("RandomUniformLike", "z", "u", {"dtype": kind}), ("Cast", "u", "x", {"to": FLOAT})])
        feed = {"z": np.zeros((1, 16), np.float32), "drawn/u": np.full((1, 16), 1, np.float32)}
        assert run(understood(graph).model, feed).max() < 1


def test_bernoulli():
    graph = values([("Sigmoid", "z", "p", {}), ("Bernoulli", "p", "x", {})])
    found = understood(graph)
    feed = feed_of(found)
    made = run(found.model, feed)
    assert np.array_equal(made, feed["drawn/x"] < 1 / (1 + np.exp(-feed["z"].astype(np.float64))))


@pytest.mark.parametrize("opset", [11, 12, 13, 18])
def test_multinomial(opset: int):
    graph = values([("Multinomial", "z", "c", {"sample_size": 3}), ("Cast", "c", "x", {"to": FLOAT})], 5, opset=opset)
    found = understood(graph)
    onnx.checker.check_model(found.model)
    feed = feed_of(found, 4000)
    made, u = run(found.model, feed), feed["drawn/c"]
    ends = np.cumsum(softmax(feed["z"].astype(np.float64), axis=1), axis=1)[:, None, :-1]
    assert np.mean(made == (u[:, :, None] >= ends).sum(axis=2)) > 0.999  # but where it is a matter of rounding
    assert made.max() == 4


def test_dropout_while_training():
    weights = {"ratio": np.float32(0.3), "on": np.array(True)}
    graph = values([("Dropout", "z ratio on", "d mask", {}), ("Identity", "d", "x", {})], weights=weights)
    found = understood(graph)
    feed = feed_of(found)
    made = run(found.model, feed)
    kept = feed["drawn/d"] >= np.float32(0.3)
    np.testing.assert_allclose(made, np.where(kept, feed["z"] / 0.7, 0), rtol=1e-5)
    assert abs(kept.mean() - 0.7) < 0.02


@pytest.mark.parametrize("told", [{}, {"training": "constant:false"}, {"training": "constant:true"}])
def test_dropout_whose_mode_is_an_input(told: dict[str, str]):
    inputs = {"z": (FLOAT, ["n", 16]), "training": (TensorProto.BOOL, [])}
    graph = model(
        [("Dropout", "z ratio training", "d mask", {}), ("Identity", "d", "x", {})],
        inputs,
        {"x": (FLOAT, ["n", 16])},
        {"ratio": np.float32(0.3)},
    )
    parts = understood(graph, **told).signature.latent.pieces
    assert len(parts) == (2 if told.get("training") == "constant:true" else 1)


def test_a_mode_that_is_computed():
    nodes: Nodes = [
        ("ReduceMax", "z", "most", {"keepdims": 0}),
        ("Greater", "most ratio", "on", {}),
        ("Dropout", "z ratio on", "x", {}),
    ]
    with pytest.raises(BundleError, match="Dropout x draws or not as on says"):
        understood(values(nodes, weights={"ratio": np.float32(0.3)}))


SHAPES: dict[str, tuple[Nodes, list[int]]] = {
    "a map a row": ([("RandomNormal", "", "e", {"shape": [1, 4, 4]}), ("Add", "v e", "x", {})], [4, 4]),
    "several rows of a row": (
        [("Reshape", "z flat", "f", {}), ("RandomNormalLike", "f", "e", {}), ("Add", "f e", "s", {}),
         ("Reshape", "s back", "x", {})],
        [8, 2],
    ),
    "a vector of all rows": (
        [("Reshape", "z vector", "f", {}), ("RandomNormalLike", "f", "e", {}), ("Add", "f e", "s", {}),
         ("Reshape", "s back", "x", {})],
        [16],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("nodes", "shape"), SHAPES.values(), ids=SHAPES)
def test_shapes_of_a_row(nodes: Nodes, shape: list[int]):
    weights = {"flat": np.array([-1, 2]), "back": np.array([-1, 4, 4]), "vector": np.array([-1])}
    found = understood(values([("Reshape", "z back", "v", {}), *nodes], weights=weights))
    assert found.signature.latent.pieces[1].shape == shape
    feed = feed_of(found, 3)
    expected = feed["z"].reshape(3, 4, 4) + feed["drawn/e"].reshape(3, 4, 4)
    np.testing.assert_allclose(run(found.model, feed), expected, atol=1e-6)


def test_shapes_in_which_rows_are_not_seen():
    graph = values([("RandomNormal", "", "e", {"shape": [16]}), ("Add", "z e", "x", {})])
    with pytest.raises(BundleError, match=r"RandomNormal e draws numbers of shape \[16\]"):
        understood(graph)


def test_chance_in_a_function():
    graph = values([("Identity", "z", "x", {})])
    nodes = [helper.make_node("RandomNormalLike", ["a"], ["e"]), helper.make_node("Add", ["a", "e"], ["b"])]
    opsets = [helper.make_opsetid("", 17)]
    graph.functions.append(helper.make_function("own", "Noisy", ["a"], ["b"], nodes, opsets))
    graph.graph.node[0].op_type, graph.graph.node[0].domain = "Noisy", "own"
    graph.opset_import.append(helper.make_opsetid("own", 1))
    found = understood(graph)
    assert found.signature.latent.dim == 32
    assert not found.model.functions


def test_chance_in_a_branch():
    """One that a constant chooses is in the main graph then; what is computed cannot be followed."""
    inside = [helper.make_node("RandomNormalLike", ["z"], ["e"]), helper.make_node("Add", ["z", "e"], ["ze"])]
    drawing, still = (
        helper.make_graph(nodes, "b", [], [helper.make_empty_tensor_value_info(name)])
        for nodes, name in ((inside, "ze"), ([helper.make_node("Identity", ["z"], ["same"])], "same"))
    )
    chosen = {"then_branch": drawing, "else_branch": still}
    for on, dim in ((True, 32), (False, 16)):
        nodes: Nodes = [("Not", "off", "on", {}), ("If", "on", "x", chosen)]
        found = understood(values(nodes, weights={"off": np.array(not on)}))
        assert found.signature.latent.dim == dim
        feed = feed_of(found, 3)
        np.testing.assert_allclose(run(found.model, feed), feed["z"] + feed.get("drawn/e", 0), atol=1e-6)
    nodes = [("ReduceMax", "z", "most", {"keepdims": 0}), ("Cast", "most", "on", {"to": TensorProto.BOOL})]
    with pytest.raises(BundleError, match=r"RandomNormalLike e is in the body of a Loop, Scan or If"):
        understood(values([*nodes, ("If", "on", "x", chosen)]))


def test_noise_that_samples_do_not_need():
    """Of another output, say."""
    graph = dense([("RandomNormalLike", "z", "e", {}), ("Identity", "z", "m", {})], Z)
    graph.graph.output.append(helper.make_tensor_value_info("e", FLOAT, ["n", 16]))
    assert understood(graph).signature.latent.parts is None


@pytest.mark.parametrize("rows", [1, 4])
def test_chance_alone_is_the_latent(rows: int):
    shape = {"shape": [rows, 16]}
    graph = dense([("RandomNormal", "", "z", shape), ("Identity", "z", "m", {})], {}, batch=rows)
    found = understood(graph)
    assert found.batch == rows
    (part,) = found.signature.latent.pieces
    assert (part.noise, part.shape) == (False, [16])


def test_noise_drawn_once():
    graph = dense([("RandomNormalLike", "z", "e", {}), ("Add", "z e", "m", {})], Z)
    again = onnx.ModelProto.FromString(graph.SerializeToString())
    found, other = (understood(one, noise="constant") for one in (graph, again))
    assert found.signature.latent.dim == 16
    made = run(found.model, {**feed_of(found, 2), "z": np.zeros((2, 16), np.float32)})
    assert np.array_equal(made[0], made[1])
    assert made.std() > 0.1
    assert np.array_equal(made, run(other.model, {**feed_of(other, 2), "z": np.zeros((2, 16), np.float32)}))


def test_nothing_to_draw_from():
    with pytest.raises(BundleError, match="has no inputs and draws nothing"):
        understood(model([("Tanh", "k", "x", {})], {}, {"x": (FLOAT, [4, 12])}, {"k": rand(4, 12)}))
    inputs = {"label": (TensorProto.INT64, ["n"])}
    graph = model([("Gather", "E label", "x", {})], inputs, {"x": (FLOAT, ["n", 12])}, {"E": rand(4, 12)})
    with pytest.raises(BundleError, match=r"has no latent \(label is label\)"):
        understood(graph)
