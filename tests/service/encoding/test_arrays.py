"""Numbers: what numpy reads back, and JSON."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding import arrays
from latentserve.service.encoding.images import to_uint8
from latentserve.service.encoding.json_documents import Json
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.rows import Rows

IMAGE = SampleSpec(kind="image", shape=[1, 2, 3], value_range=(-1, 1), channels="L")
ARRAY = SampleSpec(kind="array", shape=[2, 3])
MADE_BY = Provenance("toy", "0123456789ab", 7, 3)


def listed(pieces: Iterable[bytes]) -> bytes:
    """A JSON array of what stands inside it."""
    return b"[" + b"".join(pieces) + b"]"


@given(
    n=st.integers(1, 10**6),
    shape=st.lists(st.integers(1, 100), max_size=4),
    dtype=st.sampled_from(["float32", "uint8"]),
)
def test_numpy_reads_the_header(n: int, shape: list[int], dtype: Any) -> None:
    header = arrays.npy_header((n, *shape), dtype)
    assert len(header) % 64 == 0
    stream = io.BytesIO(header)
    assert np.lib.format.read_magic(stream) == (1, 0)
    assert np.lib.format.read_array_header_1_0(stream) == ((n, *shape), False, np.dtype(dtype))
    assert stream.read() == b""


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_slices_after_a_header_are_a_file(dtype: Any) -> None:
    samples = np.random.default_rng(0).uniform(-1.2, 1.2, (10, 1, 2, 3)).astype(np.float32)
    content = arrays.npy_header(samples.shape, dtype)
    content += b"".join(b"".join(arrays.raw(samples[start : start + 4], IMAGE, dtype)) for start in range(0, 10, 4))
    read = np.load(io.BytesIO(content), allow_pickle=False)
    assert read.dtype == np.dtype(dtype)
    assert np.array_equal(read, samples if dtype == "float32" else to_uint8(samples, (-1, 1)))
    if dtype == "uint8":  # as the engine gives them
        assert b"".join(arrays.raw(to_uint8(samples, (-1, 1)), IMAGE, dtype)) == read.tobytes()


def test_raw_values_are_little_endian_in_c_order() -> None:
    samples = np.asfortranarray(np.arange(12, dtype=np.float32).reshape(2, 2, 3))
    assert b"".join(arrays.raw(samples, ARRAY, "float32")) == np.arange(12, dtype="<f4").tobytes()


def test_json_of_numbers_comes_back_exactly() -> None:
    samples = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)
    assert np.array_equal(
        np.array(json.loads(listed(arrays.json_values(Rows(samples), ARRAY, MADE_BY))), np.float32), samples
    )


@given(values=hnp.arrays(np.float32, hnp.array_shapes(max_dims=3), elements=st.floats(width=32)))
def test_json_of_any_float32_comes_back_exactly_and_null_where_there_is_no_number(values: np.ndarray) -> None:
    text = listed(arrays.json_numbers(values))
    read = np.array(json.loads(text), np.float32)
    finite = np.isfinite(values)
    assert np.array_equal(read[finite], values[finite])
    assert np.isnan(read[~finite]).all()
    assert text.count(b"null") == np.count_nonzero(~finite)


def test_json_of_numbers_is_as_short_as_it_can_be() -> None:
    assert listed(arrays.json_numbers(np.array([[0.1, 1e-7], [3, -0.0]], np.float32))) == b"[[0.1,1e-7],[3.0,-0.0]]"
    assert listed(arrays.json_numbers(np.arange(4)[::2])) == b"[0,2]"


def test_json_with_labels_of_many_slices() -> None:
    """A million labels, a few at a time: each is taken once."""
    names = [f"digit {label}" for label in range(10)]
    document = Json(10**6, ARRAY, MADE_BY._replace(labels=names))
    document.opening()
    for start in range(0, 10**6, 40):
        list(document.rows(Rows(np.zeros((0, 2, 3), np.float32), np.arange(start, start + 40) % 10)))
    assert json.loads(b'{"samples":[' + b"".join(document.closing()))["labels"] == names * 10**5


def test_json_of_pictures_names_each_row() -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (4, 1, 2, 3)).astype(np.float32)
    for row, value in enumerate(json.loads(listed(arrays.json_values(Rows(samples), IMAGE, MADE_BY)))):
        image = Image.open(io.BytesIO(base64.b64decode(value, validate=True)))
        assert np.array_equal(np.asarray(image), to_uint8(samples[row, 0], (-1, 1)))
        assert image.text["Row"] == str(3 + row)  # type: ignore[attr-defined]
