"""Files that are no ONNX file: what they are, by their first bytes, and what to do. Nothing is unpickled."""

from __future__ import annotations

import json
import re
import tarfile
import zipfile
from pathlib import Path

import onnx

from latentserve.service.bundle.graph import is_external, tensors

_HEAD = 4096  # bytes that are looked at
_SHOWN = 6  # files named at the most
_EXPORT = "export its module with latentserve.export_bundle(module, ...), or with torch.onnx.export, and pack that"
_KERAS = "load it in Keras, model.export('generator.onnx', format='onnx'), and pack that"
_TO_ONNX = "convert it with tf2onnx (python -m tf2onnx.convert {what} {file} --output generator.onnx), and pack that"

_PICKLE = f", which is never opened here, for it can run anything: load it where you trust it, and {_EXPORT}"

# What a file begins with, and what it is.
_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"\x89HDF\r\n\x1a\n", f"a Keras or HDF5 file (.h5): {_KERAS}"),
    (b"\x1f\x8b", "a gzip archive: unpack it first (gunzip), and pack what is inside"),
    (b"BZh", "a bzip2 archive: unpack it first, and pack what is inside"),
    (b"\xfd7zXZ\x00", "an xz archive: unpack it first, and pack what is inside"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive: unpack it first, and pack what is inside"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first, and pack what is inside"),
    (b"Rar!", "a rar archive: unpack it first, and pack what is inside"),
    (b"\x93NUMPY", "a numpy array: samples or weights, not a graph that makes samples"),
    (b"GGUF", f"a GGUF file, weights without a graph: {_EXPORT}"),
    (b"\x89PNG", "a picture (PNG), not a generator of them"),
    (b"\xff\xd8\xff", "a picture (JPEG), not a generator of them"),
    (b"RIFF", "a sound or picture (RIFF), not a generator of them"),
    (b"%PDF", "a PDF document, not a generator"),
    (b"\x7fELF", "a program or library (ELF), perhaps a compiled engine: pack the .onnx file that it was made of"),
    (b"ftrt", "a TensorRT engine, which runs on one kind of GPU: pack the .onnx file that it was built of"),
    (b"ptrt", "a TensorRT engine, which runs on one kind of GPU: pack the .onnx file that it was built of"),
)  # fmt: skip
_FLATBUFFERS = {
    b"TFL3": "a TensorFlow Lite model: " + _TO_ONNX.format(what="--tflite", file="{file}"),
    b"ORTM": "an ONNX Runtime model (.ort): pack the .onnx file that it was made of",
    b"ET12": f"an ExecuTorch program: {_EXPORT}",
}
# What a file is by the end of its name, where its bytes are of no known kind.
_ENDINGS = {
    ".pb": "a TensorFlow graph: " + _TO_ONNX.format(what="--graphdef", file="{file}"),
    ".index": f"a checkpoint of TensorFlow, weights without a graph: {_KERAS}",
    ".msgpack": "weights of Flax, without a graph: export the function with jax2onnx or tf2onnx, and pack that",
    ".mlir": "a program of JAX or IREE: export the function with jax2onnx, and pack that",
    ".mlmodel": "a Core ML model: pack the .onnx file that it was made of",
    ".pdmodel": "a Paddle model: convert it with paddle2onnx, and pack that",
    ".caffemodel": "weights of Caffe: pack an .onnx file made of them",
    ".engine": "a TensorRT engine: pack the .onnx file that it was built of",
    ".plan": "a TensorRT engine: pack the .onnx file that it was built of",
    ".trt": "a TensorRT engine: pack the .onnx file that it was built of",
    ".joblib": f"a pickle of joblib{_PICKLE}",
    ".pkl": f"a pickle{_PICKLE}",
    ".pickle": f"a pickle{_PICKLE}",
}
_IN_FOLDERS = (".keras", ".h5", ".hdf5", ".tflite", ".pb", ".index", ".msgpack", ".mlmodel", ".pdmodel")
_WEIGHTS_ONLY = "weights without a graph"
_OF_WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".distcp", ".msgpack", ".pkl"}


def recognise(path: Path) -> str | None:
    """What a path is that is no ONNX file, and what to do, as a sentence about it; None: nothing that is known, so it
    may be an ONNX file."""
    try:
        exists = path.exists()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        return f"cannot be read ({error.strerror})"
    if not exists and path.is_symlink():
        return f"is a link to {path.readlink()}, which is not there"
    if not exists:
        address = re.match(r"[a-z][a-z0-9+]+:/", str(path))
        return "no such file" + (", for it is an address: download what lies there first" if address else "")
    if path.is_dir():
        return f"is {_folder(path)}"
    if not path.is_file():
        return "is a pipe or a device: save what it gives as a file first"
    try:
        head = _head(path)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    what = _file(path, head)
    return None if what is None else f"not an ONNX file but {what}"


def by_name(path: Path) -> str | None:
    """What a file is that is of no known kind, by its name, and what to do, as the end of a sentence."""
    if path.name == "saved_model.pb":
        return "part of a TensorFlow SavedModel: " + _TO_ONNX.format(what="--saved-model", file=path.parent.name)
    graphs = [path.with_suffix(""), path.with_suffix(".onnx")] if path.suffix else []
    graph = next((one.name for one in graphs if one.suffix == ".onnx" and one != path and one.is_file()), None)
    if graph is not None:
        return f"the weights of {graph}, which lies beside it: pack that"
    what = _ENDINGS.get(path.suffix.lower())
    return None if what is None else what.format(file=path.name)


def missing_data(model: onnx.ModelProto, path: Path) -> str | None:
    """Which file of a model's weights is not in the folder of its own file (nor, where that is a link, beside what it
    leads to, as in a cache of downloads), or is too short, as the end of a sentence; None: all are there. `model` is as
    it was read, without them."""
    homes = {path.parent.resolve(), path.resolve().parent}
    ends: dict[str, int] = {}
    for tensor in tensors(model):
        if is_external(tensor):
            told = {entry.key: entry.value for entry in tensor.external_data}
            try:
                end = int(told.get("offset", 0)) + int(told.get("length", 0))
            except ValueError:
                return f"the weight {tensor.name} lies at no place of its file"
            location = told.get("location", "")
            ends[location] = max(ends.get(location, 0), end)
    for location, end in sorted(ends.items()):
        file = data_file(path, location)
        if not location or not any(file.resolve().is_relative_to(home) for home in homes):
            return f"keeps weights in {location or 'a file without a name'}, outside its folder; save it as one file"
        if not file.is_file():
            return f"keeps its weights in {location}, which is not beside it: bring that file too, under this name"
        size = file.stat().st_size
        if size < end:
            what = _file(file, file.read_bytes()) if size <= _HEAD else None
            pointer = f" (it is {what})" if what else f": it has {size:,} of {end:,} bytes"
            return f"keeps its weights in {location}, which is not whole{pointer}"
    return None


def data_file(path: Path, location: str) -> Path:
    """Where a model's file keeps weights that it says are at `location`: in its folder, else, where it is a link, in
    that of what it leads to."""
    file = path.parent / location
    return file if file.exists() else path.resolve().parent / location


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(_HEAD)


def _folder(path: Path) -> str:
    if (path / "saved_model.pb").is_file():
        return "a TensorFlow SavedModel: " + _TO_ONNX.format(what="--saved-model", file=path.name)
    if (path / "manifest.json").is_file() and (path / "golden.npz").is_file():
        return "a bundle already: latentserve serve or latentserve check takes it as it is"
    found = sorted(path.rglob("*.onnx"))
    if found:
        names = [str(file.relative_to(path)) for file in found]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return f"a folder: pack one of the files in it, {', '.join(names[:_SHOWN])}{more}"
    weights = sorted(file.name for file in path.rglob("*") if file.suffix in _OF_WEIGHTS)
    if weights:
        return f"a folder with {_WEIGHTS_ONLY} ({weights[0]}), and no .onnx file: {_EXPORT}"
    other = next((file for file in sorted(path.rglob("*")) if file.suffix in _IN_FOLDERS and file.is_file()), None)
    what = None if other is None else _file(other, _head(other)) or by_name(other)
    return "a folder, and no .onnx file is in it" + (
        "" if other is None or what is None else f"; {other.name} is {what}"
    )


def _file(path: Path, head: bytes) -> str | None:
    if not head:
        return "an empty file: the download or export that made it did not end well"
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        return "a Git LFS pointer, not the file itself: fetch it with git lfs pull"
    for beginning, what in _BEGINNINGS:
        if head.startswith(beginning):
            return what
    if head[4:8] in _FLATBUFFERS:
        return _FLATBUFFERS[head[4:8]].format(file=path.name)
    if head.startswith(b"PK\x03\x04") or head.startswith(b"PK\x05\x06"):
        return _zip(path)
    if _is_safetensors(head):
        return f"a safetensors file, {_WEIGHTS_ONLY}: {_EXPORT}"
    if head[257:262] == b"ustar":
        return _tar(path)
    if re.match(rb"\((dp|lp)\d+\n|ccopy_reg\n", head):
        return _ENDINGS[".pkl"]
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        is_torch = b"l\xfc\x9cF\xf9 j\xa8P\x19" in head[:32]
        return f"a PyTorch file of old (a pickle){_PICKLE}" if is_torch else f"a pickle{_PICKLE}"
    return _text(head)


def _zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, NotImplementedError):
        return "a zip archive that cannot be read, perhaps half of one: download or save it again"
    ends = {name.split("/", 1)[-1] for name in names}
    if any(name.startswith("code/") for name in ends) and "constants.pkl" in ends:
        return f"a TorchScript file: load it with torch.jit.load, and {_EXPORT}"
    if any(name.startswith("models/") or name.startswith("serialized_exported_program") for name in ends | set(names)):
        return f"a program of torch.export (.pt2): load it with torch.export.load, and {_EXPORT}"
    if "data.pkl" in ends:
        return f"a PyTorch file of torch.save, {_WEIGHTS_ONLY} or a pickle, which is never opened here: {_EXPORT}"
    if {"config.json", "model.weights.h5"} <= set(names):
        return f"a Keras model (.keras): {_KERAS}"
    if names and all(name.endswith(".npy") for name in names):
        return "an .npz file of numpy arrays: samples or weights, not a graph that makes samples"
    found = [name for name in names if name.endswith(".onnx")]
    inside = f" ({', '.join(found[:_SHOWN])} is inside)" if found else ""
    return f"a zip archive{inside}: unpack it first, and pack what is inside"


def _tar(path: Path) -> str:
    found = []
    try:
        with tarfile.open(path, "r:") as archive:
            for _, member in zip(range(1000), archive, strict=False):
                found.append(member.name)
    except (OSError, tarfile.TarError):
        found = []
    inside = [name for name in found if name.endswith(".onnx")]
    shown = f" ({', '.join(inside[:_SHOWN])} is inside)" if inside else ""
    return f"a tar archive{shown}: unpack it first, and pack what is inside"


def _is_safetensors(head: bytes) -> bool:
    """8 bytes, the length of what follows, which is JSON (https://huggingface.co/docs/safetensors)."""
    length = int.from_bytes(head[:8], "little")
    return 2 <= length < 100 << 20 and head[8:9] == b"{" and head[9:].lstrip()[:1] in (b'"', b"}", b"")


def _text(head: bytes) -> str | None:
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # the end may be half a letter
            return None
        text = head[: error.start].decode("utf-8-sig")
    if any(ord(letter) < 32 and letter not in "\t\n\r\f" for letter in text):
        return None
    start = text.lstrip().lower()
    if re.match(r"<!doctype html|<html|<head|<body", start):
        return "a web page (HTML), saved in the place of a file: an error, or a page to log in; download it again"
    if start.startswith("<?xml") or start.startswith("<"):
        if "<net" in start:
            return "an OpenVINO model (.xml): pack the .onnx file that it was made of"
        return "an XML document, perhaps an error saved in the place of a file; download it again"
    if start.startswith(("{", "[")):
        return f"a JSON document{_json_error(text)}"
    if "ir_version" in start:
        return "ONNX in the form of a text: save it again with onnx.save(onnx.load(...), 'generator.onnx')"
    return f"a text file (it begins with {' '.join(text.split())[:40]!r})" if start else "a file of blanks"


def _json_error(text: str) -> str:
    try:
        told = json.loads(text)
    except ValueError:
        return ""
    error = told.get("error") or told.get("message") if isinstance(told, dict) else None
    return f" (an error: {' '.join(str(error).split())[:80]!r})" if error else ""
