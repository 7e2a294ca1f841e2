"""Somebody else's generators, as exporters really write them: probed, wrapped, and the same function as before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from latentserve.service.bundle import Bundle, Inputs, read_bundle
from latentserve.service.errors import BundleError
from latentserve.service.packing.foreign import PackOptions, pack_foreign
from latentserve.service.sampling.engine import Engine
from tests.generators import dense_generator
from tests.sessions import session


def foreign(
    latent: str = "input.1",
    latent_shape: Sequence[str | int] = ("N", 6),
    latent_type: int = TensorProto.FLOAT,
    label: str | None = None,
    label_shape: Sequence[str | int] = ("N",),
    label_type: int = TensorProto.INT64,
    labels: int = 5,
    outputs: Sequence[str] = ("img",),
    output_type: int = TensorProto.FLOAT,
    shape: Sequence[int] = (3, 2, 2),
    last: str = "Tanh",
    weights_as_inputs: bool = False,
) -> onnx.ModelProto:
    """A generator whose names, types and ranks are anybody's; of values `last`(x)."""
    rng = np.random.default_rng(0)
    dim, size = int(latent_shape[1]), int(np.prod(shape))
    weights = [
        numpy_helper.from_array((rng.normal(size=(dim, size)) / 2).astype(np.float32), "W"),
        numpy_helper.from_array(np.array([-1, dim], np.int64), "flat"),
        numpy_helper.from_array(np.array([-1, *shape], np.int64), "shape"),
    ]
    inputs = [helper.make_tensor_value_info(latent, latent_type, latent_shape)]
    nodes = [
        helper.make_node("Cast", [latent], ["z32"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["z32", "flat"], ["z2"]),
        helper.make_node("MatMul", ["z2", "W"], ["h"]),
    ]
    top = "h"
    if label is not None:
        inputs.append(helper.make_tensor_value_info(label, label_type, label_shape))
        weights += [
            numpy_helper.from_array(rng.normal(size=(labels, size)).astype(np.float32), "E"),
            numpy_helper.from_array(np.array([-1], np.int64), "row"),
        ]
        nodes += [
            helper.make_node("Reshape", [label, "row"], ["y1"]),
            helper.make_node("Gather", ["E", "y1"], ["e"]),
            helper.make_node("Add", ["h", "e"], ["h2"]),
        ]
        top = "h2"
    nodes.append(helper.make_node(last, [top], ["x"]))
    values = []
    for name in outputs:
        nodes += [
            helper.make_node("Reshape", ["x", "shape"], [f"{name}_32"]),
            helper.make_node("Cast", [f"{name}_32"], [name], to=output_type),
        ]
        values.append(helper.make_tensor_value_info(name, output_type, ["N", *shape]))
    if weights_as_inputs:  # as operator sets of old did
        inputs += [helper.make_tensor_value_info(w.name, w.data_type, list(w.dims)) for w in weights]
    graph = helper.make_graph(nodes, "g", inputs, values, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def pack(folder: Path, model: onnx.ModelProto | Path, **told: Any) -> Bundle:
    file = model if isinstance(model, Path) else folder / "model.onnx"
    if isinstance(model, onnx.ModelProto):
        onnx.save(model, file)
    pack_foreign(file, folder / "bundle", "packed", PackOptions(**told), reference_samples=200)
    return read_bundle(folder / "bundle")


def refused(folder: Path, model: onnx.ModelProto | Path, **told: Any) -> str:
    with pytest.raises(BundleError) as caught:
        pack(folder, model, **told)
    message = str(caught.value)
    assert message.startswith(str(folder))
    assert "\n" not in message
    assert not (folder / "bundle").exists()
    return message


def original(model: onnx.ModelProto, z: NDArray[Any], label: NDArray[Any] | None = None) -> NDArray[Any]:
    opened = session(model)
    names = [value.name for value in opened.get_inputs()]
    feed = {names[0]: z} if label is None else {names[0]: z, names[1]: label}
    return opened.run(None, feed)[0]


PLAIN: dict[str, dict[str, Any]] = {
    "other names": {},
    "names of ours": {"latent": "sample", "outputs": ["z"]},
    "a name with slashes": {"latent": "/in/z", "outputs": ["/out/img"]},
    "[N, d, 1, 1]": {"latent_shape": ("N", 6, 1, 1)},
    "float16 out": {"output_type": TensorProto.FLOAT16},
    "float16 in": {"latent_type": TensorProto.FLOAT16},
    "double": {"latent_type": TensorProto.DOUBLE, "output_type": TensorProto.DOUBLE},
    "weights as inputs": {"weights_as_inputs": True},
}


@pytest.mark.parametrize("options", PLAIN.values(), ids=PLAIN)
def test_it_is_the_same_function(tmp_path: Path, options: dict[str, Any]) -> None:
    model = foreign(**options)
    bundle = pack(tmp_path, model)
    manifest = bundle.manifest
    assert (manifest.latent.dim, manifest.latent.prior, manifest.labels) == (6, "normal", None)
    assert manifest.sample.model_dump() == {
        "kind": "image",
        "shape": [3, 2, 2],
        "value_range": (-1, 1),
        "channels": "RGB",
        "columns": None,
        "sample_rate": None,
    }
    z = np.random.default_rng(1).normal(size=(9, 6)).astype(np.float32)
    types = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16, TensorProto.DOUBLE: np.float64}
    theirs = z.astype(types[options.get("latent_type", TensorProto.FLOAT)])
    shaped = theirs.reshape(9, *options.get("latent_shape", ("N", 6))[1:])
    samples = Engine(bundle, "cpu").generate(Inputs(z))
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples, original(model, shaped).astype(np.float32), rtol=0, atol=1e-6)


LABELLED: dict[str, dict[str, Any]] = {
    "int64 [N]": {},
    "int32 [N]": {"label_type": TensorProto.INT32},
    "int64 [N, 1]": {"label_shape": ("N", 1)},
    "int32 [N, 1]": {"label_shape": ("N", 1), "label_type": TensorProto.INT32},
    "one label": {"labels": 1},
    "a thousand": {"labels": 1000},
}


@pytest.mark.parametrize("options", LABELLED.values(), ids=LABELLED)
def test_labels_are_counted(tmp_path: Path, options: dict[str, Any]) -> None:
    count = options.get("labels", 5)
    model = foreign(label="class", **options)
    bundle = pack(tmp_path, model)
    assert bundle.manifest.labels == [str(index) for index in range(count)]
    z = np.random.default_rng(1).normal(size=(9, 6)).astype(np.float32)
    label = np.arange(9) % count
    kind = np.int32 if options.get("label_type") == TensorProto.INT32 else np.int64
    theirs = label.astype(kind).reshape(9, *options.get("label_shape", ("N",))[1:])
    np.testing.assert_allclose(Engine(bundle, "cpu").generate(Inputs(z, label)), original(model, z, theirs), atol=1e-6)


def test_labels_are_told(tmp_path: Path) -> None:
    names = ["ant", "bee", "cat", "dog", "eel"]
    assert pack(tmp_path, foreign(label="y"), labels=names).manifest.labels == names


def test_more_labels_told_than_there_are(tmp_path: Path) -> None:
    assert "6 labels" in refused(tmp_path, foreign(label="y"), labels=list("abcdef"))


@pytest.mark.parametrize("labels", [["a", "a"], [""], ["a", ""]], ids=str)
def test_labels_that_are_no_names(tmp_path: Path, labels: list[str]) -> None:
    assert "labels" in refused(tmp_path, foreign(label="y"), labels=labels)


def test_labels_told_for_a_generator_without(tmp_path: Path) -> None:
    assert "no label input" in refused(tmp_path, foreign(), labels=["a"])


@pytest.mark.parametrize(
    ("last", "value_range"),
    [("Tanh", (-1, 1)), ("Sigmoid", (0, 1)), ("Sign", (-1, 1))],
    ids=["tanh", "sigmoid", "sign"],
)
def test_the_range_is_probed(tmp_path: Path, last: str, value_range: tuple[float, float]) -> None:
    assert pack(tmp_path, foreign(last=last)).manifest.sample.value_range == value_range


def test_the_range_is_told(tmp_path: Path) -> None:
    assert pack(tmp_path, foreign(), value_range=(-2.0, 2.0)).manifest.sample.value_range == (-2, 2)


def test_an_upside_down_range(tmp_path: Path) -> None:
    assert "value_range" in refused(tmp_path, foreign(), value_range=(1.0, -1.0))


KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "grey": ({"shape": (1, 4, 3)}, {}, {"kind": "image", "channels": "L"}),
    "with alpha": ({"shape": (4, 2, 2)}, {}, {"kind": "image", "channels": "RGBA"}),
    "an array": ({"shape": (12,)}, {}, {"kind": "array", "value_range": None}),
    "five channels": ({"shape": (5, 2, 2)}, {}, {"kind": "array"}),
    "a table": ({"shape": (3,)}, {"kind": "table", "columns": ["a", "b", "c"]}, {"columns": ["a", "b", "c"]}),
    "a table, unnamed": ({"shape": (2,)}, {"kind": "table"}, {"columns": ["column_0", "column_1"]}),
    "audio": ({"shape": (1, 50)}, {"kind": "audio", "sample_rate": 8000}, {"sample_rate": 8000}),
}


@pytest.mark.parametrize(("options", "told", "expected"), KINDS.values(), ids=KINDS)
def test_kinds(tmp_path: Path, options: dict[str, Any], told: dict[str, Any], expected: dict[str, Any]) -> None:
    sample = pack(tmp_path, foreign(**options), **told).manifest.sample.model_dump()
    assert expected.items() <= sample.items()


@pytest.mark.parametrize(
    ("told", "word"),
    [({"kind": "image"}, "image"), ({"kind": "table", "columns": ["a"]}, "columns"), ({"output": "x"}, "--output")],
    ids=["image", "columns", "output"],
)
def test_told_what_it_is_not(tmp_path: Path, told: dict[str, Any], word: str) -> None:
    assert word in refused(tmp_path, foreign(shape=(12,)), **told)


def test_several_inputs_and_outputs_need_to_be_told(tmp_path: Path) -> None:
    two_inputs = foreign()
    two_inputs.graph.input.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, ["N", 12]))
    two_inputs.graph.node[-1].input[0] = "both"
    two_inputs.graph.node.insert(-1, helper.make_node("Add", ["img_32", "shaped"], ["both"]))
    two_inputs.graph.node.insert(0, helper.make_node("Reshape", ["other", "shape"], ["shaped"]))
    message = refused(tmp_path, two_inputs)
    assert "which of input.1 (float32 [batch, 6]), other (float32 [batch, 12]) is the latent" in message
    assert "--input NAME=latent" in message
    assert "other" in refused(tmp_path, two_inputs, inputs={"input.1": "latent"})
    assert "no input nothing" in refused(tmp_path, foreign(), inputs={"nothing": "latent"})
    bundle = pack(tmp_path, two_inputs, inputs={"input.1": "latent", "other": "noise:uniform(0,1)"})
    assert [part.name for part in bundle.manifest.latent.pieces] == ["input.1", "other"]
    assert bundle.manifest.latent.width == 6
    assert pack(tmp_path, foreign(outputs=["img", "mask"]), output="mask").manifest.sample.shape == [3, 2, 2]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04", b"\x80\x04\x95"], ids=repr)
def test_a_file_that_is_no_onnx(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    assert "not an ONNX file" in refused(tmp_path, file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path, tmp_path / "nothing.onnx")
    (tmp_path / "folder.onnx").mkdir()
    refused(tmp_path, tmp_path / "folder.onnx")


def test_half_a_file(tmp_path: Path) -> None:
    content = foreign().SerializeToString()
    for share in (0.3, 0.6, 0.99):
        (tmp_path / "model.onnx").write_bytes(content[: int(share * len(content))])
        refused(tmp_path, tmp_path / "model.onnx")


def test_weights_in_a_file_beside_it(tmp_path: Path) -> None:
    model = foreign(shape=(3, 8, 8))
    file = tmp_path / "model.onnx"
    onnx.save(model, file, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").stat().st_size > 1000
    bundle = pack(tmp_path, file)
    z = np.random.default_rng(1).normal(size=(3, 6)).astype(np.float32)
    samples = Engine(bundle, "cpu").generate(Inputs(z))
    (tmp_path / "weights.bin").unlink()
    # The bundle stands for itself.
    assert np.array_equal(Engine(read_bundle(tmp_path / "bundle"), "cpu").generate(Inputs(z)), samples)
    missing = tmp_path / "missing"
    missing.mkdir()
    file.rename(missing / "model.onnx")
    refused(missing, missing / "model.onnx")


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    assert "not finite" in refused(tmp_path, foreign(last="Log"))


def test_a_generator_whose_rows_depend_on_their_batch(tmp_path: Path) -> None:
    """Its samples would depend on who else asks, and its golden samples would tolerate anything."""
    with pytest.raises(BundleError, match=r"another alone than in a batch .* rows must not depend on their batch"):
        pack(tmp_path, dense_generator(labels=None, batch_mean=True))


@pytest.mark.parametrize("name", ["", "a b", "../x", "x" * 65, "ä"])
def test_a_name_that_is_none(tmp_path: Path, name: str) -> None:
    onnx.save(foreign(), tmp_path / "model.onnx")
    with pytest.raises(BundleError, match="name") as caught:
        pack_foreign(tmp_path / "model.onnx", tmp_path / "bundle", name, PackOptions())
    assert "\n" not in str(caught.value)


def test_packed_twice_it_has_the_same_version(tmp_path: Path) -> None:
    first = pack(tmp_path, foreign(label="y")).manifest
    assert pack(tmp_path, foreign(label="y")).manifest.version == first.version
