"""A generator on its way into a bundle: weights are taken from the files that they lie in, and stored once."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import onnx
from google.protobuf.message import DecodeError, EncodeError

from latentserve.service.bundle import check_place, graph
from latentserve.service.bundle.files import DATA, GENERATOR, OnDisk, hash_of
from latentserve.service.bundle.weights import (
    LARGE,
    NO_FILES,
    Files,
    lift,
    map_file,
    place_of,
    refer,
    values,
    write_beside,
    write_whole,
)
from latentserve.service.errors import BundleError, one_line
from latentserve.service.packing.recognise import by_name, data_file, missing_data

ONE_FILE: Final = 1_900_000_000
"""Bytes of a graph that keeps its weights within: protobuf's own limit is 2 GiB."""


class Stored(NamedTuple):
    """A generator's files: `generator.onnx`, and the weights beside it if there are too many."""

    generator: OnDisk | bytes
    data: OnDisk | None = None
    paths: dict[str, Path] | None = None

    def skim(self) -> tuple[onnx.ModelProto, Files]:
        """The model without its large weights, and the files that it refers to."""
        content = self.generator if isinstance(self.generator, bytes) else self.generator.map()
        return graph.skim(content, GENERATOR, NO_FILES if self.data is None else {DATA: self.data.map()})

    def files(self) -> dict[str, bytes | Path]:
        """As `write_bundle` takes them, which moves what lies on disk."""
        return {GENERATOR: self.generator} if isinstance(self.generator, bytes) else dict(self.paths or {})


@contextmanager
def workroom(out: Path) -> Iterator[Path]:
    """A folder beside `out`, on its disk, for what is too large for memory; it goes afterwards. Raises BundleError: no
    bundle can be written to `out`."""
    out = out.resolve()
    check_place(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise BundleError(f"{out}: cannot be written ({error.strerror or error})") from None
    with folder as name:
        yield Path(name)


def read_model(file: Path) -> onnx.ModelProto:
    """Somebody's ONNX file, as large as it may be: its large weights stay where they lie, and its tensors refer to them
    by absolute paths (`mapped` opens them). Raises BundleError naming `file`: it is not ONNX, or weights that should be
    beside it are not."""
    own = str(file.absolute())
    try:
        files = {own: map_file(file)}
        model = onnx.load_model_from_string(lift(files[own], own))
    except OSError as error:
        raise BundleError(f"{file}: cannot be read ({error.strerror})") from None
    except (DecodeError, ValueError) as error:
        raise BundleError(f"{file}: {_no_model(file, one_line(error))}") from None
    if not model.graph.node and not model.graph.output:
        raise BundleError(f"{file}: {_no_model(file, 'it holds no graph')}")
    if (what := missing_data(model, file)) is not None:
        raise BundleError(f"{file}: {what}")
    for number, tensor in enumerate(graph.tensors(model)):
        try:
            place = place_of(tensor)
            if place is None or place.location == own:
                continue
            path = str(data_file(file, place.location).absolute())
            if path not in files:
                files[path] = map_file(Path(path))
            refer(tensor, place._replace(location=path))
            content = values(tensor, files)
        except ValueError as error:
            raise BundleError(f"{file}: {error}") from None
        except OSError as error:
            raise BundleError(f"{file}: its weights cannot be read ({error.filename}: {error.strerror})") from None
        if number >= len(model.graph.initializer) or place.length < LARGE:
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
            tensor.raw_data = bytes(content)
    return model


def _no_model(file: Path, why: str) -> str:
    named = by_name(file)
    return f"not an ONNX file ({why})" if named is None else f"not an ONNX file but, by its name, {named}"


def mapped(model: onnx.ModelProto) -> Files:
    """The files that the weights of such a model lie in, to be given to the runtime with it. Raises OSError."""
    locations = {place.location for tensor in model.graph.initializer if (place := place_of(tensor)) is not None}
    return {location: map_file(Path(location)) for location in sorted(locations)}


def whole(model: onnx.ModelProto, file: str, largest: int = ONE_FILE) -> bytes:
    """Such a model as one ONNX file in memory, called `file` in messages. Raises BundleError: it would be too large."""
    small, large = _apart(model, file, largest)
    files = mapped(model)
    if small.ByteSize() + _sum_of(large, files) > largest:
        raise BundleError(f"{file}: has more than {largest / 1e9:.1f} GB of weights")
    stream = io.BytesIO()
    write_whole(small, large, files, stream)
    return stream.getvalue()


def store(model: onnx.ModelProto, folder: Path, largest: int = ONE_FILE) -> Stored:
    """The files of a generator whose weights may lie in files (`read_model`): one that holds everything, or where that
    would have more than `largest` bytes, the graph and the weights beside it. Raises BundleError."""
    small, large = _apart(model, GENERATOR, largest)
    if not large:
        return Stored(small.SerializeToString(deterministic=True))
    try:
        files = mapped(model)
        if small.ByteSize() + _sum_of(large, files) <= largest:
            with (folder / GENERATOR).open("wb") as stream:
                write_whole(small, large, files, stream)
            return _stored(folder, GENERATOR)
        with (folder / DATA).open("wb") as stream:
            small.graph.initializer.extend(write_beside(large, files, stream, DATA))
        (folder / GENERATOR).write_bytes(small.SerializeToString(deterministic=True))
        return _stored(folder, GENERATOR, DATA)
    except OSError as error:
        raise BundleError(f"{folder.parent}: cannot be written ({error.strerror or error})") from None


def _apart(model: onnx.ModelProto, file: str, largest: int) -> tuple[onnx.ModelProto, list[onnx.TensorProto]]:
    """A copy without the weights that lie in files, and these. Raises BundleError: it is still too large."""
    small = onnx.ModelProto()
    try:
        small.CopyFrom(model)
        within = [tensor for tensor in small.graph.initializer if not graph.is_external(tensor)]
        del small.graph.initializer[:]
        small.graph.initializer.extend(within)
        size = small.ByteSize()
    except EncodeError:
        size = 2 << 30
    if size > largest:
        raise BundleError(
            f"{file}: {size / 1e9:.1f} GB of it are no large initializers of its graph; {largest / 1e9:.1f} GB may be"
        )
    return small, [tensor for tensor in model.graph.initializer if graph.is_external(tensor)]


def _sum_of(weights: list[onnx.TensorProto], files: Files) -> int:
    return sum(len(values(tensor, files)) for tensor in weights)


def _stored(folder: Path, *names: str) -> Stored:
    paths = {name: folder / name for name in names}
    on_disk = {name: OnDisk(path, hash_of(path)) for name, path in paths.items()}
    return Stored(on_disk[GENERATOR], on_disk.get(DATA), paths)
