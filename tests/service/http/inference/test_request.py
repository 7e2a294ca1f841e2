"""The body of an inference request: what is taken, what is refused, and that the refusal names the place."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from latentserve.service.errors import BadRequestError, InvalidError, LatentserveError, MalformedError, TooLargeError
from latentserve.service.http.inference.answer import Answer
from latentserve.service.http.inference.request import Inference, header_length, parse_request
from latentserve.service.sampling.fields import rows_request_steps
from latentserve.service.sampling.pieces import at_once
from tests.service.http.test_body import CONDITIONAL, PHYSICS, PLAIN, json_values

Z = {"name": "z", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
LABEL = {"name": "label", "shape": [1], "datatype": "INT64", "data": [2]}
BINARY = {"name": "z", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": 12}}
SAMPLE = {"name": "sample"}
BYTES = np.arange(3, dtype="<f4").tobytes()


def parse(header: object, data: bytes = b"") -> Inference:
    text = json.dumps(header).encode()
    return at_once(parse_request(text + data, len(text), "toy", None))


def test_an_empty_header_asks_for_the_defaults() -> None:
    for header in ({}, {"inputs": []}, {"id": None, "parameters": None, "outputs": None}):
        body = parse(header)
        assert (body.model, body.fields.n, body.fields.latents, body.id, body.binary) == (
            "toy",
            None,
            None,
            None,
            False,
        )


def test_parameters_are_fields() -> None:
    parameters = {"seed": 7, "n": 3, "truncation": 1, "label": "one", "deterministic": True, "condition.energy": 0.5}
    body = parse({"id": "x", "model_name": "toy", "parameters": {**parameters, "binary_data_output": True}})
    assert (body.fields.seed, body.fields.n, body.fields.truncation, body.fields.label, body.id) == (
        7,
        3,
        1.0,
        "one",
        "x",
    )
    assert body.deterministic
    assert body.binary
    assert body.fields.condition == {"energy": 0.5}


def test_binary_data_is_where_the_inputs_say() -> None:
    label = {"name": "label", "shape": [1], "datatype": "INT64", "parameters": {"binary_data_size": 8}}
    data = np.array([5], "<i8").tobytes() + BYTES
    body = parse({"inputs": [label, BINARY]}, data)
    assert np.array_equal(body.fields.labels, [5])  # type: ignore[arg-type]
    assert np.array_equal(body.fields.latents, [[0, 1, 2]])  # type: ignore[arg-type]
    body = parse({"inputs": [LABEL, BINARY]}, BYTES)
    assert np.array_equal(body.fields.labels, [2])  # type: ignore[arg-type]


def test_a_body_without_a_header_is_a_row_of_z() -> None:
    body = at_once(parse_request(BYTES, 0, "toy", "v"))
    assert np.array_equal(body.fields.latents, [[0, 1, 2]])  # type: ignore[arg-type]
    assert (body.binary, body.model, body.version) == (True, "toy", "v")
    for content in (b"", BYTES[:-1]):
        with pytest.raises(BadRequestError, match="a row of z"):
            at_once(parse_request(content, 0, "toy", None))


@pytest.mark.parametrize(
    ("header", "field"),
    [
        ([], "body"),
        ({"inputs": 3}, "inputs"),
        ({"inputs": [3]}, "inputs[0]"),
        ({"inputs": [{}]}, "inputs[0].name"),
        ({"inputs": [Z] * 17}, "inputs"),
        ({"inputs": [LABEL, {**Z, "shape": [1, "3"]}]}, "inputs[1].shape[1]"),
        ({"inputs": [{**Z, "shape": [1, 0]}]}, "inputs[0].shape[1]"),
        ({"inputs": [{**Z, "shape": [-1, 3]}]}, "inputs[0].shape[0]"),
        ({"inputs": [{**Z, "shape": [3]}]}, "inputs[0].shape"),
        ({"inputs": [{**Z, "shape": [2, 3]}]}, "inputs[0].data"),
        ({"inputs": [{**Z, "datatype": "FP64"}]}, "inputs[0].datatype"),
        ({"inputs": [{**Z, "datatype": "FP16"}]}, "inputs[0].datatype"),
        ({"inputs": [{**Z, "name": "x"}]}, "inputs[0].name"),
        ({"inputs": [Z, Z]}, "inputs[1].name"),
        ({"inputs": [{**Z, "size": 1}]}, "inputs[0].size"),
        ({"inputs": [{**Z, "data": None}]}, "inputs[0]"),
        ({"inputs": [{**Z, "data": ["1", 2, 3]}]}, "inputs[0].data"),
        ({"inputs": [{**Z, "data": [1, 2, True]}]}, "inputs[0].data"),
        ({"inputs": [{**Z, "data": {"0": 1}}]}, "inputs[0].data"),
        ({"inputs": [{**Z, "parameters": {"binary_data_size": 12}}]}, "inputs[0]"),
        ({"inputs": [{**BINARY, "parameters": {"binary_data_size": 11}}]}, "inputs[0].parameters.binary_data_size"),
        ({"inputs": [{**BINARY, "parameters": {"binary_data_size": True}}]}, "inputs[0].parameters.binary_data_size"),
        ({"inputs": [{**BINARY, "parameters": {"binary_data_size": -12}}]}, "inputs[0].parameters.binary_data_size"),
        ({"inputs": [{**Z, "parameters": {"colour": 1}}]}, "inputs[0].parameters.colour"),
        ({"inputs": [{**LABEL, "data": [2.0]}]}, "inputs[0].data"),
        ({"inputs": [Z, {**LABEL, "shape": [2], "data": [1, 2]}]}, "inputs[1].shape"),
        ({"inputs": [Z], "parameters": {"n": 2}}, "parameters.n"),
        ({"inputs": [LABEL], "parameters": {"label": 1}}, "parameters.label"),
        ({"parameters": {"seed": -1}}, "parameters.seed"),
        ({"parameters": {"seed": 2**53}}, "parameters.seed"),
        ({"parameters": {"seed": "1"}}, "parameters.seed"),
        ({"parameters": {"n": 0}}, "parameters.n"),
        ({"parameters": {"truncation": 2}}, "parameters.truncation"),
        ({"parameters": {"model": "toy"}}, "parameters.model"),
        ({"parameters": {"dtype": "uint8"}}, "parameters.dtype"),
        ({"parameters": {"latents": [[1]]}}, "parameters.latents"),
        ({"parameters": {"where": {"x": {"min": 1}}}}, "parameters.where"),
        ({"parameters": {"condition.a": 1, "labels": [1]}}, "parameters.labels"),
        ({"parameters": {"label": {}}}, "parameters.label"),
        ({"parameters": {"binary_data_output": 1}}, "parameters.binary_data_output"),
        ({"parameters": {"condition": {"a": 1}, "condition.a": 2}}, "parameters.condition.a"),
        ({"parameters": {"condition.a": 2, "condition": {"a": 1}}}, "parameters.condition.a"),
        ({"parameters": {"condition": 3}}, "parameters.condition"),
        ({"outputs": [{"name": "x"}]}, "outputs[0].name"),
        ({"outputs": [{"name": "sample"}, {"name": "sample"}]}, "outputs[1].name"),
        ({"outputs": [{"name": "sample", "parameters": {"binary_data": "yes"}}]}, "outputs[0].parameters.binary_data"),
        ({"outputs": [{**SAMPLE, "parameters": {"classification": 1}}]}, "outputs[0].parameters.classification"),
        ({"outputs": [{"name": "sample", "data": []}]}, "outputs[0].data"),
        ({"outputs": [{"name": "sample", "shape": []}]}, "outputs[0].shape"),
        ({"data": [1]}, "data"),
        ({"id": 3}, "id"),
        ({"id": "x" * 2000}, "id"),
        ({"model_name": "other"}, "model_name"),
    ],
)  # fmt: skip
def test_what_is_refused(header: object, field: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse(header)
    assert caught.value.field == field


def test_bytes_that_are_missing_or_too_many() -> None:
    with pytest.raises(BadRequestError, match="8 of them are in the body"):
        parse({"inputs": [BINARY]}, BYTES[:8])
    with pytest.raises(BadRequestError, match="4 bytes follow the JSON"):
        parse({"inputs": [BINARY]}, BYTES + b"more")
    with pytest.raises(BadRequestError, match="4 bytes follow the JSON"):
        parse({"inputs": [Z]}, b"more")
    text = json.dumps({"inputs": [BINARY]}).encode()
    for length in (len(text) - 1, len(text) + 1, 1):
        with pytest.raises(MalformedError):
            at_once(parse_request(text + BYTES, length, "toy", None))


@pytest.mark.parametrize("stated", [b"-1", b"1.5", b"1e2", b"", b"x", b"5, 5", b"9" * 30, b"101", "१".encode()])
def test_a_length_that_is_none(stated: bytes) -> None:
    with pytest.raises(BadRequestError, match="Inference-Header-Content-Length"):
        header_length(stated, bytes(100))


def test_a_length() -> None:
    assert [header_length(stated, bytes(100)) for stated in (None, b"0", b"99", b"100")] == [None, 0, 99, 100]


def test_a_member_that_comes_twice() -> None:
    text = b'{"inputs":[{"name":"z","shape":[1,3],"datatype":"FP32","data":[1,2,3],"data":[4,5,6]}]}'
    escaped = text.replace(b'"data":[4', b'"d\\u0061ta":[4')
    for content in (text, escaped):
        with pytest.raises(InvalidError, match=r"^inputs\[0\].data: is given twice"):
            at_once(parse_request(content, None, "toy", None))
    for asked in (b'"seed":1,"seed":2', b'"condition":{"angle":1,"angle":1}'):
        with pytest.raises(InvalidError, match=r"^parameters\.(seed|condition\.angle): is given twice"):
            at_once(parse_request(b'{"parameters":{%b}}' % asked, None, "toy", None))


def settle(content: bytes, length: int | None) -> None:
    """It is rows, whose answer can be begun, or a refusal."""
    refusal: LatentserveError | None = None
    try:
        body = at_once(parse_request(content, length, "toy", None))
        for model in (CONDITIONAL, PLAIN, PHYSICS):
            request = at_once(rows_request_steps(body.fields, model, 1000))
            Answer(request, model, body.id, binary=body.binary)
    except LatentserveError as error:
        refusal = error
    if refusal is not None:
        assert refusal.status in (400, 413, 422)
        assert "\n" not in str(refusal)
        assert len(str(refusal)) < 1000 or isinstance(refusal, TooLargeError)


@given(content=st.binary(max_size=200), length=st.none() | st.integers(0, 200))
def test_arbitrary_bytes_are_a_request_or_a_clear_error(content: bytes, length: int | None) -> None:
    settle(content, length if length is None else min(length, len(content)))


shapes = st.lists(st.integers(-1, 4), max_size=3)
inputs = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["z", "label", "condition", "x"]),
        "shape": shapes | json_values,
        "datatype": st.sampled_from(["FP32", "INT64", "FP64", "BYTES"]),
    },
    optional={
        "data": st.lists(st.integers(-2, 4) | st.floats(), max_size=6) | json_values,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 50)}) | json_values,
        "more": json_values,
    },
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "id": json_values,
        "inputs": st.lists(inputs, max_size=3) | json_values,
        "outputs": json_values
        | st.lists(st.fixed_dictionaries({"name": st.just("sample"), "parameters": json_values})),
        "parameters": json_values
        | st.dictionaries(st.sampled_from(["n", "seed", "label", "condition.energy", "condition"]), json_values),
    },
)


@given(header=documents, data=st.binary(max_size=60), cut=st.integers(0, 3))
@example(header={"inputs": [{**Z, "shape": [10**11, 10**11]}]}, data=b"", cut=0)
@example(header={"inputs": [{**BINARY, "parameters": {"binary_data_size": 2**70}}]}, data=b"", cut=0)
@example(header={"parameters": {"n": 10**400}}, data=b"", cut=0)
@example(header={"parameters": {"condition": {"angle": 10**400}}}, data=b"", cut=0)
@example(header={"parameters": {"x" * 5000: 1}}, data=b"", cut=0)
@example(header={"inputs": [{**Z, "name": "\n"}]}, data=b"", cut=0)
def test_arbitrary_headers_are_a_request_or_a_clear_error(header: dict[str, Any], data: bytes, cut: int) -> None:
    text = json.dumps(header).encode()
    settle(text + data, max(0, len(text) - cut))
