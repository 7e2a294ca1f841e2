"""Graphs whose rows lie along another axis than the first."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from latentserve.service.packing.foreign.rows_axis import give_rows, put_rows_first
from tests.service.packing.foreign.graphs import FLOAT, Axes, dense, model, rand, run


def summed(inputs: dict[str, Axes], output: Axes) -> onnx.ModelProto:
    """A graph whose inputs and output are declared so."""
    nodes = [("Identity", name, f"one{place}", {}) for place, name in enumerate(inputs)]
    last = ("Sum", " ".join(f"one{place}" for place in range(len(inputs))), "x", {})
    return model([*nodes, last], {name: (FLOAT, axes) for name, axes in inputs.items()}, {"x": (FLOAT, output)})


def axes_of(value: onnx.ValueInfoProto) -> list[int | str]:
    return [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]


@pytest.mark.parametrize(
    ("inputs", "output"),
    [
        ({"z": [6, "batch", 4]}, [6, "batch", 4]),
        ({"z": [16, "n"]}, [16, "n"]),
        ({"z": [6, 4, "n"], "noise": [6, 4, "n"]}, [6, 4, "n"]),
        ({"z": ["n", 4]}, [4, "n"]),
    ],
    ids=["steps first", "columns", "two inputs", "the output alone"],
)
def test_they_are_put_first(inputs: dict[str, Axes], output: Axes) -> None:
    graph = summed(inputs, output)
    assert "its rows lie along axis" in put_rows_first(graph)[-1]
    for value in (*graph.graph.input, *graph.graph.output):
        names = axes_of(value)
        assert isinstance(names[0], str)
        assert not any(isinstance(name, str) for name in names[1:])
    assert [value.name for value in graph.graph.input] == list(inputs)


@pytest.mark.parametrize(
    ("inputs", "output"),
    [
        ({"z": ["n", 16]}, ["n", 16]),
        ({"z": [1, 64, "frames"]}, [1, 1, "frames"]),
        ({"z": [1, 4, "h", "w"]}, [1, 3, "h", "w"]),
        ({"z": [6, "n", 4]}, [6, "m", 4]),
        ({"z": [6, "n", "n"]}, [6, "n"]),
        ({"z": ["t", "n", 4]}, ["t", "n", 4]),
        ({"z": [16, "n"]}, None),
    ],
    ids=["as they are", "a length", "a size", "another name", "twice", "both of any size", "nothing said"],
)
def test_what_is_not_seen_stays(inputs: dict[str, Axes], output: Axes) -> None:
    graph = summed(inputs, output)
    before = graph.SerializeToString()
    assert put_rows_first(graph) == []
    assert graph.SerializeToString() == before


def test_what_it_computes_is_the_same() -> None:
    nodes = [("Transpose", "z", "m", {"perm": [1, 0]})]
    columns = dense(nodes, {"z": (FLOAT, [16, "n"])})
    z = rand(5, 16)
    expected = run(columns, {"z": z.T})
    put_rows_first(columns)
    np.testing.assert_array_equal(run(columns, {"z": z}), expected)


@pytest.mark.parametrize(
    ("z", "made", "given"),
    [
        ([16], [3, 16, 16], True),
        ([4, 8, 8], [3, 64, 64], True),
        ([16], [16, 8], False),
        ([1, 16], [3, 8, 8], False),
        ([64, 16], [3, 8, 8, 64], False),
        (["n", 16], [3, 8, 8], False),
    ],
    ids=["a vector", "maps", "rows", "one row", "rows last", "any number of rows"],
)
def test_one_row_is_given_its_axis(z: Axes, made: Axes, given: bool) -> None:
    graph = model([("Identity", "z", "x", {})], {"z": (FLOAT, z)}, {"x": (FLOAT, made)})
    assert bool(give_rows(graph, {})) == given
    axes = graph.graph.input[0].type.tensor_type.shape.dim
    assert [axis.dim_value for axis in axes] == [1] * given + [0 if axis == "n" else axis for axis in z]
