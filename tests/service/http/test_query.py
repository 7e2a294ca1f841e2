"""Query parameters: the fields of a body, as strictly."""

from __future__ import annotations

import pytest

from latentserve.service.errors import InvalidError
from latentserve.service.http.body import parse_query
from latentserve.service.sampling.fields import rows_request
from tests.service.http.test_body import CONDITIONAL, PHYSICS


def test_every_field() -> None:
    fields = parse_query(
        b"n=3&seed=7&offset=2&truncation=0.7&model=m%20x&version=v&dtype=uint8&deterministic=true&label=one"
        b"&format=npy&address=true"
        b"&condition.energy=0.5&condition.angle=-4e1"
    )
    told = fields.model_dump(exclude_none=True)
    assert told == {
        "n": 3,
        "seed": 7,
        "offset": 2,
        "truncation": 0.7,
        "model": "m x",
        "version": "v",
        "dtype": "uint8",
        "deterministic": True,
        "format": "npy",
        "address": True,
        "label": "one",
        "condition": {"energy": 0.5, "angle": -40.0},
    }
    assert parse_query(b"").model_dump(exclude_none=True) == {
        "deterministic": False,
        "dtype": "float32",
        "address": False,
    }


@pytest.mark.parametrize(("text", "label"), [("one", 1), ("7", 2), ("0", 0), ("zero", 0)])
def test_a_label_is_a_name_where_there_is_one_like_it_else_an_index(text: str, label: int) -> None:
    """There is one named 7."""
    request = rows_request(parse_query(f"label={text}&n=2".encode()), CONDITIONAL, 10)
    assert request.labels is not None
    assert request.labels.tolist() == [label] * 2


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (b"n=0", "n: Input should be greater than or equal to 1"),
        (b"n=1.0", "n: Input should be a valid integer"),
        (b"n=", "n: Input should be a valid integer"),
        (b"n=%2B1", "n: Input should be a valid integer"),
        (b"n=1_0", "n: Input should be a valid integer"),
        (b"n=%D9%A3", "n: Input should be a valid integer"),
        (b"seed=9007199254740992", "seed: Input should be less than"),
        (b"truncation=nan", "truncation: Input should be a valid number"),
        (b"truncation=.5", "truncation: Input should be a valid number"),
        (b"truncation=1e9999", "truncation: Input should be"),
        (b"deterministic=1", "deterministic: Input should be a valid boolean"),
        (b"deterministic=True", "deterministic: Input should be a valid boolean"),
        (b"dtype=float64", "dtype: "),
        (b"colour=red", "colour: unknown field"),
        (b"n=1&n=1", "n: is given twice"),
        (b"condition.energy=1&condition.energy=1", "condition.energy: is given twice"),
        (b"latents=1", "latents: is not taken from the query"),
        (b"labels=1", "labels: is not taken from the query"),
        (b"condition=1", "condition: is not taken from the query"),
        (b"n", "query: is not made of NAME=VALUE"),
        (b"model=%ff", "query: is not made of NAME=VALUE"),
        (b"model=\xff", "query: is not made of NAME=VALUE"),
        (b"&".join([b"n=1"] * 2000), "query: is not made of NAME=VALUE"),
    ],
    ids=str,
)
def test_a_refusal_names_its_parameter(query: bytes, words: str) -> None:
    with pytest.raises(InvalidError, match=f"^{words}"):
        parse_query(query)


def test_ampersands_with_nothing_between_them_are_passed_over() -> None:
    assert parse_query(b"&&n=2&&&format=npy&").model_dump() == parse_query(b"n=2&format=npy").model_dump()
    assert parse_query(b"&") == parse_query(b"")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        (b"condition.energy=abc", "condition.energy"),
        (b"condition.energy=50", "condition.energy"),
        (b"condition.=1", "condition."),
        (b"condition.x=1", "condition.x"),
        (b"label=9", "label"),
        (b"label=-1", "label"),
    ],
)
def test_what_the_model_does_not_take(query: bytes, field: str) -> None:
    with pytest.raises(InvalidError) as caught:
        rows_request(parse_query(query), PHYSICS, 10)
    assert caught.value.field == field


def test_a_parameter_may_be_of_any_length() -> None:
    with pytest.raises(InvalidError) as caught:
        parse_query(b"x" * 10_000 + b"=1")
    assert len(str(caught.value)) < 200
