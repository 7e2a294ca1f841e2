"""Generators of many families, small, as bundles: served rows are what the file gives when it is fed by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from latentserve.service.bundle import Bundle, Inputs, read_bundle
from latentserve.service.cli import cli
from latentserve.service.errors import BundleError
from latentserve.service.packing.foreign import PackOptions, noise_cost, original, pack_foreign
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.request import RowsRequest
from tests.service.packing.foreign.graphs import BOOL, FLOAT, INT32, INT64, dense, model, rand, run
from tests.service.packing.foreign.test_fixed_batch import modulated

Feed = dict[str, NDArray[Any]]


def pack(folder: Path, graph: onnx.ModelProto, **told: Any) -> tuple[Bundle, list[str]]:
    onnx.save(graph, folder / "model.onnx")
    lines: list[str] = []
    options = PackOptions(**told)
    pack_foreign(folder / "model.onnx", folder / "bundle", "packed", options, reference_samples=64, say=lines.append)
    return read_bundle(folder / "bundle"), lines


def refused(folder: Path, graph: onnx.ModelProto, **told: Any) -> str:
    with pytest.raises(BundleError) as caught:
        pack(folder, graph, **told)
    message = str(caught.value)
    assert message.startswith(f"{folder / 'model.onnx'}: ")
    assert "\n" not in message
    assert not (folder / "bundle").exists()
    return message


def one_hot(label: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    return np.eye(count, dtype=np.float32)[label]


def labelled(kind: int, count: int) -> onnx.ModelProto:
    """Classes as indices of a type."""
    nodes = [("Cast", "y", "index", {"to": INT64}), ("Gather", "E index", "e", {}), ("Mul", "z e", "m", {})]
    return dense(nodes, {"z": (FLOAT, ["n", 16]), "y": (kind, ["n"])}, {"E": rand(count, 16)})


VAE = dense([("Flatten", "z", "m", {})], {"z": (FLOAT, ["n", 4, 2, 2])})
SEQUENCE = dense([("Reshape", "z rows", "m", {})], {"z": (FLOAT, ["n", 8, 2])}, {"rows": np.array([0, -1])})
KERAS = dense([("Reshape", "dense_input:0 rows", "m", {})], {"dense_input:0": (FLOAT, ["n", 1, 1, 16])},
              {"rows": np.array([-1, 16])})  # fmt: skip
CGAN = dense(
    [("Cast", "label", "index", {"to": INT64}), ("Gather", "E index", "e", {}), ("Reshape", "e rows", "r", {}),
     ("Mul", "z r", "m", {})],
    {"z": (FLOAT, ["n", 16]), "label": (INT32, ["n", 1])},
    {"E": rand(7, 16), "rows": np.array([-1, 16])},
)  # fmt: skip
BIGGAN = dense(
    [("MatMul", "y E", "e", {}), ("Mul", "z truncation", "t0", {}), ("Add", "t0 e", "m", {})],
    {"z": (FLOAT, ["n", 16]), "y": (FLOAT, ["n", 5]), "truncation": (FLOAT, [])},
    {"E": rand(5, 16)},
)
STYLEGAN = dense(
    [*(("ReduceMean", f"noise{place}", f"n{place}", {"axes": [2, 3], "keepdims": 0}) for place in range(14)),
     ("Sum", " ".join(f"n{place}" for place in range(14)), "noise", {}), ("Add", "z noise", "m", {})],
    {"z": (FLOAT, ["n", 16]), **{f"noise{place}": (FLOAT, ["n", 1, 2 + place, 3]) for place in range(14)}},
)  # fmt: skip
PHYSICS = dense(
    [("Log", "energy", "l", {}), ("Concat", "noise l angles", "m", {"axis": 1})],
    {"noise": (FLOAT, ["n", 13]), "energy": (FLOAT, ["n", 1]), "angles": (FLOAT, ["n", 2])},
)
TWO = dense([("Concat", "a b", "m", {"axis": 1})], {"a": (FLOAT, ["n", 10]), "b": (FLOAT, ["n", 6])})
FLAGS = dense(
    [("Cast", "step", "s", {"to": FLOAT}), ("Cast", "flip", "f", {"to": FLOAT}), ("Mul", "z s", "p", {}),
     ("Mul", "p w", "q", {}), ("Add", "q f", "m", {})],
    {"z": (FLOAT, ["n", 16]), "step": (INT64, []), "flip": (BOOL, [1]), "w": (FLOAT, [16])},
)  # fmt: skip
CODES = dense(
    [("Gather", "E codes", "e", {}), ("Flatten", "e", "m", {})], {"codes": (INT64, ["n", 2, 4])}, {"E": rand(50, 2)}
)
COLUMNS = dense([("Transpose", "z", "m", {"perm": [1, 0]})], {"z": (FLOAT, [16, "n"])})
DEFAULTS = dense([("Mul", "z psi", "m", {})], {"z": (FLOAT, ["n", 16]), "psi": (FLOAT, [])}, {"psi": np.float32(1)})
MAPPED = model(
    [
        ("Gather", "E label", "e", {}),
        ("Mul", "z e", "m", {}),
        ("MatMul", "m W", "h", {}),
        ("Tanh", "h", "t", {}),
        ("Reshape", "t shaped", "x", {}),
    ],
    {"z": (FLOAT, [16]), "label": (INT32, [])},
    {"x": (FLOAT, [3, 4, 4])},
    {"E": rand(5, 16), "W": rand(16, 48), "shaped": np.array([3, 4, 4])},
)
ONE = dense(
    [("Gather", "E label", "e", {}), ("Mul", "z e", "m", {})],
    {"z": (FLOAT, [1, 16]), "label": (INT64, [])},
    {"E": rand(5, 16)},
    batch=1,
    shaped=(1, 3, 4, 4),
)
LAST = model(
    [("MatMul", "z W", "h", {}), ("Reshape", "h shaped", "u", {}), ("Transpose", "u", "x", {"perm": [1, 2, 3, 0]})],
    {"z": (FLOAT, ["n", 16])},
    {"x": (FLOAT, [3, 4, 4, "Transposex_dim_3"])},
    {"W": rand(16, 48), "shaped": np.array([-1, 3, 4, 4])},
)

FAMILIES: dict[str, tuple[onnx.ModelProto, dict[str, Any], Callable[[Inputs], Feed]]] = {
    "the decoder of a VAE": (VAE, {}, lambda rows: {"z": rows.z.reshape(-1, 4, 2, 2)}),
    "sequences": (SEQUENCE, {}, lambda rows: {"z": rows.z.reshape(-1, 8, 2)}),
    "Keras": (KERAS, {}, lambda rows: {"dense_input:0": rows.z.reshape(-1, 1, 1, 16)}),
    "cGAN": (CGAN, {}, lambda rows: {"z": rows.z, "label": rows.label.astype(np.int32)[:, None]}),
    "labels in floats": (labelled(FLOAT, 7), {}, lambda rows: {"z": rows.z, "y": rows.label.astype(np.float32)}),
    "BigGAN": (
        BIGGAN,
        {"inputs": {"truncation": "constant:0.5"}, "labels": list("abcde")},
        lambda rows: {"z": rows.z, "y": one_hot(rows.label, 5), "truncation": np.float32(0.5)},
    ),
    "StyleGAN": (
        STYLEGAN,
        {},
        lambda rows: {"z": rows.z[:, :16]}
        | {
            f"noise{place}": part.reshape(-1, 1, 2 + place, 3)
            for place, part in enumerate(
                np.split(rows.z[:, 16:], np.cumsum([3 * (2 + place) for place in range(13)]), axis=1)
            )
        },
    ),
    "physics": (
        PHYSICS,
        {"inputs": {"energy": "condition:1..100,log-uniform,GeV", "angles": "condition:theta=0..1;phi=-3..3,rad"}},
        lambda rows: {"noise": rows.z, "energy": rows.condition[:, :1], "angles": rows.condition[:, 1:]},
    ),
    "two latents": (
        TWO,
        {"inputs": {"a": "latent:uniform(0,1)", "b": "latent:normal(5,2),truncation(0.5)"}},
        lambda rows: {"a": rows.z[:, :10], "b": rows.z[:, 10:]},
    ),
    "codes of a VQ-VAE": (
        CODES,
        {"inputs": {"codes": "latent:uniform(0,50)"}},
        lambda rows: {"codes": np.floor(rows.z).astype(np.int64).reshape(-1, 2, 4)},
    ),
    "a default that is told otherwise": (
        DEFAULTS, {"inputs": {"psi": "constant:0.5"}}, lambda rows: {"z": rows.z, "psi": np.float32(0.5)}
    ),
    "rows in columns": (COLUMNS, {}, lambda rows: {"z": np.ascontiguousarray(rows.z.T)}),
    "a step, a flag and a vector": (
        FLAGS,
        {"inputs": {"step": "constant:2", "flip": "constant:true", "w": "constant:0.5"}},
        lambda rows: {"z": rows.z, "step": np.int64(2), "flip": np.array([True]), "w": np.full(16, 0.5, np.float32)},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("graph", "told", "feed"), FAMILIES.values(), ids=FAMILIES)
def test_served_rows_are_the_file_s(
    tmp_path: Path, graph: onnx.ModelProto, told: dict[str, Any], feed: Callable[[Inputs], Feed]
):
    bundle, lines = pack(tmp_path, graph, **told)
    rows = RowsRequest(n=9, seed=3).inputs(bundle.manifest, 0, 9)
    np.testing.assert_allclose(Engine(bundle, "cpu").generate(rows), run(graph, feed(rows)), rtol=0, atol=1e-6)
    for value in graph.graph.input:
        assert any(line.startswith(f"input {value.name} ") for line in lines)
    assert lines[-1].startswith("otherwise: --input NAME=KIND")


@pytest.mark.parametrize(
    ("kind", "count"),
    [("INT8", 7), ("UINT8", 7), ("INT16", 300), ("UINT64", 7), ("FLOAT16", 7), ("DOUBLE", 7), ("BOOL", 2)],
)
def test_labels_of_any_type_are_counted(tmp_path: Path, kind: str, count: int, recwarn: pytest.WarningsRecorder):
    graph = labelled(getattr(TensorProto, kind), count)
    bundle, _ = pack(tmp_path, graph)
    assert len(bundle.manifest.labels or ()) == count
    assert not len(recwarn)


def test_a_place_that_is_taken_is_told_at_once(tmp_path: Path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "mine.txt").write_text("kept")
    with pytest.raises(BundleError, match="is there already and is not a bundle"):
        pack_foreign(tmp_path / "none.onnx", tmp_path / "bundle", "packed", PackOptions())
    assert (tmp_path / "bundle" / "mine.txt").read_text() == "kept"


@pytest.mark.parametrize(("graph", "rows"), [(MAPPED, ()), (ONE, (1,))], ids=["no axis", "a label without one"])
def test_rows_without_an_axis(tmp_path: Path, graph: onnx.ModelProto, rows: tuple[int, ...]):
    """As functions of JAX's are that are mapped over rows, and `export(G, (z, torch.tensor(3)))`."""
    bundle, lines = pack(tmp_path, graph)
    assert bundle.manifest.labels == list("01234")
    assert "input label: has no axis for rows, and is of one row" in lines
    given = RowsRequest(n=5, seed=3).inputs(bundle.manifest, 0, 5)
    kind = np.int64 if rows else np.int32
    expected = [
        run(graph, {"z": z.reshape(*rows, 16), "label": kind(y)}) for z, y in zip(given.z, given.label, strict=True)
    ]
    made = Engine(bundle, "cpu").generate(given)
    np.testing.assert_allclose(made, np.reshape(expected, made.shape), rtol=0, atol=1e-6)


def test_rows_of_an_output_lie_last(tmp_path: Path):
    bundle, lines = pack(tmp_path, LAST)
    assert lines[0] == "output x: its rows lie along axis 3, and are put first"
    z = rand(5, 16)
    expected = np.moveaxis(run(LAST, {"z": z}), -1, 0)
    np.testing.assert_allclose(Engine(bundle, "cpu").generate(Inputs(z)), expected, rtol=0, atol=1e-6)


def test_a_latent_that_has_a_default(tmp_path: Path):
    graph = dense([("Identity", "z", "m", {})], {"z": (FLOAT, ["n", 16])}, {"z": np.zeros((1, 16), "f4")})
    assert "its input z has a default, and is taken for a weight; say --input z=latent" in refused(tmp_path, graph)
    assert pack(tmp_path, graph, inputs={"z": "latent"})[0].manifest.latent.dim == 16


def test_a_latent_without_effect_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    graph = dense([("Mul", "z nothing", "n", {}), ("Add", "n one", "m", {})], {"z": (FLOAT, ["n", 16])},
                  {"nothing": np.float32(0), "one": np.arange(16, dtype=np.float32)})  # fmt: skip
    pack(tmp_path, graph)
    assert "all samples are the same, whatever is drawn" in caplog.text


def test_what_float32_cannot_hold_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """A column of seconds since 1970, of a day."""
    graph = model(
        [("Cast", "z", "d", {"to": TensorProto.DOUBLE}), ("Mul", "d day", "m", {}), ("Add", "m now", "x", {})],
        {"z": (FLOAT, ["n", 2])},
        {"x": (TensorProto.DOUBLE, ["n", 2])},
        {"day": np.array([1.0, 86400.0]), "now": np.array([0.0, 1.6e9])},
    )
    pack(tmp_path, graph, kind="table")
    assert "float64 values lose up to 0.0" in caplog.text


def test_labels_that_the_graph_takes_beyond_those_named(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    bundle, _ = pack(tmp_path, labelled(INT64, 6), labels=["a", "b", "c", "d", "e"])
    assert bundle.manifest.labels == ["a", "b", "c", "d", "e"]
    assert "5 labels are named, and the graph takes more" in caplog.text


def test_a_condition_without_effect_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    nodes = [("Mul", "e zero", "n", {}), ("Add", "z n", "p", {}), ("Mul", "p f", "m", {})]
    inputs: dict[str, Any] = {"z": (FLOAT, ["n", 16]), "e": (FLOAT, ["n", 1]), "f": (FLOAT, ["n", 1])}
    pack(tmp_path, dense(nodes, inputs, {"zero": np.float32(0)}), inputs={"e": "condition:0..1", "f": "condition:0..1"})
    assert "all values of e give the same samples" in caplog.text
    assert "all values of f" not in caplog.text


def test_a_sequence_is_no_sample(tmp_path: Path):
    graph = dense([("Identity", "z", "m", {})], {"z": (FLOAT, ["n", 16])})
    graph.graph.node.append(helper.make_node("SequenceConstruct", ["x"], ["rows"]))
    rows = helper.make_tensor_sequence_value_info("rows", FLOAT, None)
    graph.graph.output[0].CopyFrom(rows)
    assert "the output rows is a sequence; a tensor is needed" in refused(tmp_path, graph)
    del graph.graph.output[:]
    assert "has no outputs" in refused(tmp_path, graph)


def test_nodes_in_any_order(tmp_path: Path):
    """Which ONNX does not allow, and the runtime takes."""
    graph = dense([("Identity", "z", "m", {})], {"z": (FLOAT, ["n", 16])})
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(graph.graph.node)]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    bundle, _ = pack(tmp_path, graph)
    z = rand(5, 16)
    np.testing.assert_allclose(Engine(bundle, "cpu").generate(Inputs(z)), run(graph, {"z": z}), rtol=0, atol=1e-6)


def test_numbers_that_numpy_does_not_know(tmp_path: Path):
    """bfloat16 comes in and goes out as float32."""
    half = TensorProto.BFLOAT16
    graph = model(
        [("Cast", "z", "f", {"to": FLOAT}), ("MatMul", "f W", "h", {}), ("Tanh", "h", "t", {}),
         ("Reshape", "t shaped", "p", {}), ("Cast", "p", "x", {"to": half})],
        {"z": (half, ["n", 16])},
        {"x": (half, ["n", 3, 4, 4])},
        {"W": rand(16, 48), "shaped": np.array([-1, 3, 4, 4])},
    )  # fmt: skip
    bundle, lines = pack(tmp_path, graph)
    assert lines[0] == "input z float32 [batch, 16]: latent:normal"
    z = rand(5, 16)
    expected = np.tanh(z @ rand(16, 48)).reshape(-1, 3, 4, 4)
    np.testing.assert_allclose(Engine(bundle, "cpu").generate(Inputs(z)), expected, rtol=0, atol=0.02)


def test_what_parts_of_z_are(tmp_path: Path):
    bundle, _ = pack(tmp_path, TWO, inputs={"a": "noise:uniform(0,1)", "b": "latent:normal(5,2)"})
    latent = bundle.manifest.latent
    assert [(part.name, part.shape, part.prior, part.noise) for part in latent.pieces] == [
        ("b", [6], "normal", False),
        ("a", [10], "uniform", True),
    ]
    z = RowsRequest(n=500, seed=0).inputs(bundle.manifest, 0, 500).z
    assert abs(z[:, :6].mean() - 5) < 0.2
    assert (z[:, 6:] > 0).all()
    assert (z[:, 6:] < 1).all()


def test_a_batch_that_can_be_set_free(tmp_path: Path):
    graph = dense([("Identity", "z", "m", {})], {"z": (FLOAT, [64, 16])}, batch=64, shaped=(64, 3, 4, 4))
    bundle, lines = pack(tmp_path, graph)
    assert bundle.manifest.onnx.batch is None
    assert any(line.startswith("batch: 64 in the file; set free") for line in lines)
    z = rand(64, 16)
    np.testing.assert_allclose(Engine(bundle, "cpu").generate(Inputs(z[:7])), run(graph, {"z": z})[:7], atol=1e-6)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_batch_that_cannot(tmp_path: Path, batch: int, caplog: pytest.LogCaptureFixture):
    graph = modulated(batch)
    bundle, _ = pack(tmp_path, graph)
    assert bundle.manifest.onnx.batch == batch
    assert f"takes {batch} row" in caplog.text
    z = rand(6, 6)
    expected = np.concatenate([run(graph, {"z": z[at : at + batch]}) for at in range(0, 6, batch)])
    for rows in (1, 4, 5):
        made = Engine(bundle, "cpu").generate(Inputs(z[:rows]))
        np.testing.assert_allclose(made, expected[:rows], rtol=0, atol=1e-6)


def test_a_batch_that_is_not_declared(tmp_path: Path):
    graph = modulated(2)
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    graph.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "n"
    assert pack(tmp_path, graph)[0].manifest.onnx.batch == 2


@pytest.mark.parametrize("rows", [1, 5])
def test_a_constant_of_so_many_rows(tmp_path: Path, rows: int):
    """As the initial states of recurrent layers are."""
    graph = dense([("Concat", "z k", "m", {"axis": 1})], {"z": (FLOAT, ["n", 12])}, {"k": np.ones((rows, 4), "f4")})
    bundle, _ = pack(tmp_path, graph)
    assert bundle.manifest.onnx.batch == rows
    z = rand(10, 12)
    expected = np.concatenate([run(graph, {"z": z[at : at + rows]}) for at in range(0, 10, rows)])
    np.testing.assert_allclose(Engine(bundle, "cpu").generate(Inputs(z)), expected, rtol=0, atol=1e-6)


def test_client_s_codes_are_kept_within_theirs(tmp_path: Path):
    bundle, _ = pack(tmp_path, CODES, inputs={"codes": "latent:uniform(0,50)"})
    z = np.full((2, 8), 49.9, np.float32)
    z[1] = [-7, -1, -0.5, 50, 1e9, 49, 49, 49]
    made = Engine(bundle, "cpu").generate(Inputs(z))
    codes = np.array([[49] * 8, [0, 0, 0, 49, 49, 49, 49, 49]]).reshape(2, 2, 4)
    np.testing.assert_allclose(made, run(CODES, {"codes": codes}), rtol=0, atol=1e-6)


@pytest.mark.parametrize("axes", [[0], None], ids=["the first axis", "all axes of one"])
def test_one_row_without_its_axis(tmp_path: Path, axes: list[int] | None):
    """`return images[0]`, and `squeeze()`."""
    graph = modulated(1)
    graph.graph.node[-1].output[0] = "row"
    graph.graph.initializer.append(numpy_helper.from_array(np.array(axes or [0]), "axes"))
    graph.graph.node.append(helper.make_node("Squeeze", ["row", "axes"] if axes else ["row"], ["x"]))
    del graph.graph.output[0].type.tensor_type.shape.dim[0]
    bundle, lines = pack(tmp_path, graph)
    assert bundle.manifest.sample.shape == [3, 5, 5]
    assert "output x: has no axis for rows, and all of [3, 5, 5] is of one" in lines
    z = rand(4, 6)
    expected = np.stack([run(graph, {"z": z[at : at + 1]}) for at in range(4)])
    np.testing.assert_allclose(Engine(bundle, "cpu").generate(Inputs(z)), expected, rtol=0, atol=1e-6)


def test_random_operators(tmp_path: Path):
    nodes = [("RandomNormalLike", "z", "e", {"scale": 0.5}), ("Add", "z e", "m", {})]
    graph = dense(nodes, {"z": (FLOAT, ["n", 16])})
    bundle, lines = pack(tmp_path, graph)
    assert bundle.manifest.latent.dim == 32
    assert "RandomNormalLike e draws [batch, 16]: noise:normal(0,0.5), 16 numbers a row" in lines[1]
    rows = RowsRequest(n=5, seed=1).inputs(bundle.manifest, 0, 5)
    plain = dense([("Add", "z e", "m", {})], {"z": (FLOAT, ["n", 16]), "e": (FLOAT, ["n", 16])})
    expected = run(plain, {"z": rows.z[:, :16], "e": rows.z[:, 16:]})
    np.testing.assert_allclose(Engine(bundle, "cpu").generate(rows), expected, atol=1e-6)


def test_noise_drawn_once(tmp_path: Path):
    bundle, lines = pack(tmp_path, STYLEGAN, noise="constant")
    assert bundle.manifest.latent.dim == 16
    assert sum("constant:drawn once" in line for line in lines) == 14
    assert pack(tmp_path, STYLEGAN, noise="constant")[0].manifest.version == bundle.manifest.version


def test_noise_that_costs_more_than_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(noise_cost, "_seconds", lambda act: act() is None or 1e-3)
    nodes = [("ReduceMean", "noise", "level", {"axes": [2, 3], "keepdims": 0}), ("Add", "z level", "m", {})]
    graph = dense(nodes, {"z": (FLOAT, ["n", 16]), "noise": (FLOAT, ["n", 1, 256, 256])})
    _, lines = pack(tmp_path, graph)
    assert lines[-1].startswith("noise: 65,536 numbers a row take ")
    assert lines[-1].endswith("--noise constant draws them once for all rows")
    assert len(pack(tmp_path, graph, noise="constant")[1]) == 3


REFUSED: dict[str, tuple[onnx.ModelProto, dict[str, Any], str]] = {
    "two latents": (TWO, {}, "--input NAME=latent"),
    "words of no kind": (TWO, {"inputs": {"a": "latnet"}}, "input a=latnet: 'latnet' is none of latent"),
    "a constant of another shape": (BIGGAN, {"inputs": {"truncation": "constant:[1,2]"}}, "[2] is told; [] is needed"),
    "conditions for other columns": (TWO, {"inputs": {"a": "latent", "b": "condition:0..1;0..1"}}, "it has 6 columns"),
    "one name for two": (PHYSICS, {"inputs": {"energy": "condition:e=1..2", "angles": "condition:0..1;e=0..1"}},
                         "two conditions are called e"),
    "a prior without a logarithm": (PHYSICS, {"inputs": {"energy": "condition:0..1,log-uniform", "angles": "unused"}},
                                    "log-uniform"),
    "a prior that the graph gives NaN for": (
        PHYSICS, {"inputs": {"energy": "condition:-2..-1", "angles": "unused"}}, "not finite"),
    "labels of another number": (BIGGAN, {"labels": ["a", "b"]}, "--labels names 2 labels"),
    "a latent of 10^12 numbers": (
        dense([("Flatten", "z", "m", {})], {"z": (FLOAT, ["n", 10**6, 10**6])}), {}, "1,000,000,000,000 numbers"),
    "labels by the 10^12": (
        dense([("MatMul", "y W2", "m", {})], {"z": (FLOAT, ["n", 16]), "y": (FLOAT, ["n", 10**12])}), {},
        "1,000,000,000,000 numbers"),
    "a sample of 10^12 numbers": (
        model([("Expand", "z huge", "x", {})], {"z": (FLOAT, ["n", 1])}, {"x": (FLOAT, None)},
              {"huge": np.array([10**6, 10**6])}), {}, "1,000,000,000,000 numbers"),
    "labels that their type cannot tell apart": (
        labelled(TensorProto.INT8, 200), {"labels": [str(index) for index in range(200)]}, "names 200 labels"),
    "a sample of no numbers": (
        model([("Slice", "z none none one", "x", {})], {"z": (FLOAT, ["n", 1])}, {"x": (FLOAT, ["n", 0])},
              {"none": [0], "one": [1]}), {}, "shape [0], which hold no numbers"),
    "columns of a picture": (VAE, {"columns": ["a", "b"]}, "columns are of a table, and samples are of kind image"),
    "a rate of a picture": (VAE, {"sample_rate": 8000}, "a sample rate is of audio, and samples are of kind image"),
    "a column that is named twice": (
        model([("Identity", "z", "x", {})], {"z": (FLOAT, ["n", 3])}, {"x": (FLOAT, ["n", 3])}),
        {"kind": "table", "columns": ["a", "b", "a"]}, "two columns are called a"),
    "operators that came before the runtime": (
        dense([("Identity", "z", "m", {})], {"z": (FLOAT, ["n", 16])}, opset=5), {}, "its operator set is 5"),
    "operators of the future": (
        dense([("Identity", "z", "m", {})], {"z": (FLOAT, ["n", 16])}, opset=99), {}, "its operator set is 99"),
    "batch normalisation in training mode": (
        dense([("BatchNormalization", "z one zero zero one", "m mean variance", {"training_mode": 1})],
              {"z": (FLOAT, ["n", 16])}, {"one": np.ones(16, "f4"), "zero": np.zeros(16, "f4")}), {},
        "is in training mode, and takes the mean of a batch: export the model in eval mode"),
    "a small column that is of its batch": (
        model([("MatMul", "z w", "h", {}), ("ReduceMean", "h", "mean", {"axes": [0]}), ("Mul", "mean small", "s", {}),
               ("Mul", "h large", "l", {}), ("Sub", "l s", "x", {})],
              {"z": (FLOAT, ["n", 4])}, {"x": (FLOAT, ["n", 2])},
              {"w": rand(4, 2), "small": np.array([0, 1], "f4"), "large": np.array([1e6, 1], "f4")}), {},
        "another alone than in a batch"),
    "a little of the mean of its batch": (
        dense([("ReduceMean", "z", "mean", {"axes": [0]}), ("Mul", "mean little", "l", {}), ("Add", "z l", "m", {})],
              {"z": (FLOAT, ["n", 16])}, {"little": np.float32(1e-3)}), {}, "ReduceMean mean goes over axis 0"),
    "samples of any length": (
        model([("ReduceMax", "z", "top", {"keepdims": 0}), ("Mul", "top ten", "many", {}), ("Abs", "many", "some", {}),
               ("Cast", "some", "count", {"to": INT64}), ("Range", "zero count one", "steps", {}),
               ("Cast", "steps", "s", {"to": FLOAT}), ("MatMul", "z w", "level", {}), ("Add", "level s", "x", {})],
              {"z": (FLOAT, ["n", 4])}, {"x": (FLOAT, ["n", "length"])},
              {"ten": np.float32(10), "zero": np.array(0), "one": np.array(1), "w": rand(4, 1)}), {}, "of shape ["),
    "a value of 10^13 numbers in between": (
        model([("Tile", "z times", "wide", {}), ("ReduceMax", "wide", "x", {"axes": [1]})],
              {"z": (FLOAT, ["n", 10])}, {"x": (FLOAT, ["n", 1])}, {"times": np.array([1, 10**12])}), {},
        "the value wide has 10,000,000,000,000 numbers"),
    "words": (
        model([("Constant", "", "x", {"value_string": "a"}), ("Identity", "z", "y", {})], {"z": (FLOAT, ["n", 4])},
              {"x": (TensorProto.STRING, [])}), {}, "the output x is of type string; it must hold real numbers"),
    "nine axes": (
        dense([("Identity", "z", "m", {})], {"z": (FLOAT, ["n", 16])}, shaped=(-1, 2, 1, 2, 1, 2, 1, 3, 1, 2)),
        {}, "samples of shape [2, 1, 2, 1, 2, 1, 3, 1, 2] cannot be"),
    "numbers beyond float32": (
        model([("Mul", "z huge", "x", {})], {"z": (TensorProto.DOUBLE, ["n", 4])},
              {"x": (TensorProto.DOUBLE, ["n", 4])}, {"huge": np.float64(1e300)}), {}, "samples are float32"),
    "maps of labels": (
        dense([("ReduceMean", "label", "y", {"axes": [2, 3], "keepdims": 0}), ("Concat", "z y", "m", {"axis": 1})],
              {"z": (FLOAT, ["n", 13]), "label": (FLOAT, ["n", 3, 8, 8])}), {}, "holds maps"),
    "a count of samples": (
        dense([("Cast", "num", "s", {"to": FLOAT}), ("Mul", "z s", "m", {})],
              {"z": (FLOAT, ["n", 16]), "num": (INT64, ["n"])}), {}, "what is the input num"),
    "operators of others": (
        dense([("GridSampleX", "z", "m", {})], {"z": (FLOAT, ["n", 16])}), {}, "made of ONNX's own"),
    "codes whose number is not told": (CODES, {}, "--input codes=latent:uniform(0,N)"),
    "codes from a bell": (CODES, {"inputs": {"codes": "latent"}}, "--input codes=latent:uniform(0,N)"),
    "more codes than there are": (
        CODES, {"inputs": {"codes": "latent:uniform(0,90)"}}, "does not run on a batch of latents"),
    "a latent of 2^25 numbers": (
        model([("ReduceMax", "z", "x", {"axes": [1]})], {"z": (FLOAT, ["n", 1 << 25])}, {"x": (FLOAT, ["n", 1])}), {},
        "less than or equal to 16777216"),
}  # fmt: skip


@pytest.mark.parametrize(("graph", "told", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_one_line(tmp_path: Path, graph: onnx.ModelProto, told: dict[str, Any], words: str):
    assert words in refused(tmp_path, graph, **told)


def test_a_scale_that_is_not_whole(tmp_path: Path):
    """What the last operators read is looked at before the runtime sees the graph."""
    graph = model([("Mul", "z k", "x", {})], {"z": (FLOAT, ["n", 4])}, {"x": (FLOAT, ["n", 4])}, {"k": rand(4)})
    graph.graph.initializer[0].dims.append(3)
    assert "the weight k should hold 12 numbers, and holds 4" in refused(tmp_path, graph)


def test_a_loop_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(original, "_SECONDS", 0.2)
    value = helper.make_tensor_value_info
    ends = (
        [value("i", INT64, []), value("go", BOOL, []), value("had", FLOAT, None)],
        [value("on", BOOL, []), value("has", FLOAT, None)],
    )
    nodes = [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Tanh", ["had"], ["has"])]
    graph = dense([("Identity", "left", "m", {})], {"z": (FLOAT, ["n", 16])}, {"yes": np.array(True)})
    graph.graph.node.insert(
        0, helper.make_node("Loop", ["", "yes", "z"], ["left"], body=helper.make_graph(nodes, "b", *ends))
    )
    assert "1 of its rows take longer than" in refused(tmp_path, graph)


def test_a_weight_that_is_not_there(tmp_path: Path):
    graph = dense([("Identity", "z", "m", {})], {"z": (FLOAT, ["n", 16])})
    graph.graph.initializer[0].dims[:] = [10**6, 10**6]
    assert "the weight W should hold 1,000,000,000,000 numbers, and holds 768" in refused(tmp_path, graph)


@pytest.mark.parametrize("size", [-1, 0])
def test_sizes_that_stand_for_any(tmp_path: Path, size: int):
    """As Keras' first exporters wrote the batch."""
    graph = dense([("Identity", "z", "m", {})], {"z": (FLOAT, [size, 16])}, batch=size)
    bundle, _ = pack(tmp_path, graph)
    assert (bundle.manifest.onnx.batch, bundle.manifest.sample.shape) == (None, [3, 4, 4])


def test_weights_that_are_declared_as_inputs(tmp_path: Path):
    """As the first operator sets wanted it."""
    graph = dense([("Identity", "z", "m", {})], {"z": (FLOAT, ["n", 16]), "W": (FLOAT, [16, 48])}, opset=9)
    bundle, lines = pack(tmp_path, graph)
    assert bundle.manifest.latent.dim == 16
    assert not any(line.startswith("input W") for line in lines)


def test_the_command(tmp_path: Path):
    onnx.save(PHYSICS, tmp_path / "physics.onnx")
    command = ["pack", str(tmp_path / "physics.onnx"), "--name", "calo", "--out", str(tmp_path / "calo")]
    told = ["--input", "energy=condition:1..100,log-uniform,GeV", "--input", "angles=condition:0..1"]
    done = CliRunner().invoke(cli, [*command, *told, "--reference-samples", "64"])
    assert done.exit_code == 0, done.output
    assert "input noise float32 [batch, 13]: latent:normal" in done.output
    assert "input energy float32 [batch, 1]: condition:1..100,log-uniform,GeV" in done.output
    conditions = read_bundle(tmp_path / "calo").manifest.conditions or []
    assert [one.name for one in conditions] == ["energy", "angles_0", "angles_1"]
    twice = CliRunner().invoke(cli, [*command, *told, "--input", "energy=unused"])
    assert twice.exit_code != 0
    assert "energy is told twice" in twice.output
