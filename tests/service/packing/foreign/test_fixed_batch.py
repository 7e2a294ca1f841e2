"""Graphs that were made for one number of rows."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from latentserve.service.packing.foreign.fixed_batch import fixed_sizes, in_blocks, set_free
from tests.conftest import examples
from tests.service.packing.foreign.graphs import FLOAT, INT64, dense, model, rand, run
from tests.sessions import session

Session = Any


def modulated(batch: int) -> onnx.ModelProto:
    """A convolution whose weights are each row's own, as StyleGAN's: rows are its groups."""
    nodes = [
        ("MatMul", "z A", "style", {}),
        ("Reshape", "style each", "s", {}),
        ("Mul", "kernel s", "own", {}),
        ("Reshape", "own kernels", "k", {}),
        ("MatMul", "z first", "h", {}),
        ("Reshape", "h side", "beside", {}),
        ("Conv", "beside k", "c", {"group": batch, "pads": [1] * 4}),
        ("Reshape", "c apart", "x", {}),
    ]
    weights = {
        "A": rand(6, 4),
        "each": np.array([batch, 1, 4, 1, 1]),
        "kernel": rand(1, 3, 4, 3, 3),
        "kernels": np.array([batch * 3, 4, 3, 3]),
        "first": rand(6, 4 * 25, seed=1),
        "side": np.array([1, batch * 4, 5, 5]),
        "apart": np.array([batch, 3, 5, 5]),
    }
    return model(nodes, {"z": (FLOAT, [batch, 6])}, {"x": (FLOAT, [batch, 3, 5, 5])}, weights)


@cache
def blocks_of(batch: int) -> tuple[Session, Session]:
    """A graph of this batch, and the same in blocks."""
    original = modulated(batch)
    wrapped = onnx.ModelProto()
    wrapped.CopyFrom(original)
    wrapped = in_blocks(wrapped, batch)
    onnx.checker.check_model(wrapped)
    return tuple(session(one) for one in (original, wrapped))  # type: ignore[return-value]


@settings(deadline=None, max_examples=examples(40))
@given(st.sampled_from([1, 2, 3, 5]), st.integers(1, 13))
def test_rows_in_blocks_are_the_original_s(batch: int, rows: int):
    original, wrapped = blocks_of(batch)
    z = rand(-(-rows // batch) * batch, 6)
    expected = np.concatenate([original.run(None, {"z": z[at : at + batch]})[0] for at in range(0, len(z), batch)])
    assert np.array_equal(wrapped.run(None, {"z": z[:rows]})[0], expected[:rows])


@pytest.mark.parametrize("opset", [9, 11, 12, 13, 17, 21])
@pytest.mark.parametrize("batch", [1, 3])
def test_several_inputs_of_any_operator_set(opset: int, batch: int):
    def graph(rows: int | str, first: int) -> onnx.ModelProto:
        nodes = [("Gather", "table label", "e", {}), ("Add", "z e", "m", {})]
        inputs = {"z": (FLOAT, [rows, 16]), "label": (INT64, [rows])}
        return dense(nodes, inputs, {"table": rand(5, 16)}, batch=rows, shaped=(first, 3, 4, 4), opset=opset)

    fixed = graph(batch, batch)
    free = set_free(fixed, batch)
    wrapped = in_blocks(fixed, batch)
    feed = {"z": rand(7, 16), "label": np.arange(7) % 5}
    expected = run(graph("n", -1), feed)
    for one in (free, wrapped):
        onnx.checker.check_model(one)
        assert [value.name for value in one.graph.input] == ["z", "label"]
        assert [value.name for value in one.graph.output] == ["x"]
        np.testing.assert_allclose(run(one, feed), expected, atol=1e-6)


def test_weights_stay_where_they_are():
    """Not in the body of the loop, where a bundle's tools do not look for them."""
    wrapped = in_blocks(modulated(2), 2)
    assert {"A", "kernel", "first"} <= {weight.name for weight in wrapped.graph.initializer}
    (scan,) = (node for node in wrapped.graph.node if node.op_type == "Scan")
    assert not scan.attribute[0].g.initializer


def test_shapes_that_begin_with_the_batch():
    nodes = [
        ("ConstantOfShape", "full", "zeros", {}),
        ("Expand", "one full", "ones", {}),
        ("Tile", "row times", "rows", {}),
        ("Sum", "zeros ones rows z", "m", {}),
    ]
    weights = {
        "full": np.array([4, 16]),
        "one": np.float32([[1]]),
        "row": rand(1, 16),
        "times": np.array([4, 1]),
    }
    fixed = dense(nodes, {"z": (FLOAT, [4, 16])}, weights, batch=4, shaped=(4, -1, 4, 4))
    z = rand(8, 16)
    free = set_free(fixed, 4)
    expected = np.concatenate([run(fixed, {"z": z[:4]}), run(fixed, {"z": z[4:]})])
    for rows in (1, 3, 8):
        np.testing.assert_allclose(run(free, {"z": z[:rows]}), expected[:rows], atol=1e-6)
    assert numpy_helper.to_array(fixed.graph.initializer[-1]).tolist() == [4, 1]  # the original is as it was


def test_sizes_that_a_graph_may_be_made_for():
    assert fixed_sizes(dense([("Identity", "z", "m", {})], {"z": (FLOAT, ["n", 16])}, shaped=(64, 3, 4, 4)))[0] == 64
    added = dense([("Add", "z k", "m", {})], {"z": (FLOAT, ["n", 16])}, {"k": rand(32, 16)})
    assert 32 in fixed_sizes(added)
    state = [("GRU", "z W R - - h", "m", {"hidden_size": 4})]
    weights = {"W": rand(1, 12, 8), "R": rand(1, 12, 4), "h": rand(1, 48, 4)}
    assert 48 in fixed_sizes(dense(state, {"z": (FLOAT, [2, "n", 8])}, weights))
