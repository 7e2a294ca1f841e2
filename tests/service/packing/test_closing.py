"""The end of a graph: what it gives becomes `sample`, and the graph and numpy agree on it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from benchmarks.quality.endings import DIM, ending
from latentserve.service.errors import BundleError
from latentserve.service.packing.closing import Form, choose_output, close
from tests.sessions import session


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    data=st.data(),
    kind=st.sampled_from([TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT16]),
    known=st.booleans(),
)
def test_the_graph_and_numpy_agree(shape: list[int], data: st.DataObject, kind: int, known: bool) -> None:
    axes = tuple(data.draw(st.permutations(range(len(shape)))))
    shift, divisor = data.draw(st.sampled_from([(0.0, 1.0), (0.0, 32768.0), (128.0, 128.0)]))
    form = Form(tuple(shape), axes, shift, divisor)
    flat = int(np.prod(shape))
    model = ending([flat], dtype=kind, gain=20, known=known)
    z = np.random.default_rng(1).normal(size=(3, DIM)).astype(np.float32)
    raw = session(model).run(None, {"z": z})[0]
    close(model, "out", form)
    onnx.checker.check_model(model)
    (made,) = session(model).run(["sample"], {"z": z})
    assert made.shape == (3, *form.shape)
    assert np.array_equal(made, form.apply(raw))
    assert [value.name for value in model.graph.output] == ["sample"]


def test_bfloat16_is_a_number_too() -> None:
    model = ending([4], "Tanh", dtype=TensorProto.BFLOAT16)
    close(model, "out", Form.plain([4]))
    (made,) = session(model).run(["sample"], {"z": np.ones((2, DIM), np.float32)})
    assert made.dtype == np.float32
    assert np.abs(made).max() <= 1


def outputs(**shapes: list[int]) -> onnx.ModelProto:
    model = ending([4])
    del model.graph.output[:]
    for name, shape in shapes.items():
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape]))
    return model


def test_of_several_outputs_the_largest_picture_is_taken_and_said() -> None:
    found, remarks = choose_output(outputs(w=[512], small=[3, 8, 8], large=[16, 16, 3]), "x.onnx")
    assert found.name == "large"
    assert "--output" in remarks[0]
    assert choose_output(outputs(a=[4], sample=[9]), "x.onnx")[0].name == "sample"
    assert choose_output(outputs(a=[4]), "x.onnx") == (outputs(a=[4]).graph.output[0], [])
    assert choose_output(outputs(a=[4], b=[3, 8, 8]), "x.onnx", "a")[0].name == "a"


@pytest.mark.parametrize("shapes", [{"a": [4], "b": [5]}, {"a": [3, 8, 8], "b": [3, 8, 8]}], ids=str)
def test_of_others_somebody_must_say(shapes: dict[str, list[int]]) -> None:
    with pytest.raises(BundleError, match=r"x\.onnx: which output is the sample"):
        choose_output(outputs(**shapes), "x.onnx")


def test_what_is_no_tensor_of_numbers_is_no_sample() -> None:
    model = outputs(a=[4])
    model.graph.output.append(helper.make_tensor_value_info("names", TensorProto.STRING, [2]))
    model.graph.output.append(helper.make_tensor_sequence_value_info("maps", TensorProto.FLOAT, None))
    found, remarks = choose_output(model, "x.onnx")
    assert (found.name, remarks) == ("a", ["of the outputs a, names, maps a is taken, the only tensor of numbers"])
