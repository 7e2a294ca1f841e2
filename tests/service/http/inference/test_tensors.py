"""The data of tensors: whatever is cut out of a header is what a parser would have read in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from latentserve.service.errors import BadRequestError, InvalidError, MalformedError, TooLargeError
from latentserve.service.http.inference import tensors
from latentserve.service.http.inference.tensors import HEADER_BYTES, Datatype, Span, cut_data, read_list, view_bytes
from latentserve.service.sampling.pieces import at_once

blanks = st.text(" \t\n\r", max_size=4)
numbers = st.integers(-(10**30), 10**30) | st.floats(-1e30, 1e30)
number_lists = st.recursive(st.lists(numbers, max_size=4), lambda inner: st.lists(inner, max_size=3), max_leaves=4)
texts = st.text(max_size=6) | st.sampled_from(["data", '"data":[1]', "\\", '"'])
headers = st.recursive(
    st.none() | numbers | texts,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(texts.filter(lambda name: name != "data"), inner, max_size=3)
        | st.fixed_dictionaries({"data": number_lists, "more": inner})
    ),
    max_leaves=12,
)


@contextmanager
def pieces_of(size: int) -> Iterator[None]:
    """Texts are read so many bytes at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors, "_PIECE_BYTES", size)
        patch.setattr(tensors, "_SEARCHED_BYTES", size)
        yield


def read(text: bytes, shape: list[int], datatype: Datatype = "FP32") -> NDArray[Any]:
    return at_once(read_list(text, Span(0, len(text)), shape, datatype, "inputs[0]"))


def without_data(value: object, cut: list[object]) -> object:
    """With an empty list for each that is called `data`; those are added to `cut`, in order."""
    if isinstance(value, dict):
        left = {}
        for name, one in value.items():
            if name == "data":
                cut.append(one)
            left[name] = [] if name == "data" else without_data(one, cut)
        return left
    return [without_data(one, cut) for one in value] if isinstance(value, list) else value


@given(value=headers, indent=st.sampled_from([None, 1]), size=st.integers(1, 40))
def test_lists_of_data_are_cut_out_of_a_header(value: object, indent: int | None, size: int) -> None:
    text = json.dumps(value, indent=indent).encode()
    with pieces_of(size):
        header, spans = at_once(cut_data(text))
    cut: list[object] = []
    assert json.loads(header) == without_data(value, cut)
    assert [json.loads(text[span.start : span.stop]) for span in spans] == cut


@pytest.mark.parametrize("held", [b'["a",1]', b'[{"data":[]}]', b"[NaN,{}]", b"null", b"7", b'"[1]"'])
def test_what_is_no_list_of_numbers_is_left(held: bytes) -> None:
    text = b'{"data":%b}' % held
    assert at_once(cut_data(text))[0].startswith(text[:9])


@given(
    rows=st.integers(1, 6),
    columns=st.integers(1, 6),
    nested=st.booleans(),
    data=st.data(),
    size=st.integers(8, 60),
)
def test_numbers_are_those_that_a_parser_reads(
    rows: int, columns: int, nested: bool, data: st.DataObject, size: int
) -> None:
    drawn = data.draw(st.lists(numbers, min_size=rows * columns, max_size=rows * columns))
    values = np.array([float(one) for one in drawn])
    lists = [drawn[row * columns : (row + 1) * columns] for row in range(rows)] if nested else drawn
    text = json.dumps(lists).replace(", ", data.draw(blanks) + "," + data.draw(blanks))
    with pieces_of(max(size, 45)):  # a number has as many characters
        found = read(text.encode(), [rows, columns])
    assert found.dtype == np.float32
    assert np.array_equal(found, values.astype(np.float32).reshape(rows, columns))


@given(values=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=50))
def test_integers_keep_every_digit(values: list[int]) -> None:
    with pieces_of(30):
        assert read(json.dumps(values).encode(), [len(values)], "INT64").tolist() == values


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"[1,2,3]", "is not 4 numbers, one after the other or nested as the shape"),
        (b"[1,2,3    ]", "is not 4 numbers"),
        (b"[[1,2],[3,4],[5,6]]", "is not 4 numbers"),
        (b"[[1,2],[3,4]", "is not 4 numbers"),
        (b"[]", "is not 4 numbers"),
        (b"[1,2,3,4,5]", "is not 4 numbers"),
        (b"[[1,2,3],[4]]", "is not 4 numbers"),
        (b"[[1],[2],[3],[4]]", "is not 4 numbers"),
        (b"[[[1,2],[3,4]]]", "is not 4 numbers"),
        (b"[[1,2],3,4]", "is not 4 numbers"),
        (b"[1,2,3,4]]", "is not 4 numbers"),
        (b"[1,2,[3,4]", "is not 4 numbers"),
        (b"[[1,2],[3,true]]", "no number"),
        (b"[1,2,null,4]", "no number"),
        (b"[1,2,3,1e39]", "a number that FP32 has not"),
        (b"[1,2,3,%b]" % (b"9" * 400), "a number that FP32 has not"),
        (b"[1,2,3,%b]" % (b" " * 20_000), "a value that is too long"),
    ],
)
def test_what_does_not_fit_its_shape(text: bytes, words: str) -> None:
    with pytest.raises(InvalidError, match=words) as caught:
        read(text, [2, 2])
    assert caught.value.field == "inputs[0].data"


@pytest.mark.parametrize(
    "text",
    [
        b"[1[,]2,3,4]",
        b"[[1,2][3,4]]",
        b"[1 2,3,4]",
        b"[1,2,3,4,]",
        b"[,1,2,3,4]",
        b"[1,2,03,4]",
        b"[1,2,x,4]",
        b"[1]2,[3,4]",
    ],
)
def test_what_is_no_json(text: bytes) -> None:
    with pytest.raises(MalformedError, match=r"^inputs\[0\].data: the body is not JSON"):
        read(text, [2, 2])


def test_what_is_no_integer() -> None:
    for text in (b"[1.0]", b"[true]", b"[1e2]"):
        with pytest.raises(InvalidError, match="no integer"):
            read(text, [1], "INT64")
    with pytest.raises(InvalidError, match="INT64 has not"):
        read(b"[9223372036854775808]", [1], "INT64")


@given(text=st.binary(max_size=60) | st.text("[],0123456789.eE- \n", max_size=60).map(str.encode))
def test_any_text_is_numbers_or_a_refusal(text: bytes) -> None:
    """And what is read as numbers is JSON."""
    for shape in ([1], [1, 1], [2, 2], [3, 1]):
        try:
            found = read(text, shape)
        except (MalformedError, InvalidError):
            continue
        assert np.array_equal(np.array(json.loads(text), np.float32).reshape(shape), found, equal_nan=True)


def test_a_header_has_a_size() -> None:
    for text in (
        b'{"id":"%b"}' % (b"x" * HEADER_BYTES),
        b'{"a":[%b"data"]}' % (b"1," * HEADER_BYTES),
        b'{%b"data":[1]}' % (b'"a":1,' * HEADER_BYTES),
        b" " * 10 * HEADER_BYTES,
    ):
        with pytest.raises(TooLargeError, match="beside the data of tensors"):
            at_once(cut_data(text))
    long = b'{"data":[%b1]}' % (b"1," * HEADER_BYTES)
    assert at_once(cut_data(long))[0] == b'{"data":[]}'


def test_bytes_are_not_copied() -> None:
    content = b"{}" + np.arange(6, dtype="<f4").tobytes() + b"x"
    found = view_bytes(content, 2, 24, [2, 3], "FP32", "inputs[0]")
    assert np.array_equal(found, np.arange(6).reshape(2, 3))
    assert not found.flags.owndata
    with pytest.raises(InvalidError, match=r"inputs\[0\].parameters.binary_data_size: is 23; the shape \[2, 3\]"):
        view_bytes(content, 2, 23, [2, 3], "FP32", "inputs[0]")
    with pytest.raises(BadRequestError, match="has 24 bytes of data; 21 of them are in the body"):
        view_bytes(content, 6, 24, [2, 3], "FP32", "inputs[0]")
