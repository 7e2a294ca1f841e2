"""Models without their large weights: the same model, in whatever files they lie."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from latentserve.service.bundle.weights import (
    Buffer,
    Place,
    lift,
    map_file,
    place_of,
    refer,
    values,
    write_beside,
    write_whole,
)
from tests.conftest import examples
from tests.generators import dense_generator

SIZES = [0, 1, 7, 100, 1000]


def weighing(sizes: list[int], raw: bool = True) -> onnx.ModelProto:
    """A graph whose weights have these numbers of bytes."""
    model = dense_generator(dim=4, shape=(3,), labels=None)
    for number, size in enumerate(sizes):
        array = np.random.default_rng(number).integers(0, 256, size, np.uint8)
        tensor = numpy_helper.from_array(array, f"weight{number}")
        if not raw:
            tensor = helper.make_tensor(f"weight{number}", TensorProto.UINT8, [size], array.tolist())
        model.graph.initializer.append(tensor)
    return model


def arrays(model: onnx.ModelProto, files: dict[str, bytes]) -> dict[str, NDArray[np.generic]]:
    """The weights, wherever they lie."""
    found = {}
    for tensor in model.graph.initializer:
        whole = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        whole.raw_data = bytes(values(tensor, files))
        found[tensor.name] = numpy_helper.to_array(whole)
    return found


def mapping(content: bytes) -> Buffer:
    """A file of this content, mapped."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        return map_file(file.fileno())


@given(st.lists(st.sampled_from(SIZES), max_size=6), st.sampled_from([1, 8, 101, 1001]), st.booleans())
@settings(deadline=None, max_examples=examples(60))
def test_what_is_lifted_is_put_back(sizes: list[int], least: int, mapped: bool) -> None:
    model = weighing(sizes)
    content = model.SerializeToString()
    light = lift(mapping(content) if mapped else content, "whole", least)
    parsed = onnx.load_model_from_string(light)
    large = [tensor for tensor in parsed.graph.initializer if place_of(tensor) is not None]
    expected = [tensor.name for tensor in model.graph.initializer if len(tensor.raw_data) >= least]
    assert [tensor.name for tensor in large] == expected
    assert (light == content) == (not expected)
    files = {"whole": content}
    for name, array in arrays(parsed, files).items():
        (original,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
        assert np.array_equal(array, numpy_helper.to_array(original))
    small = onnx.ModelProto()
    small.CopyFrom(parsed)
    kept = [tensor for tensor in parsed.graph.initializer if place_of(tensor) is None]
    del small.graph.initializer[:]
    small.graph.initializer.extend(kept)
    stream_out = io.BytesIO()
    write_whole(small, large, files, stream_out)
    again = onnx.load_model_from_string(stream_out.getvalue())
    by_name = sorted(again.graph.initializer, key=lambda one: one.name)
    assert by_name == sorted(model.graph.initializer, key=lambda one: one.name)
    data = io.BytesIO()
    moved = list(write_beside(large, files, data, "beside"))
    assert [tensor.name for tensor in moved] == expected
    for tensor in moved:
        place = place_of(tensor)
        assert place is not None
        assert place.offset % 4096 == 0
        (original,) = (one for one in model.graph.initializer if one.name == tensor.name)
        assert bytes(values(tensor, {"beside": data.getvalue()})) == original.raw_data


def test_what_is_not_raw_stays() -> None:
    model = weighing([1000], raw=False)
    assert lift(model.SerializeToString(), "whole", 900) == model.SerializeToString()


def test_what_refers_already_stays() -> None:
    """Were it lifted, a reference to any file would become one to this."""
    model = weighing([1000])
    tensor = model.graph.initializer[-1]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    parsed = onnx.load_model_from_string(lift(model.SerializeToString(), "whole", 900))
    with pytest.raises(ValueError, match="another file, '/etc/passwd'"):
        values(parsed.graph.initializer[-1], {"whole": model.SerializeToString()})


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_nonsense_is_no_model(content: bytes) -> None:
    """It raises what protobuf raises, or gives what is parsed as before."""
    try:
        light = lift(content, "whole", 0)
    except (ValueError, DecodeError):
        return
    assert isinstance(light, bytes)


@given(st.integers(1, 10**6), st.integers(0, 255))
@settings(deadline=None, max_examples=examples(100))
def test_a_byte_that_is_wrong_never_hangs_or_reads_elsewhere(place: int, byte: int) -> None:
    content = bytearray(weighing([1000]).SerializeToString())
    content[place % len(content)] = byte
    try:
        parsed = onnx.load_model_from_string(lift(bytes(content), "whole", 900))
        for tensor in parsed.graph.initializer:
            values(tensor, {"whole": bytes(content)})
    except (ValueError, DecodeError):
        return


def _tensor(kind: int, dims: list[int], **told: object) -> TensorProto:
    tensor = TensorProto(name="w", data_type=kind, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, held in told.items():
        tensor.external_data.add(key=key, value=str(held))
    return tensor


BAD = {
    "no place": {},
    "no number": {"location": "f", "offset": "a"},
    "before the beginning": {"location": "f", "offset": -1},
    "another size": {"location": "f", "length": 7},
    "a negative size": {"location": "f", "length": -8},
    "beyond the end": {"location": "f", "offset": 3},
    "far beyond": {"location": "f", "offset": 2**70},
    "another file": {"location": "g"},
    "above": {"location": "../f"},
    "from the root": {"location": "/f"},
    "with a line": {"location": "f\nf"},
}


@pytest.mark.parametrize("told", BAD.values(), ids=BAD)
def test_places_that_are_none_are_told_in_a_line(told: dict[str, object]) -> None:
    assert len(values(_tensor(TensorProto.FLOAT, [2], location="f"), {"f": b"12345678"})) == 8
    with pytest.raises(ValueError, match="weight 'w'") as caught:
        values(_tensor(TensorProto.FLOAT, [2], **told), {"f": b"12345678"})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "dims", "size"),
    [
        (TensorProto.FLOAT, [], 4),
        (TensorProto.FLOAT, [0, 3], 0),
        (TensorProto.BFLOAT16, [3], 6),
        (TensorProto.FLOAT8E4M3FN, [3], 3),
        (TensorProto.INT4, [3], 2),
        (TensorProto.UINT4, [3, 3], 5),
        (TensorProto.COMPLEX128, [2], 32),
        (TensorProto.BOOL, [5], 5),
    ],
)
def test_how_many_bytes_a_shape_has(kind: int, dims: list[int], size: int) -> None:
    assert len(values(_tensor(kind, dims, location="f"), {"f": b"?" * 99})) == size


@pytest.mark.parametrize(
    ("kind", "dims"),
    [
        (TensorProto.STRING, [1]),
        (TensorProto.UNDEFINED, [1]),
        (99, [1]),
        (TensorProto.FLOAT, [-1]),
        (TensorProto.FLOAT, [10**6, 10**6]),
    ],
)
def test_what_has_no_size_is_told(kind: int, dims: list[int]) -> None:
    with pytest.raises(ValueError, match="weight 'w'"):
        values(_tensor(kind, dims, location="f"), {"f": b"?" * 99})


def test_the_empty_file_is_mapped(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert len(map_file(tmp_path / "empty")) == 0


def test_refer_leaves_nothing_behind() -> None:
    tensor = numpy_helper.from_array(np.zeros(2, np.float32), "w")
    refer(tensor, Place("a", 0, 8))
    refer(tensor, Place("b", 4, 8))
    assert place_of(tensor) == Place("b", 4, 8)
    assert not tensor.HasField("raw_data")
