"""Which axis is what: from the shape, or as it is said; and what cannot be."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentserve.service.errors import BundleError
from latentserve.service.packing.describe import SampleHints, describe_output
from latentserve.service.packing.layout import find_layout

# shape, what is said, kind, shape of a sample, whether something is remarked
READ: dict[str, tuple[list[int], dict[str, Any], str, list[int], bool]] = {
    "channels first": ([3, 16, 16], {}, "image", [3, 16, 16], False),
    "grey, channels first": ([1, 28, 28], {}, "image", [1, 28, 28], False),
    "channels last": ([16, 16, 3], {}, "image", [3, 16, 16], True),
    "grey, channels last": ([28, 28, 1], {}, "image", [1, 28, 28], True),
    "alpha": ([4, 16, 16], {}, "image", [4, 16, 16], True),
    "alpha, channels last": ([16, 16, 4], {}, "image", [4, 16, 16], True),
    "small, channels last": ([4, 4, 3], {}, "image", [3, 4, 4], True),
    "either": ([3, 64, 3], {}, "image", [3, 64, 3], True),
    "either, said": ([3, 64, 3], {"layout": "nhwc"}, "image", [3, 3, 64], False),
    "square without channels": ([28, 28], {}, "image", [1, 28, 28], True),
    "square, told to be an array": ([28, 28], {"kind": "array"}, "array", [28, 28], False),
    "no square": ([24, 40], {}, "array", [24, 40], True),
    "no square, a layout": ([24, 40], {"layout": "nhw"}, "image", [1, 24, 40], False),
    "flat": ([784], {}, "array", [784], True),
    "flat, told to be pictures": ([784], {"kind": "image"}, "image", [1, 28, 28], True),
    "flat, a shape": ([784], {"told": [1, 28, 28]}, "image", [1, 28, 28], False),
    "flat, a shape without channels": ([784], {"told": [28, 28]}, "image", [1, 28, 28], True),
    "flat, channels last": ([3072], {"layout": "nhwc", "told": [32, 32, 3]}, "image", [3, 32, 32], False),
    "flat, channels last by the layout": ([3072], {"layout": "nhwc"}, "image", [3, 32, 32], False),
    "five channels": ([5, 8, 8], {}, "array", [5, 8, 8], False),
    "numbers": ([10], {}, "array", [10], False),
    "a number": ([], {}, "array", [1], False),
    "a number in a table": ([], {"kind": "table"}, "table", [1], False),
    "volume": ([25, 25, 25], {}, "array", [25, 25, 25], False),
    "sound": ([16384], {"kind": "audio"}, "audio", [16384], False),
    "sound, channels first": ([2, 500], {"kind": "audio"}, "audio", [2, 500], False),
    "sound, frames first": ([16384, 1], {"kind": "audio"}, "audio", [1, 16384], True),
    "sound, frames first, said": ([500, 2], {"layout": "ntc"}, "audio", [2, 500], False),
    "sound, not told": ([16384, 1], {}, "array", [16384, 1], True),
    "sound with an axis too many": ([1, 900, 1], {"kind": "audio"}, "audio", [1, 900], False),
    "table": ([12], {"kind": "table"}, "table", [12], False),
    "table with an axis too many": ([1, 12], {"kind": "table"}, "table", [12], False),
}


@pytest.mark.parametrize(("shape", "said", "kind", "sample", "remarked"), READ.values(), ids=READ)
def test_rows_are_read(shape: list[int], said: dict[str, Any], kind: str, sample: list[int], remarked: bool) -> None:
    found = find_layout(shape, "x.onnx", said.get("kind"), said.get("layout"), said.get("told"))
    assert (found.kind, found.form.shape) == (kind, sample)
    assert bool(found.remarks) == remarked
    rows = np.arange(2 * math.prod(shape), dtype=np.float32).reshape(2, *shape)
    assert sorted(found.form.apply(rows).ravel()) == sorted(rows.ravel())


REFUSED: dict[str, tuple[list[int], dict[str, Any], str]] = {
    "pictures of five channels": ([5, 8, 8], {"kind": "image"}, "--shape"),
    "pictures of a prime": ([13], {"kind": "image"}, "are no images"),
    "another number of numbers": ([784], {"told": [1, 28, 27]}, "--shape 1,28,27 has 756 numbers"),
    "nothing": ([784], {"told": [0, 28]}, "--shape"),
    "a layout of other axes": ([28, 28], {"layout": "nchw"}, r"--layout nchw is of rows \[channels, height, width\]"),
    "a layout of sound, for pictures": ([16, 16, 3], {"layout": "ntc"}, "--layout ntc"),
    "five channels, last": ([8, 8, 5], {"kind": "image", "layout": "nhwc"}, "no images by --layout nhwc"),
    "sound of a hundred channels": ([100, 100], {"kind": "audio"}, "are no audio"),
    "sound of a hundred channels by its layout": ([100, 100], {"layout": "nct"}, "no audio by --layout nct"),
    "a table of two axes": ([3, 4], {"kind": "table"}, "no rows of a table"),
}


@pytest.mark.parametrize(("shape", "said", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be(shape: list[int], said: dict[str, Any], words: str) -> None:
    with pytest.raises(BundleError, match=words) as caught:
        find_layout(shape, "x.onnx", said.get("kind"), said.get("layout"), said.get("told"))
    assert str(caught.value).startswith("x.onnx: ")
    assert "\n" not in str(caught.value)


@given(shape=st.lists(st.integers(1, 40), max_size=5), kind=st.sampled_from([None, "image", "audio", "table", "array"]))
def test_any_shape_is_read_or_refused(shape: list[int], kind: Any) -> None:
    try:
        described = describe_output(np.ones((2, *shape), np.float32), "x.onnx", SampleHints(kind=kind))
    except BundleError:
        return
    assert described.sample.shape == described.form.shape
    assert math.prod(described.sample.shape) == math.prod(shape)


def test_sound_in_integers_is_brought_to_full_scale() -> None:
    rows = np.array([[-32768, 0, 16384]], np.int16)
    described = describe_output(rows, "x.onnx", SampleHints(kind="audio"))
    assert described.form.apply(rows).tolist() == [[-1, 0, 0.5]]
    assert described.sample.value_range is None
    assert "32768" in described.remarks[0]
    loud = describe_output(rows.astype(np.float32), "x.onnx", SampleHints(kind="audio"))
    assert loud.sample.value_range == (-32768, 32768)
    assert loud.remarks
    bytes_ = np.array([[0, 128, 255]], np.uint8)
    made = describe_output(bytes_, "x.onnx", SampleHints(kind="audio")).form.apply(bytes_)
    assert made.tolist() == [[-1, 0, 127 / 128]]


def test_large_integers_are_said_to_be_rounded() -> None:
    described = describe_output(np.full((2, 3), 1 << 25), "x.onnx", SampleHints())
    assert "2^24" in described.remarks[-1]
