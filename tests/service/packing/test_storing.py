"""Generators whose weights lie in files: brought, stored, read, served; what is not a bundle's own is refused."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from latentserve.service.bundle import read_bundle
from latentserve.service.bundle.files import DATA, GENERATOR
from latentserve.service.cli import cli
from latentserve.service.errors import BundleError
from latentserve.service.opened import open_bundle
from latentserve.service.packing.foreign import pack as packing
from latentserve.service.packing.foreign.pack import PackOptions, pack_foreign
from latentserve.service.packing.optimize import Bound, optimize_bundle
from latentserve.service.packing.storing import mapped, read_model, store, whole, workroom
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.watching.disk import FilesOnDisk
from tests.conftest import make_bundle
from tests.generators import dense_generator
from tests.server import Server

LITTLE = 100_000  # bytes, of which the generator below has more

HIDDEN = 640  # so that one of its weights is a large one


def heavy() -> onnx.ModelProto:
    return dense_generator(hidden=HIDDEN)


def saved(folder: Path, model: onnx.ModelProto, **options: Any) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / "brought.onnx"
    told = {"save_as_external_data": True, "location": "brought.data", "size_threshold": 0} | options
    onnx.save(model, file, **told)
    return file


def refused(file: Path) -> str:
    with pytest.raises(BundleError) as caught:
        read_model(file)
    message = str(caught.value)
    assert message.startswith(str(file))
    assert "\n" not in message
    return message


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose weights lie beside its graph, never to be changed."""
    folder = tmp_path_factory.mktemp("beside")
    file = saved(folder, heavy(), save_as_external_data=False)
    with workroom(folder / "bundle") as room:
        make_bundle(folder / "bundle", "heavy", generator=store(read_model(file), room, LITTLE), reference_samples=200)
    return folder / "bundle"


@pytest.fixture
def copy(beside: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(beside, tmp_path / "copy"))


def test_wherever_weights_lie_it_is_the_same_generator(beside: Path, tmp_path: Path) -> None:
    """Their version too, and every sample."""
    within = make_bundle(tmp_path / "within", "heavy", generator=heavy().SerializeToString(), reference_samples=200)
    whole_file = saved(tmp_path / "whole", heavy(), save_as_external_data=False)
    with workroom(tmp_path / "one") as room:
        make_bundle(tmp_path / "one", "heavy", generator=store(read_model(whole_file), room), reference_samples=200)
    bundles = [read_bundle(path) for path in (beside, within, tmp_path / "one")]
    assert len({bundle.manifest.version for bundle in bundles}) == 1
    assert [(bundle.path / DATA).exists() for bundle in bundles] == [True, False, False]
    assert sorted(bundles[0].manifest.sha256) == sorted(
        path.name for path in beside.iterdir() if path.name != "manifest.json"
    )
    assert (beside / GENERATOR).stat().st_size < 60_000
    assert (beside / DATA).stat().st_mode & 0o777 == 0o644
    inputs = RowsRequest(n=5, seed=3).inputs(bundles[0].manifest, 0, 5)
    samples = [Engine(bundle, "cpu").run(inputs, ("sample", "signals")) for bundle in bundles]
    for sample, signals in samples[1:]:
        assert np.array_equal(sample, samples[0][0])
        assert np.array_equal(signals, samples[0][1])
    assert open_bundle(beside).sample(n=2, seed=1).shape == (2, 1, 8, 8)
    for path in (beside, tmp_path / "one"):
        assert sorted(one.name for one in path.parent.iterdir() if one.name.startswith(".")) == []


@pytest.mark.parametrize("options", [{}, {"size_threshold": 1000}, {"save_as_external_data": False}], ids=repr)
@pytest.mark.parametrize("largest", [LITTLE, 10 * LITTLE])
def test_packed_from_any_file(
    beside: Path, tmp_path: Path, options: dict[str, Any], largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "store", functools.partial(store, largest=largest))
    file = saved(tmp_path / "brought", heavy(), **options)
    before = {path.name: path.read_bytes() for path in file.parent.iterdir()}
    pack_foreign(file, tmp_path / "bundle", "heavy", PackOptions(), reference_samples=200)
    bundle = read_bundle(tmp_path / "bundle")
    assert (bundle.path / DATA).exists() == (largest == LITTLE)
    inputs = RowsRequest(n=5, seed=3).inputs(bundle.manifest, 0, 5)
    made = Engine(bundle, "cpu").generate(inputs)
    assert np.allclose(made, Engine(read_bundle(beside), "cpu").generate(inputs), atol=1e-5)
    assert {path.name: path.read_bytes() for path in file.parent.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["brought", "bundle"]


def test_a_link_into_a_cache_of_downloads_is_followed(tmp_path: Path) -> None:
    """As huggingface_hub keeps files: links, to files of other names that lie side by side."""
    file = saved(tmp_path / "blobs", heavy())
    (tmp_path / "snapshot").mkdir()
    shutil.move(file.parent / "brought.data", file.parent / "f00d")
    (tmp_path / "snapshot" / "model.onnx").symlink_to(Path("..") / "blobs" / "brought.onnx")
    (tmp_path / "snapshot" / "brought.data").symlink_to(Path("..") / "blobs" / "f00d")
    model = read_model(tmp_path / "snapshot" / "model.onnx")
    assert onnx.load_model_from_string(whole(model, GENERATOR)).graph.node == heavy().graph.node


def test_a_link_to_a_file_beside_its_weights_is_followed(tmp_path: Path) -> None:
    file = saved(tmp_path / "models", heavy())
    (tmp_path / "model.onnx").symlink_to(file)
    model = read_model(tmp_path / "model.onnx")
    assert onnx.load_model_from_string(whole(model, GENERATOR)).graph.node == heavy().graph.node


def test_over_a_socket(copy: Path) -> None:
    """Served by two workers as anybody's; and when the weights are cut short, not at all, in a line."""
    rows = open_bundle(copy).sample(n=40, seed=5, labels=[index % 10 for index in range(40)])
    with Server(copy, workers=2) as server:
        for _ in range(4):
            with httpx.Client(base_url=server.url) as other:  # a connection of its own: either worker may take it
                body = {"n": 40, "seed": 5, "labels": [index % 10 for index in range(40)]}
                answer = other.post("/v1/samples", json=body, headers={"Accept": "application/x-npy"})
                np.testing.assert_allclose(np.load(io.BytesIO(answer.content)), rows, rtol=0, atol=1e-5)
    (copy / DATA).write_bytes((copy / DATA).read_bytes()[:-4])
    with pytest.raises(RuntimeError, match=rf"ended with 1: latentserve: .*{DATA}: .*\n$"):
        Server(copy)


def test_what_the_runtime_is_lent_is_what_was_brought(tmp_path: Path) -> None:
    model = read_model(saved(tmp_path / "a", heavy()))
    files = mapped(model)
    (location,) = files
    assert location == str(tmp_path / "a" / "brought.data")
    again = onnx.load_model_from_string(whole(model, GENERATOR))
    weights = {tensor.name: tensor for tensor in again.graph.initializer}
    for tensor in heavy().graph.initializer:
        assert np.array_equal(numpy_helper.to_array(weights[tensor.name]), numpy_helper.to_array(tensor))
    with pytest.raises(BundleError, match=r"critic\.onnx: has more than 0\.0 GB of weights"):
        whole(model, "critic.onnx", LITTLE)


def _constant_beside(model: onnx.ModelProto) -> None:
    """The embedding as the constant of a node, its values in a file."""
    (tensor,) = (one for one in model.graph.initializer if one.name == "embedding")
    model.graph.initializer.remove(tensor)
    model.graph.node.insert(0, helper.make_node("Constant", [], ["embedding"], value=tensor))


def test_constants_of_nodes_are_brought_within(tmp_path: Path) -> None:
    """The runtime looks into files for a graph's initializers alone."""
    model = heavy()
    _constant_beside(model)
    file = saved(tmp_path / "a", model, convert_attribute=True)
    read = read_model(file)
    constant = read.graph.node[0].attribute[0].t
    assert not constant.external_data
    (embedding,) = (one for one in heavy().graph.initializer if one.name == "embedding")
    assert np.array_equal(numpy_helper.to_array(constant), numpy_helper.to_array(embedding))


def _place(file: Path, **told: object) -> None:
    """Let a weight of a saved file say something else of where it lies."""
    model = onnx.load(file, load_external_data=False)
    for entry in model.graph.initializer[1].external_data:
        entry.value = str(told.get(entry.key, entry.value))
    file.write_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"location": "../secret"}, "outside its folder"),
        ({"location": "sub/../../secret"}, "outside its folder"),
        ({"location": "/etc/passwd"}, "outside its folder"),
        ({"location": "link"}, "outside its folder"),
        ({"location": "absent"}, "absent"),
        ({"location": "."}, "."),
        ({"offset": 10**9}, "not whole"),
        ({"offset": -4}, "weight"),
        ({"offset": "four"}, "no place"),
        ({"length": 8}, "weight"),
        ({"length": 10**12}, "not whole"),
    ],
    ids=repr,
)
def test_weights_that_are_not_beside_the_file_are_told(tmp_path: Path, told: dict[str, object], words: str) -> None:
    (tmp_path / "secret").write_bytes(b"s" * 10**6)
    file = saved(tmp_path / "a", heavy())
    (file.parent / "link").symlink_to(tmp_path / "secret")
    _place(file, **told)
    assert words in refused(file)


def test_a_weight_that_the_runtime_does_not_take_as_one_is_told(tmp_path: Path) -> None:
    rows, wide = 8, (1 << 26) + 1
    weight = TensorProto(name="w", dims=[rows, wide], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="w.data")
    with (tmp_path / "w.data").open("wb") as file:
        file.truncate(4 * rows * wide)  # of holes
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", rows])
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", wide])
    graph = helper.make_graph([helper.make_node("MatMul", ["z", "w"], ["image"])], "wide", [z], [image], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "w.onnx")
    with pytest.raises(BundleError, match=r"weight 'w' has 2\.1 GB.*split it"):
        pack_foreign(tmp_path / "w.onnx", tmp_path / "bundle", "wide", PackOptions())


def test_what_is_too_much_for_a_graph_is_told(tmp_path: Path) -> None:
    model = read_model(saved(tmp_path / "a", heavy()))
    with workroom(tmp_path / "out") as room, pytest.raises(BundleError, match="no large initializers"):
        store(model, room, 1000)
    with pytest.raises(BundleError, match="no large initializers"):
        whole(model, GENERATOR, 1000)


def test_a_workroom_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match="cannot be written"), workroom(tmp_path / "file" / "bundle"):
        pass


def not_read(path: Path, *words: str) -> None:
    with pytest.raises(BundleError) as caught:
        read_bundle(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_weights_that_are_damaged_are_not_read(copy: Path) -> None:
    content = (copy / DATA).read_bytes()
    for damaged in (content[:-1], content + b"?", bytes([content[0] ^ 1]) + content[1:], b""):
        (copy / DATA).write_bytes(damaged)
        not_read(copy, DATA, "SHA-256")
    (copy / DATA).unlink()
    not_read(copy, DATA, "missing")


def forge(bundle: Path, change: Callable[[onnx.ModelProto], None], **files: bytes) -> None:
    """Change a bundle's graph, and let its hashes fit."""
    model = onnx.load(bundle / GENERATOR, load_external_data=False)
    change(model)
    (bundle / GENERATOR).write_bytes(model.SerializeToString())
    manifest = json.loads((bundle / "manifest.json").read_text())
    for name in list(manifest["sha256"]):
        manifest["sha256"][name] = hashlib.sha256((bundle / name).read_bytes()).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def _large(model: onnx.ModelProto) -> TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.external_data)


def _say(**told: object) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        for entry in _large(model).external_data:
            entry.value = str(told.get(entry.key, entry.value))

    return change


def _move_into_a_node(model: onnx.ModelProto) -> None:
    tensor = _large(model)
    constant = helper.make_node("Constant", [], [tensor.name], value=tensor)
    model.graph.initializer.remove(tensor)
    model.graph.node.insert(0, constant)


def _sparse(model: onnx.ModelProto) -> None:
    values = TensorProto(name="s", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    values.external_data.add(key="location", value=DATA)
    indices = numpy_helper.from_array(np.zeros(1, np.int64))
    made = helper.make_sparse_tensor(values, indices, [4])
    model.graph.node.insert(0, helper.make_node("Constant", [], ["nobody"], sparse_value=made))


@pytest.mark.parametrize(
    "change",
    [
        _say(location="../copy/" + DATA),
        _say(location="./" + DATA),
        _say(location="/etc/passwd"),
        _say(location="golden.npz"),
        _say(location=""),
        _say(offset=1 << 40),
        _say(offset=4096),
        _say(offset=-4096),
        _say(length=4),
        _say(length=1 << 40),
        _say(offset="x"),
        _move_into_a_node,
        _sparse,
    ],
)
def test_a_bundle_s_weights_are_its_own_file_s(copy: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    forge(copy, change)
    not_read(copy, GENERATOR, "weight")


def test_a_file_of_weights_that_the_manifest_does_not_list(copy: Path) -> None:
    forge(copy, lambda model: None)
    manifest = json.loads((copy / "manifest.json").read_text())
    del manifest["sha256"][DATA]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    not_read(copy, GENERATOR, "another file")


def test_the_version_is_checked_though_every_hash_fits(copy: Path) -> None:
    content = bytearray((copy / DATA).read_bytes())
    content[100] ^= 1
    (copy / DATA).write_bytes(content)
    forge(copy, lambda model: None)
    not_read(copy, "version")


def test_a_bundle_that_is_replaced_is_still_itself(copy: Path) -> None:
    bundle = read_bundle(copy)
    before = Engine(bundle, "cpu").probe().max()
    shutil.rmtree(copy)
    assert Engine(bundle, "cpu").probe().max() == before


def test_weights_that_change_on_disk_are_seen(copy: Path) -> None:
    found: list[tuple[str | None, str | None]] = []
    files = FilesOnDisk(read_bundle(copy), lambda *told: found.append(told))
    files.look()
    content = (copy / DATA).read_bytes()
    (copy / DATA).write_bytes(content[:-1] + b"?")
    for _ in range(2):
        files.look()
    assert found == [(None, None), (f"{DATA} is not what the manifest says", None)]


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_variants_of_it_are_not_made(beside: Path, tmp_path: Path, precision: Any) -> None:
    with pytest.raises(BundleError, match=rf"weights lie in {DATA}.*2 GB"):
        optimize_bundle(beside, precision, tmp_path / "variant", Bound())


def test_check_takes_it(beside: Path) -> None:
    done = CliRunner().invoke(cli, ["check", str(beside)])
    assert done.exit_code == 0, done.output
    assert "heavy" in done.output
