"""Files that are no ONNX file, each told what it is in one line."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.quality.endings import ending
from latentserve.service.errors import BundleError
from latentserve.service.packing.foreign import PackOptions, pack_foreign
from latentserve.service.packing.recognise import missing_data, recognise


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return buffer.getvalue()


def tarred(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


def safetensors() -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


def array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "an empty file"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "git lfs pull"),
    "HTML": (b"<!DOCTYPE html>\n<html><body>Not found</body></html>", "a web page"),
    "XML": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML document"),
    "OpenVINO": (b"<?xml version='1.0'?>\n<net name='g' version='11'>", "OpenVINO"),
    "JSON error": (b'{"error": "Repository not found"}', "Repository not found"),
    "text": (b"hello there", "a text file"),
    "text of ONNX": (b"ir_version: 8\ngraph {\n}", "onnx.save"),
    "gzip": (gzip.compress(b"x"), "gunzip"),
    "zip": (zipped("a/generator.onnx", "readme"), "a/generator.onnx is inside"),
    "tar": (tarred("generator.onnx"), "generator.onnx is inside"),
    "half a zip": (zipped("a")[:20], "cannot be read"),
    "TorchScript": (zipped("g/code/__torch__.py", "g/constants.pkl", "g/data.pkl"), "torch.jit.load"),
    "torch.save": (zipped("g/data.pkl", "g/data/0", "g/version"), "never opened here"),
    "torch.export": (zipped("g/models/model.json", "g/archive_format"), "torch.export.load"),
    "Keras": (zipped("metadata.json", "config.json", "model.weights.h5"), "Keras model"),
    "npz": (zipped("a.npy", "b.npy"), "numpy arrays"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
    "TFLite": (b"\x1c\x00\x00\x00TFL3" + bytes(64), "--tflite model.onnx"),
    "ORT": (b"\x1c\x00\x00\x00ORTM" + bytes(64), r".ort"),
    "pickle": (b"\x80\x04\x95\x0a\x00\x00\x00\x00\x00\x00\x00}\x94.", "a pickle"),
    "pickle of text": (b"(dp0\nVa\np1\nI1\ns.", "a pickle"),
    "PyTorch of old": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "PyTorch file of old"),
    "safetensors": (safetensors(), "weights without a graph"),
    "npy": (array(), "a numpy array"),
    "PNG": (b"\x89PNG\r\n\x1a\n", "a picture"),
}


@pytest.mark.parametrize(("content", "words"), FILES.values(), ids=FILES)
def test_a_file_is_told_what_it_is(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    with pytest.raises(BundleError) as caught:
        pack_foreign(file, tmp_path / "bundle", "x", PackOptions())
    message = str(caught.value)
    assert message.startswith(f"{file}: not an ONNX file but ")
    assert words in message
    assert "\n" not in message
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("frozen.pb", b"\x0a\x02\x0a\x00", "a TensorFlow graph: convert it with tf2onnx"),
        ("saved_model.pb", b"\x08\x01\x12\x01", "part of a TensorFlow SavedModel"),
        ("model.engine", b"\xff" * 9, "a TensorRT engine"),
        ("model.pkl", b"]q\x00(K\x01K\x02e.", "a pickle, which is never opened here"),
        ("generator.onnx.data", b"\x17" * 64, "the weights of generator.onnx, which lies beside it: pack that"),
    ],
)
def test_a_file_of_no_known_kind_is_told_by_its_name(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / "generator.onnx").write_bytes(b"x")
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(BundleError) as caught:
        pack_foreign(file, tmp_path / "bundle", "x", PackOptions())
    assert f"not an ONNX file but, by its name, {words}" in str(caught.value)


def saved_model(folder: Path) -> None:
    (folder / "variables").mkdir()
    (folder / "saved_model.pb").write_bytes(b"x")


def with_models(folder: Path) -> None:
    (folder / "vae_decoder").mkdir()
    (folder / "vae_decoder" / "model.onnx").write_bytes(b"x")


def with_weights(folder: Path) -> None:
    (folder / "diffusion_pytorch_model.safetensors").write_bytes(b"x")


FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda folder: None, "no .onnx file is in it"),
    "models": (with_models, "vae_decoder/model.onnx"),
    "weights": (with_weights, "export_bundle"),
    "Keras": (lambda folder: (folder / "g.h5").write_bytes(b"\x89HDF\r\n\x1a\n"), "g.h5 is a Keras or HDF5 file"),
    "SavedModel": (saved_model, "--saved-model"),
}


@pytest.mark.parametrize(("fill", "words"), FOLDERS.values(), ids=FOLDERS)
def test_a_folder_is_told_what_is_in_it(tmp_path: Path, fill: Callable[[Path], object], words: str) -> None:
    fill(tmp_path)
    found = recognise(tmp_path)
    assert found is not None
    assert found.startswith("is a ")
    assert words in found


def test_an_onnx_file_is_nothing_else(tmp_path: Path) -> None:
    onnx.save(ending([3, 4, 4], "Tanh"), tmp_path / "model.onnx")
    assert recognise(tmp_path / "model.onnx") is None
    assert recognise(tmp_path / "nothing.onnx") == "no such file"


def test_weights_that_were_left_behind_are_named(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    onnx.save(ending([3, 8, 8], "Tanh"), file, save_as_external_data=True, location="model.onnx.data", size_threshold=0)
    model = onnx.load(file, load_external_data=False)
    assert missing_data(model, file) is None
    data = tmp_path / "model.onnx.data"
    content = data.read_bytes()
    for size in (100, len(content) - 1):
        data.write_bytes(content[:size])
        assert f"not whole: it has {size:,} of" in (missing_data(model, file) or "")
    data.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    assert "git lfs pull" in (missing_data(model, file) or "")
    data.unlink()
    with pytest.raises(BundleError, match=r"model\.onnx: keeps its weights in model\.onnx\.data, which is not beside"):
        pack_foreign(file, tmp_path / "bundle", "x", PackOptions())
    model.graph.initializer[0].external_data[0].value = "../secrets"
    assert "outside its folder" in (missing_data(model, file) or "")


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is a pipe" in (recognise(tmp_path / "pipe") or "")
    assert "download what lies there first" in (recognise(Path("https://example.org/generator.onnx")) or "")
    assert recognise(Path("long" * 2000))
    (tmp_path / "link.onnx").symlink_to(tmp_path / "gone.onnx")
    assert recognise(tmp_path / "link.onnx") == f"is a link to {tmp_path / 'gone.onnx'}, which is not there"
