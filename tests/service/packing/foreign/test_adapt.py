"""A bundle's inputs become those that a graph was brought with."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from latentserve.service.bundle import Inputs
from latentserve.service.packing.foreign.adapt import adapt_inputs
from latentserve.service.packing.foreign.roles import Role, parse_role
from latentserve.service.packing.foreign.signature import Input, Signature
from tests.conftest import examples
from tests.service.packing.foreign.graphs import model, run

TYPES = [np.float32, np.float16, np.float64, np.int32, np.int64]


def echo(signature: Signature, opset: int = 17) -> onnx.ModelProto:
    """What all inputs hold, end to end, as float64 [n, numbers]."""
    nodes = []
    rows = next(one.name for one in signature.inputs if one.batched)
    for place, one in enumerate(signature.inputs):
        nodes += [
            ("Cast", one.name, f"c{place}", {"to": TensorProto.DOUBLE}),
            ("Reshape", f"c{place} {'rows' if one.batched else 'all'}", f"r{place}", {}),
        ]
        last = f"r{place}"
        if not one.batched:  # the same for all rows
            nodes += [
                ("Shape", rows, f"s{place}", {}),
                ("Gather", f"s{place} zero", f"g{place}", {}),
                ("Concat", f"g{place} width{place}", f"k{place}", {"axis": 0}),
                ("Expand", f"r{place} k{place}", f"e{place}", {}),
            ]
            last = f"e{place}"
        nodes.append(("Identity", last, f"l{place}", {}))
    nodes.append(("Concat", " ".join(f"l{place}" for place in range(len(signature.inputs))), "sample", {"axis": 1}))
    kinds = {one.name: onnx.helper.np_dtype_to_tensor_dtype(one.dtype) for one in signature.inputs}
    inputs = {one.name: (kinds[one.name], [*(["n"] if one.batched else []), *one.shape]) for one in signature.inputs}
    held = {"rows": np.array([0, -1]), "all": np.array([1, -1]), "zero": np.array([0])}
    held |= {f"width{place}": np.array([math.prod(one.shape)]) for place, one in enumerate(signature.inputs)}
    return model(nodes, inputs, {"sample": (TensorProto.DOUBLE, ["n", None])}, held, opset)


def signature_of(*told: tuple[str, type, tuple[int, ...], bool, str]) -> Signature:
    inputs = []
    for name, kind, shape, batched, words in told:
        role: Role = parse_role(name, words)
        inputs.append(Input(name, np.dtype(kind), shape, batched, role))
    return Signature(tuple(inputs))


EVERYTHING = signature_of(
    ("label", np.float32, (4, 2), True, "latent"),  # called like our own
    ("z", np.int32, (1,), True, "label:index"),
    ("inputs/1", np.float16, (3,), True, "noise"),
    ("sample/x", np.float32, (), True, "condition:0..1"),
    ("two", np.float64, (1, 2), True, "condition:a=0..1;b=0..1"),
    ("more", np.float32, (2,), True, "latent:uniform(0,1)"),
    ("psi", np.float32, (), False, "constant:0.7"),
    ("steps", np.int64, (2,), True, "constant:[5,6]"),
    ("none", np.float32, (3,), True, "unused"),
)


@pytest.mark.parametrize("opset", [9, 11, 13, 17, 18, 21])
def test_everything_at_once(opset: int):
    graph = echo(EVERYTHING, opset)
    adapt_inputs(graph, EVERYTHING)
    onnx.checker.check_model(graph)
    assert [value.name for value in graph.graph.input] == ["z", "label", "condition"]
    assert all(not value.name.startswith("sample") for value in graph.graph.output)
    z = np.arange(39, dtype=np.float32).reshape(3, 13)
    label, condition = np.array([3, 0, 7]), np.arange(9, dtype=np.float32).reshape(3, 3) / 10
    made = run(graph, Inputs(z, label, condition).feed())
    rest = np.tile([0.7, 5, 6, 0, 0, 0], (3, 1)).astype(np.float32)
    # Noise comes last in z.
    expected = np.hstack([z[:, :8], label[:, None], z[:, 10:], condition, z[:, 8:10], rest])
    assert np.array_equal(made, expected)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("shape", [(5,), (5, 1, 1), (1, 5)])
def test_one_hot(kind: type, shape: tuple[int, ...]):
    signature = signature_of(("z", np.float32, (2,), True, "latent"), ("y", kind, shape, True, "label:one-hot"))
    graph = echo(signature)
    adapt_inputs(graph, signature)
    made = run(graph, {"z": np.zeros((3, 2), np.float32), "label": np.array([4, 0, 2])})
    assert np.array_equal(made[:, 2:], np.eye(5)[[4, 0, 2]])


@settings(deadline=None, max_examples=examples(30))
@given(st.data())
def test_numpy_and_the_graph_make_the_same_of_rows(data: st.DataObject):
    words = ["latent", "noise", "condition:0..1", "constant:2", "unused"]
    told = [("first", np.float32, (data.draw(st.integers(1, 4)),), True, "latent")]
    for place in range(data.draw(st.integers(0, 5))):
        shape = tuple(data.draw(st.lists(st.integers(1, 3), max_size=3)))
        kind, batched = data.draw(st.sampled_from(TYPES)), True
        role = data.draw(st.sampled_from(words))
        if role == "constant:2":
            batched = data.draw(st.booleans())
        told.append((f"in{place}", kind, shape, batched, role))
    if data.draw(st.booleans()):
        told.append(("y", np.float32, (6,), True, "label:one-hot"))
    signature = signature_of(*data.draw(st.permutations(told)))
    rng = np.random.default_rng(0)
    conditions = signature.conditions
    rows = Inputs(
        rng.normal(size=(4, signature.latent.dim)).astype(np.float32),
        None if signature.label is None else rng.integers(0, 6, 4),
        None if conditions is None else rng.random((4, len(conditions)), np.float32),
    )
    graph = echo(Signature(signature.inputs))
    fed = signature.feed(rows)
    wanted = np.hstack([np.broadcast_to(fed[one.name].reshape(4 if one.batched else 1, -1), (4, one.width))
                        for one in signature.inputs])  # fmt: skip
    adapt_inputs(graph, signature)
    assert np.array_equal(run(graph, rows.feed()), wanted.astype(np.float64))
