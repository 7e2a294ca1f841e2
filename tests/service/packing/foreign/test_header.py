"""Versions of formats and operator sets that files name."""

from __future__ import annotations

import pytest
from onnx import helper

from latentserve.service.packing.foreign.header import settle_header
from tests.service.packing.foreign.graphs import FLOAT, dense, model


@pytest.mark.parametrize(("told", "taken"), [(3, 4), (4, 4), (8, 8), (10, 10), (11, 10), (99, 10)])
def test_a_format_that_runtimes_read(told: int, taken: int) -> None:
    graph = dense([("Identity", "z", "m", {})], {"z": (FLOAT, ["n", 16])})
    graph.ir_version = told
    settle_header(graph)
    assert graph.ir_version == taken


def test_operators_of_others_alone() -> None:
    graph = model([], {"z": (FLOAT, ["n", 4])}, {"x": (FLOAT, ["n", 4])})
    graph.graph.node.append(helper.make_node("Scaler", ["z"], ["x"], domain="ai.onnx.ml", offset=[0.5], scale=[2.0]))
    del graph.opset_import[:]
    graph.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    settle_header(graph)
    assert {entry.domain for entry in graph.opset_import} == {"ai.onnx.ml", ""}
