"""Bundles on disk: what is written is read again, and what is not exactly that is refused in one line."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from latentserve.service.bundle import (
    Bundle,
    Golden,
    Latent,
    Lineage,
    SampleSpec,
    content_version,
    files,
    read_bundle,
    read_bundles,
    write_bundle,
)
from latentserve.service.bundle.golden import unpack_arrays
from latentserve.service.errors import BundleError
from tests.conftest import examples, make_bundle
from tests.generators import dense_critic, dense_generator

FILES = ["critic.onnx", "generator.onnx", "golden.npz", "manifest.json", "reference.npz"]

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """A bundle that may be damaged."""
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def refused(path: Path, *words: str) -> None:
    with pytest.raises(BundleError) as caught:
        read_bundle(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    for word in (str(path), *words):
        assert word in message


def edit(path: Path, change: Edit) -> Path:
    manifest = json.loads((path / "manifest.json").read_text())
    change(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


def forge(path: Path, name: str, content: bytes) -> Path:
    """Put a file in, and make the hashes and the version fit it."""
    (path / name).write_bytes(content)

    def change(manifest: dict[str, Any]) -> None:
        manifest["sha256"][name] = hashlib.sha256(content).hexdigest()
        with suppress(Exception):  # what is no graph, or not whole, has no version
            manifest["version"] = content_version(
                onnx.load(path / "generator.onnx"),
                Latent(**manifest["latent"]),
                manifest["labels"],
                SampleSpec(**manifest["sample"]),
            )

    return edit(path, change)


def test_what_is_written_is_read(bundle: Path, plain_bundle: Path) -> None:
    read = read_bundle(bundle)
    assert read.manifest.name == "toy"
    assert read.manifest.latent == Latent(dim=8)
    assert read.generator == dense_generator().SerializeToString()
    assert read.critic == dense_critic().SerializeToString()
    assert read.golden.z.shape == (16, 8)
    assert read.golden.sample.shape == (16, 1, 8, 8)
    assert set((read.golden.label if read.golden.label is not None else np.zeros(0)).tolist()) == set(range(10))
    assert read.golden.tolerance > 0
    assert sorted(read.manifest.sha256) == sorted({path.name for path in bundle.iterdir()} - {"manifest.json"})
    plain = read_bundle(plain_bundle)
    assert plain.critic is None
    assert plain.golden.label is None
    assert plain.manifest.labels is None
    assert [each.manifest.name for each in read_bundles([bundle, plain_bundle])] == ["toy", "plain"]


def test_two_bundles_of_one_name_are_refused(bundle: Path, copy: Path) -> None:
    with pytest.raises(BundleError, match="toy"):
        read_bundles([bundle, copy])


def test_files_can_be_read_by_all(bundle: Path) -> None:
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o755
    assert {stat.S_IMODE(path.stat().st_mode) for path in bundle.iterdir()} == {0o644}


def test_built_twice_it_is_the_same_but_for_the_time(bundle: Path, tmp_path: Path) -> None:
    again = make_bundle(tmp_path / "again")
    assert sorted(path.name for path in again.iterdir()) == sorted(path.name for path in bundle.iterdir())
    for path in bundle.iterdir():
        if path.name != "manifest.json":
            assert (again / path.name).read_bytes() == path.read_bytes(), path.name
    first, second = (json.loads((folder / "manifest.json").read_text()) for folder in (bundle, again))
    assert datetime.fromisoformat(first.pop("created")).tzinfo is not None
    second.pop("created")
    assert first == second


def test_the_version_is_of_what_decides_the_samples(bundle: Path, tmp_path: Path) -> None:
    version = read_bundle(bundle).manifest.version
    same: dict[str, dict[str, object]] = {
        "name": {"name": "other"},
        "critic": {"critic": None},
        "licence": {"license_id": "MIT"},
        "lineage": {"lineage": Lineage(dataset="digits", seed=3)},
        "label-prior that is none": {"label_prior": [0.1] * 10},
    }
    for name, options in same.items():
        assert read_bundle(make_bundle(tmp_path / name, **options)).manifest.version == version, name  # type: ignore[arg-type]
    others: dict[str, dict[str, object]] = {
        "weights": {"generator": dense_generator(seed=5).SerializeToString()},
        "prior": {"latent": Latent(dim=8, prior="uniform")},
        "labels": {"labels": [f"{index}" for index in range(10)]},
        "label-prior": {"label_prior": [0.2] + [0.8 / 9] * 9},
        "range": {"sample": SampleSpec(kind="image", shape=[1, 8, 8], value_range=(-2, 2), channels="L")},
    }
    versions = {read_bundle(make_bundle(tmp_path / name, **each)).manifest.version for name, each in others.items()}  # type: ignore[arg-type]
    assert len(versions | {version}) == 6


@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from([*FILES, "preview.png", "MODEL_CARD.md"]), place=st.floats(0, 1), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_refused(copy: Path, name: str, place: float, bit: int) -> None:
    """Or, in the manifest, changes nothing that is served: its free text is what nothing vouches for."""
    good = read_bundle(copy)
    file = copy / name
    content = file.read_bytes()
    index = min(int(place * len(content)), len(content) - 1)
    file.write_bytes(content[:index] + bytes([content[index] ^ 1 << bit]) + content[index + 1 :])
    try:
        if name == "manifest.json":
            with_refusal = _read_or_refusal(copy)
            assert with_refusal is None or _served(with_refusal) == _served(good)
        else:
            refused(copy, name)
    finally:
        file.write_bytes(content)


def _read_or_refusal(path: Path) -> Bundle | None:
    try:
        return read_bundle(path)
    except BundleError as error:
        if "\n" in str(error):
            raise AssertionError(f"more than a line: {error}") from None
        return None


def _served(bundle: Bundle) -> tuple[object, ...]:
    manifest = bundle.manifest
    return manifest.version, manifest.latent, manifest.labels, manifest.sample, bundle.generator, bundle.critic


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(FILES), share=st.floats(0, 0.999))
def test_a_truncated_file_is_refused(copy: Path, name: str, share: float) -> None:
    file = copy / name
    content = file.read_bytes()
    # A manifest without its last line break is the same manifest.
    file.write_bytes(content[: min(int(share * len(content)), len(content) - 2)])
    try:
        refused(copy, name)
    finally:
        file.write_bytes(content)


@pytest.mark.parametrize("name", [*FILES, "preview.png", "MODEL_CARD.md"])
def test_a_missing_file_is_refused(copy: Path, name: str) -> None:
    (copy / name).unlink()
    refused(copy, name)
    (copy / name).mkdir()
    refused(copy, name)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file")


BAD_MANIFESTS: dict[str, tuple[str, Edit]] = {
    "schema_version 3": (
        "schema_version is 3; this release reads 1 or 2; a newer",
        lambda m: m.update(schema_version=3),
    ),
    "schema_version as text": ("schema_version", lambda m: m.update(schema_version="1")),
    "no schema_version": ("schema_version", lambda m: m.pop("schema_version")),
    "an extra key": ("colour", lambda m: m.update(colour="red")),
    "an extra key within": ("latent.colour", lambda m: m["latent"].update(colour="red")),
    "no name": ("name", lambda m: m.pop("name")),
    "a name with a slash": ("name", lambda m: m.update(name="../x")),
    "a dimension of 0": ("latent.dim", lambda m: m["latent"].update(dim=0)),
    "a dimension as text": ("latent.dim", lambda m: m["latent"].update(dim="8")),
    "another dimension": ("version", lambda m: m["latent"].update(dim=9)),
    "another version": ("version", lambda m: m.update(version="0" * 12)),
    "another prior": ("version", lambda m: m["latent"].update(prior="uniform")),
    "an unknown prior": ("latent.prior", lambda m: m["latent"].update(prior="cauchy")),
    "a label twice": ("labels", lambda m: m["labels"].__setitem__(1, "digit 0")),
    "no labels": ("version", lambda m: m.update(labels=None)),
    "a label prior that is not 1": ("label_prior", lambda m: m.update(label_prior=[0.2] * 10)),
    "a label prior too short": ("label_prior", lambda m: m.update(label_prior=[0.5, 0.5])),
    "an upside-down range": ("value_range", lambda m: m["sample"].update(value_range=[1, -1])),
    "a picture with two channels": ("channels", lambda m: m["sample"].update(shape=[2, 8, 8])),
    "a hash of another form": ("sha256", lambda m: m["sha256"].update({"golden.npz": "x"})),
    "a file outside": ("sha256", lambda m: m["sha256"].update({"../golden.npz": "0" * 64})),
    "a file that is not there": ("extra.bin", lambda m: m["sha256"].update({"extra.bin": "0" * 64})),
    "no golden samples": ("golden.npz", lambda m: m["sha256"].pop("golden.npz")),
    "no generator": ("generator.onnx", lambda m: m["sha256"].pop("generator.onnx")),
    "no critic": ("critic", lambda m: m["sha256"].pop("critic.onnx")),
    "a critic not stated": ("critic", lambda m: m["onnx"].update(critic=None)),
    "another signature": ("onnx.generator", lambda m: m["onnx"]["generator"]["inputs"].reverse()),
}


@pytest.mark.parametrize(("word", "change"), BAD_MANIFESTS.values(), ids=BAD_MANIFESTS)
def test_a_manifest_that_is_wrong_is_refused(copy: Path, word: str, change: Edit) -> None:
    edit(copy, change)
    refused(copy, word)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"schema_version":1}', b" " * (5 << 20)],
    ids=lambda content: repr(content[:20]),
)
def test_a_manifest_that_is_none_is_refused(copy: Path, content: bytes) -> None:
    (copy / "manifest.json").write_bytes(content)
    refused(copy, "manifest.json")


def _model(change: Callable[[onnx.ModelProto], None], **options: Any) -> bytes:
    model = dense_generator(**options)
    change(model)
    return model.SerializeToString()


READER = """
import sys
from pathlib import Path
from latentserve.service.bundle import read_bundle
path, stop, seen, faults = Path(sys.argv[1]), Path(sys.argv[2]), set(), []
while not stop.exists():
    try:
        seen.add(read_bundle(path).manifest.lineage.seed)
    except Exception as error:
        faults.append(str(error))
    print(len(seen), flush=True)
print(sorted(seen), len(faults), faults[:3])
"""


@pytest.mark.parametrize("times", [60, pytest.param(300, marks=pytest.mark.full)])
def test_a_reader_sees_the_old_or_the_new_and_never_half_or_none(times: int, tmp_path: Path, bundle: Path) -> None:
    """A reader in a process of its own, while the bundle is replaced again and again by one with another generator."""
    one, other = (
        read_bundle(bundle),
        read_bundle(make_bundle(tmp_path / "o", generator=dense_generator(seed=1).SerializeToString())),
    )
    stop = tmp_path / "stop"

    def write(turn: int) -> None:
        which = (one, other)[turn % 2]
        lineage = Lineage(seed=turn % 2)
        write_bundle(tmp_path / "served", which.manifest.model_copy(update={"lineage": lineage}), contents(which))

    write(0)
    command = [sys.executable, "-c", READER, str(tmp_path / "served"), str(stop)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        for _ in range(3):  # it has begun
            reader.stdout.readline()
        for turn in range(1, times + 1):
            write(turn)
        stop.touch()
        assert reader.communicate()[0].splitlines()[-1] == "[0, 1] 0 []"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o", "served", "stop"]


def test_what_was_read_stays_itself_when_it_is_replaced(copy: Path) -> None:
    old = read_bundle(copy)
    generator = old.generator
    write_bundle(copy, old.manifest, contents(old) | {"generator.onnx": b"another", "critic.onnx": b"another"})
    assert old.generator == generator
    assert len(old.critic or b"") > 100


def contents(bundle: Bundle) -> dict[str, bytes]:
    return {name: (bundle.path / name).read_bytes() for name in bundle.manifest.sha256}


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["exchange", "rename", "second rename", "fsync"])
def test_what_is_interrupted_leaves_the_old_bundle(copy: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    old = read_bundle(copy).manifest
    rename, renamed = Path.rename, []

    def rename_once(self: Path, target: Path) -> Path:
        if step == "rename" or renamed:
            monkeypatch.setattr(Path, "rename", rename)
            raise KeyboardInterrupt
        renamed.append(target)
        return rename(self, target)

    if step == "fsync":
        monkeypatch.setattr(os, "fsync", interrupted)
    elif step == "exchange":
        monkeypatch.setattr(files, "_exchange", interrupted)
    else:
        monkeypatch.setattr(files, "_exchange", lambda *_: False)
        monkeypatch.setattr(Path, "rename", rename_once)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(copy, old.model_copy(update={"license": "another"}), contents(read_bundle(copy)))
    assert read_bundle(copy).manifest == old
    assert list(copy.parent.iterdir()) == [copy]


def test_without_an_exchange_it_is_replaced_by_two_renames(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS has none, nor have systems other than Linux."""
    monkeypatch.setattr(files, "_exchange", lambda *_: False)
    old = read_bundle(copy)
    new = write_bundle(copy, old.manifest.model_copy(update={"license": "another"}), contents(old))
    assert read_bundle(copy).manifest == new != old.manifest
    assert list(copy.parent.iterdir()) == [copy]


def test_this_system_exchanges(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert files._exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "b").exists()
    assert not files._exchange(tmp_path / "a", tmp_path)  # no such exchange, and said so


def _rename(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "picture"
    model.graph.node[-1].output[0] = "picture"


def _external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    tensor.ClearField("raw_data")


def _external_within(model: onnx.ModelProto) -> None:
    """In the constant of a function, where it is easily overlooked."""
    tensor = numpy_helper.from_array(np.zeros(1, np.float32), "hidden")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    tensor.ClearField("raw_data")
    constant = helper.make_node("Constant", [], ["c"])
    constant.attribute.append(helper.make_attribute("value", tensor))
    _function(model, [constant, helper.make_node("Add", ["x", "c"], ["y"])])


def _random(model: onnx.ModelProto) -> None:
    node = helper.make_node("RandomNormalLike", ["h3"], ["noise"])
    model.graph.node.insert(len(model.graph.node) - 2, node)


def _random_within(model: onnx.ModelProto) -> None:
    _function(model, [helper.make_node("RandomNormalLike", ["x"], ["y"])])


def _function(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    opsets = [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("local", "F", ["x"], ["y"], nodes, opsets))
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.graph.node.append(helper.make_node("F", ["h3"], ["unused"], domain="local"))


BAD_GENERATORS: dict[str, tuple[str, bytes]] = {
    "not ONNX": ("not an ONNX file", b"nonsense, not ONNX"),
    "empty": ("not an ONNX file", b""),
    "half": ("not an ONNX file", dense_generator().SerializeToString()[:1000]),
    "another latent": ("inputs are z float32 ['batch', 9]", dense_generator(dim=9).SerializeToString()),
    "another shape": ("outputs are sample", dense_generator(shape=(1, 4, 4)).SerializeToString()),
    "no label": ("inputs are", dense_generator(labels=None).SerializeToString()),
    "another name": ("picture", _model(_rename)),
    "weights in another file": ("another file", _model(_external)),
    "weights of a function in another file": ("another file", _model(_external_within)),
    "a random operator": ("RandomNormalLike", _model(_random)),
    "a random operator in a function": ("RandomNormalLike", _model(_random_within)),
}


@pytest.mark.parametrize(("words", "generator"), BAD_GENERATORS.values(), ids=BAD_GENERATORS)
def test_a_generator_that_is_wrong_is_refused_though_its_hash_fits(copy: Path, words: str, generator: bytes) -> None:
    forge(copy, "generator.onnx", generator)
    refused(copy, "generator.onnx", words)


def test_a_critic_that_is_wrong_is_refused(copy: Path) -> None:
    forge(copy, "critic.onnx", dense_critic(shape=(1, 4, 4)).SerializeToString())
    refused(copy, "critic.onnx")
    forge(copy, "critic.onnx", b"nonsense")
    refused(copy, "critic.onnx")


def _golden(bundle: Bundle, **changes: Any) -> bytes:
    golden = bundle.golden
    parts = {name: changes.get(name, getattr(golden, name)) for name in Golden.__dataclass_fields__}
    return Golden(**parts).to_bytes()


BAD_GOLDEN: dict[str, dict[str, Any]] = {
    "another latent": {"z": np.zeros((16, 9), np.float32)},
    "fewer samples": {"sample": np.zeros((15, 1, 8, 8), np.float32)},
    "another shape": {"sample": np.zeros((16, 1, 8, 7), np.float32)},
    "no probes": {"z": np.zeros((0, 8), np.float32), "sample": np.zeros((0, 1, 8, 8), np.float32)},
    "no labels": {"label": None},
    "labels out of range": {"label": np.full(16, 10, np.int64)},
    "fewer labels": {"label": np.zeros(3, np.int64)},
    "another type": {"z": np.zeros((16, 8), np.float64)},
    "a rank too few": {"z": np.zeros(8, np.float32)},
    "no tolerance": {"tolerance": float("nan")},
    "any tolerance": {"tolerance": float("inf")},
    "a tolerance below 0": {"tolerance": -1.0},
}


@pytest.mark.parametrize("changes", BAD_GOLDEN.values(), ids=BAD_GOLDEN)
def test_golden_samples_that_are_wrong_are_refused(copy: Path, changes: dict[str, Any]) -> None:
    forge(copy, "golden.npz", _golden(read_bundle(copy), **changes))
    refused(copy, "golden.npz")


def test_golden_samples_that_are_no_npz_are_refused(copy: Path) -> None:
    import io

    single = io.BytesIO()
    np.save(single, np.zeros(3))
    good = (copy / "golden.npz").read_bytes()
    for content in (b"", b"nonsense", good[: len(good) // 2], single.getvalue(), good.replace(b"z.npy", b"y.npy")):
        forge(copy, "golden.npz", content)
        refused(copy, "golden.npz")


@functools.cache
def _npz() -> bytes:
    return Golden(
        np.zeros((2, 3), np.float32), None, np.ones((2, 4), np.float32), np.zeros(2, np.float32), 0.0, 1e-3
    ).to_bytes()


@settings(max_examples=examples(300))
@given(place=st.floats(0, 0.9999), bits=st.integers(1, 255), cut=st.booleans())
def test_a_damaged_npz_is_read_or_refused(place: float, bits: int, cut: bool) -> None:
    """Never anything else, whatever the archive's tables say."""
    content = _npz()
    index = int(place * len(content))
    damaged = content[:index] + (b"" if cut else bytes([content[index] ^ bits]) + content[index + 1 :])
    try:
        assert isinstance(unpack_arrays(damaged, "golden.npz"), dict)
    except BundleError as error:
        if "golden.npz" not in str(error) or "\n" in str(error):
            raise AssertionError(str(error)) from None


def test_an_older_bundle_is_replaced(tmp_path: Path) -> None:
    make_bundle(tmp_path / "b", "first")
    make_bundle(tmp_path / "b", "second", critic=None)
    assert read_bundle(tmp_path / "b").manifest.name == "second"
    assert not (tmp_path / "b" / "critic.onnx").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    (tmp_path / "empty").mkdir()
    make_bundle(tmp_path / "empty")


@pytest.mark.parametrize(
    "files",
    [
        {"thesis.tex": "x"},
        # A web page's manifest has the same name.
        {"manifest.json": '{"name": "app", "icons": []}', "index.html": "x"},
        {"manifest.json": "not JSON"},
    ],
    ids=["files", "a web page", "another manifest"],
)
def test_what_is_no_bundle_is_not_overwritten(tmp_path: Path, files: dict[str, str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name, content in files.items():
        (out / name).write_text(content)
    with pytest.raises(BundleError, match="not a bundle"):
        make_bundle(out)
    assert {path.name: path.read_text() for path in out.iterdir()} == files
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(BundleError, match="not a folder"):
        make_bundle(tmp_path / "out")
    with pytest.raises(BundleError, match="cannot be written"):
        make_bundle(tmp_path / "out" / "within")
    assert (tmp_path / "out").read_text() == "mine"
