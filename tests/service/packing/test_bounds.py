"""What a graph's last operators tell of its values: never less than what values are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from benchmarks.quality.endings import DIM, ending, number
from latentserve.service.packing.bounds import output_bounds
from tests.sessions import session

Steps = Sequence[tuple[str, Mapping[str, Any]] | str]

CODES = {"scale": number(1 / 127), "zero": np.array(128, np.uint8)}
KNOWN: dict[str, tuple[Steps, tuple[float, float]]] = {
    "tanh": (["Tanh"], (-1, 1)),
    "sigmoid": (["Sigmoid"], (0, 1)),
    "tanh to [0, 1]": (["Tanh", ("Add", {"b": number(1)}), ("Div", {"b": number(2)})], (0, 1)),
    "tanh to [0, 255]": (["Tanh", ("Mul", {"b": number(127.5)}), ("Add", {"b": number(127.5)})], (0, 255)),
    "half": (["Tanh", ("Mul", {"b": number(0.5)})], (-0.5, 0.5)),
    "upside down": (["Sigmoid", "Neg"], (-1, 0)),
    "clipped": ([("Clip", {"min": number(-1), "max": number(1)})], (-1, 1)),
    "a tanh that is clipped": (["Tanh", ("Clip", {"min": number(0)})], (0, 1)),
    "a tanh that is rectified": (["Tanh", "Relu"], (0, 1)),
    "channels": (["Sigmoid", ("Sub", {"b": np.full(12, 0.5, "f4")}), ("Mul", {"b": number(2)})], (-1, 1)),
    "integer codes": (["Tanh", ("QuantizeLinear", CODES)], (1, 255)),
    "integer codes and back": (["Tanh", ("QuantizeLinear", CODES), ("DequantizeLinear", CODES)], (-1, 1)),
}


@pytest.mark.parametrize(("steps", "bounds"), KNOWN.values(), ids=KNOWN)
def test_known(steps: Steps, bounds: tuple[float, float]) -> None:
    model = ending([3, 2, 2], *steps, gain=5)
    assert output_bounds(model, "out") == pytest.approx(bounds)
    z = np.random.default_rng(0).normal(size=(64, DIM)).astype(np.float32)
    made = session(model).run(None, {"z": z})[0]
    rounding = 1e-6 * (bounds[1] - bounds[0])
    assert bounds[0] - rounding <= made.min() <= made.max() <= bounds[1] + rounding


@pytest.mark.parametrize("steps", [[], ["Relu"], ["Exp"], [("Clip", {"min": number(0)})]], ids=str)
def test_unknown(steps: Steps) -> None:
    assert output_bounds(ending([3, 2, 2], *steps), "out") is None


def test_a_type_of_few_values_tells_too() -> None:
    assert output_bounds(ending([3, 2, 2], dtype=TensorProto.UINT8), "out") == (0, 255)


def test_residual_blocks_are_looked_at_once() -> None:
    nodes = [helper.make_node("Identity", ["z"], ["x0"])]
    for block in range(64):
        nodes.append(helper.make_node("Relu", [f"x{block}"], [f"y{block}"]))
        nodes.append(helper.make_node("Add", [f"x{block}", f"y{block}"], [f"x{block + 1}"]))
    value = helper.make_tensor_value_info
    ends = [value("z", TensorProto.FLOAT, ["n", 4])], [value("x64", TensorProto.FLOAT, ["n", 4])]
    assert output_bounds(helper.make_model(helper.make_graph(nodes, "g", *ends)), "x64") is None
