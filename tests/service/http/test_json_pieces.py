"""Long JSON bodies: read in pieces they are what they are read whole, and refused in the same words."""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentserve.service.errors import InvalidError, LatentserveError, MalformedError
from latentserve.service.http import json_pieces
from latentserve.service.http.body import SamplesBody, parse_body, parse_long, parse_long_body
from latentserve.service.http.interpolations import InterpolationBody, VariationBody
from latentserve.service.http.scores import ScoresBody
from latentserve.service.sampling.fields import rows_request
from latentserve.service.sampling.pieces import at_once, whole_pieces_of
from latentserve.service.sampling.request import RowsRequest
from tests.service.http.test_body import CONDITIONAL, FIELDS, LABELS, PHYSICS

MAX_N = 10**6


def outcome(body: Any, model: Any) -> RowsRequest | LatentserveError:
    try:
        fields = body()
        return rows_request(fields.model_copy(update={"seed": fields.seed or 1}), model, MAX_N)
    except LatentserveError as error:
        return error


def both(content: bytes, model: Any = PHYSICS) -> tuple[Any, Any]:
    """Of a body read whole, and read in pieces."""
    return (
        outcome(lambda: parse_body(content), model),
        outcome(lambda: at_once(parse_long_body(content)), model),
    )


def same(one: Any, other: Any) -> bool:
    if isinstance(one, LatentserveError):
        return type(one) is type(other) and str(one) == str(other)
    return isinstance(other, RowsRequest) and all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f") and a.dtype == b.dtype
        if isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
        else a == b
        for a, b in zip(one, other, strict=True)
    )


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_pieces, "_PIECE_BYTES", 12)


blanks = st.text(" \t\n\r", max_size=3)
texts = st.text(st.sampled_from('a7"\\[]{},: é\u2028\x7f'), max_size=8) | st.sampled_from(LABELS)
numbers = st.integers(-3, 3) | st.floats(-1, 1) | st.sampled_from([0.5, 1e-7, 10**25])
good = {
    "latents": st.integers(2, 3).flatmap(lambda k: st.lists(st.lists(numbers, min_size=k, max_size=k), max_size=6)),
    "labels": st.lists(st.integers(0, 2) | st.sampled_from(LABELS), max_size=9),
    "conditions": st.lists(
        st.dictionaries(st.sampled_from(["energy", "angle"]), st.just(0.5) | st.just(1) | numbers), max_size=6
    ),
    "condition": st.dictionaries(st.sampled_from(["energy", "angle"]), st.just(0.5) | numbers),
    "n": st.integers(0, 5),
    "seed": st.integers(0, 2**53),
    "model": texts,
    "truncation": st.sampled_from([0.5, 1, 2]),
}
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
)


@st.composite
def spelled(draw: st.DrawFn, value: Any) -> str:
    """A value as JSON, with blanks wherever there may be some."""

    def blank() -> str:
        return draw(blanks)

    if isinstance(value, list):
        inside = ",".join(blank() + draw(spelled(one)) + blank() for one in value)
        return f"[{inside or blank()}]"
    if isinstance(value, dict):
        inside = ",".join(
            f"{blank()}{json.dumps(name)}{blank()}:{blank()}{draw(spelled(one))}{blank()}"
            for name, one in value.items()
        )
        return f"{{{inside or blank()}}}"
    return json.dumps(value, ensure_ascii=draw(st.booleans()))


@given(data=st.data(), names=st.lists(st.sampled_from(sorted(good)), unique=True, max_size=4))
def test_good_bodies_in_pieces_are_what_they_are_whole(data: st.DataObject, names: list[str]) -> None:
    value = {name: data.draw(good[name]) for name in names}
    content = (data.draw(blanks) + data.draw(spelled(value)) + data.draw(blanks)).encode()
    whole, pieces = both(content, data.draw(st.sampled_from([PHYSICS, CONDITIONAL])))
    assert same(whole, pieces) or several_faults(value)


def several_faults(value: dict[str, Any]) -> bool:
    """Whether parts of it are refused for themselves: then the first that is met is told."""
    return (
        sum(
            isinstance(outcome(lambda one=one: SamplesBody.of(**one), PHYSICS), LatentserveError)
            for one in ({k: v} for k, v in value.items())
        )
        > 1
    )


def several_faults_of_rows(value: Any, told: Any) -> bool:
    """Whether several rows are refused for themselves, and what is told is so of one of them."""
    refused = [
        (index, one)
        for index, row in enumerate(value if isinstance(value, list) else [])
        if isinstance(one := outcome(lambda row=row: SamplesBody.of(conditions=[row]), PHYSICS), InvalidError)
    ]
    words = [str(one).replace("conditions[0]", f"conditions[{index}]", 1) for index, one in refused]
    return len(words) > 1 and str(told) in words


@given(field=st.sampled_from([*FIELDS, "colour"]), value=anything, data=st.data())
def test_a_field_with_anything_in_it_is_refused_in_the_same_words(field: str, value: Any, data: st.DataObject) -> None:
    content = data.draw(spelled({field: value})).encode()
    whole, pieces = both(content)
    assert same(whole, pieces) or (field == "conditions" and several_faults_of_rows(value, pieces))


@given(data=st.data(), name=st.sampled_from(["latents", "labels", "conditions", "condition"]))
def test_a_damaged_body_is_refused(data: st.DataObject, name: str) -> None:
    """Wherever a byte is lost, or another comes."""
    content = bytearray(data.draw(spelled({"n": 1, name: data.draw(good[name])})).encode())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at : at + data.draw(st.integers(0, 1))] = data.draw(st.sampled_from(list(b'[]{},:"\\0 x'))).to_bytes(
        1, "big"
    )
    whole, pieces = both(bytes(content))
    assert isinstance(whole, MalformedError) <= isinstance(pieces, LatentserveError)
    if not isinstance(whole, LatentserveError):
        assert same(whole, pieces)
    elif not isinstance(pieces, LatentserveError):
        raise AssertionError(f"{bytes(content)!r} was refused whole: {whole}")


ANGLES = ", ".join(['"angle": 0'] * 30)
PADDING = ", ".join(["[0.5, 1]"] * 20)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f'{{"latents": [{PADDING}, [0, "x"]]}}', r"latents\[20\]\[1\]: Input should be a valid number"),
        (f'{{"latents": [{PADDING}, [0, NaN]]}}', r"latents\[20\]\[1\]: Input should be a finite number"),
        (f'{{"latents": [{PADDING}, [0, 1e39]]}}', r"latents\[20\]\[1\]: is too large for float32"),
        (f'{{"latents": [{PADDING}, 7]}}', r"latents\[20\]: Input should be a valid array"),
        (f'{{"latents": [{PADDING}, [{"0, " * 30}1]]}}', r"latents\[20\]: has 31 values"),
        (f'{{"latents": [[{"0, " * 30}true]]}}', r"latents\[0\]\[30\]: Input should be a valid number"),
        (f'{{"labels": [{"1, " * 30}9]}}', r"labels\[30\]: is 9"),
        (f'{{"labels": [{"1, " * 30}true]}}', r"labels\[30\]: Input should be a valid integer"),
        (f'{{"labels": [{"1, " * 30}[1, 2, 3, 4, 5, 6, 7]]}}', r"labels\[30\]: Input should be a valid integer"),
        (f'{{"conditions": [{"{}, " * 30}{{"energy": 50}}]}}', r"conditions\[30\].energy: is 50"),
        (
            f'{{"conditions": [{{{ANGLES}, "angle": true}}]}}',
            "conditions.0..angle: is given twice",
        ),
        (
            f'{{"condition": {{{ANGLES}, "angle": true}}}}',
            "condition.angle: is given twice",
        ),
        (f'{{"labels": [{"1, " * 30}01]}}', "the body is not JSON: .* at line 1 column 10[0-9]"),
        (f'{{"labels": [{"1, " * 30}, 1]}}', "the body is not JSON: .* at line 1 column 10[0-9]"),
        (f'{{"labels":\n [1,\n {"1, " * 30}]}}', "the body is not JSON: .* at line 3 column 9[0-9]"),
        (f'{{"labels": [{"1, " * 30} 1}}', "the body is not JSON: its brackets or quotes do not match"),
        (f'{{"labels": [{"1, " * 30} 1]]}}', "the body is not JSON: its brackets or quotes do not match"),
        (f'{{"labels": [{"1, " * 30} 1}}]', "the body is not JSON: .*"),
        (f'{{"labels": [{"1, " * 30} 1], "n": }}', "the body is not JSON: .*"),
        (f'{{"labels": [{"1, " * 30} 1],, "n": 1}}', "the body is not JSON: .*"),
        (f'{{"labels": [{"1, " * 30} 1] 7, "n": 1}}', "the body is not JSON: .*"),
        (f'{{"labels": [{"1, " * 30} 1] [1], "n": 1}}', "the body is not JSON: .*"),
        (f'{{"labels" [{"1, " * 30} 1]}}', "the body is not JSON: .*"),
        (f"{{labels: [{'1, ' * 30} 1]}}", "the body is not JSON: .*"),
        (f'{{"labels": [{"1, " * 30} "\\ud800"]}}', "the body is not JSON: .*"),
        (f'{{"labels": [{"1, " * 30} "\x01"]}}', "the body is not JSON: .*"),
        (f'{{"n": [{"1, " * 30} 1]}}', "n: Input should be a valid integer"),
        (f'{{"model": {{"a": [{"1, " * 30} 1]}}}}', "model: Input should be a valid string"),
        (f'{{"colour": [{"1, " * 30} 1]}}', "colour: unknown field"),
        (f"[{'1, ' * 30} 1]", "body: a JSON object is needed"),
        ('"' + "a" * 100 + '"', "body: a JSON object is needed"),
        ("1" * 100, "body: a JSON object is needed"),
        ("x" * 100, "the body is not JSON: .* at line 1 column 1"),
    ],
    ids=range(33),
)
def test_refusals(content: str, words: str) -> None:
    whole, pieces = both(content.encode())
    assert isinstance(pieces, InvalidError | MalformedError), pieces
    assert re.match(words, str(pieces)), pieces
    assert type(whole) is type(pieces)
    if isinstance(whole, InvalidError) or "column" in words:
        assert str(whole) == str(pieces)


anything = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


@given(rows=st.lists(anything, min_size=1, max_size=5), label=st.integers(0, 9))
def test_lists_of_anything_come_whole_in_the_end(rows: list[Any], label: int) -> None:
    body = at_once(parse_long(json.dumps({"label": label, "samples": rows}).encode(), ScoresBody))
    found = list(whole_pieces_of(body.samples))
    assert [one for _, piece in found for one in piece] == rows
    assert [first for first, _ in found] == [0, *accumulate(len(piece) for _, piece in found)][:-1]
    assert body.label == label


@given(ends=st.lists(st.dictionaries(texts, anything, max_size=3), min_size=2, max_size=4))
def test_so_do_the_ends_of_a_path(ends: list[dict[str, Any]]) -> None:
    body = at_once(parse_long(json.dumps({"ends": ends, "frames": 3}).encode(), InterpolationBody))
    assert [one for _, piece in whole_pieces_of(body.ends) for one in piece] == ends


def test_a_long_latent_is_read() -> None:
    latent = [0.5] * 40
    assert at_once(parse_long(json.dumps({"latent": latent, "n": 2}).encode(), VariationBody)).latent == latent


def test_a_name_that_comes_twice_is_refused() -> None:
    lists = '"labels": [2, 2, 2, 2, 2, 2, 2, 2, 2]'
    rows = ",".join(['{"energy": 0.5}'] * 30)
    for content, field in (
        (f'{{"labels": [1], {lists}}}', "labels"),
        (f'{{{lists}, "labels": [1]}}', "labels"),
        (f'{{{lists}, "n": 1, {lists}}}', "labels"),
        (f'{{{lists}, "n": 1, "\\u006e": 2}}', "n"),
        (f'{{"conditions": [{rows}, {{"angle": 1, "energy": 0.5, "angle": 2}}, {rows}]}}', "conditions[30].angle"),
        ('{"condition": {"energy": 0.5, "angle": 1, "energy": 0.5}}', "condition.energy"),
        ('{"where": {"$label": {"in": ["one"], "in": ["zero"]}}}', "where.$label.in"),
    ):
        whole, pieces = both(content.encode())
        assert same(whole, pieces)
        assert (whole.field, whole.reason) == (field, "is given twice")  # type: ignore[union-attr]


def test_values_that_cannot_be_cut_are_refused_where_they_are_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a parser would take long for."""
    monkeypatch.setattr(json_pieces, "_LONGEST_BYTES", 100)
    deep = "[[[" + "[]," * 100 + "[]]]]"
    for name in ("latents", "labels", "conditions", "condition", "n", "colour"):
        with pytest.raises(InvalidError) as caught:
            rows_request(at_once(parse_long_body(f'{{"{name}": [1, {deep}]}}'.encode())), PHYSICS, MAX_N)
        assert caught.value.field.startswith(name)


def test_a_body_of_a_mebibyte_is_read_in_pieces_of_some_kilobytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_pieces, "_PIECE_BYTES", 1 << 14)
    content = b'{"conditions": [' + b'{"energy":0.5},' * 69_000 + b'{"angle":1}]}'
    fields = at_once(parse_long_body(content))
    pieces = list(fields.conditions.pieces())  # type: ignore[union-attr]
    assert max(len(rows) for _, rows in pieces) < 1200
    assert [start for start, _ in pieces] == np.cumsum([0, *(len(rows) for _, rows in pieces[:-1])]).tolist()
    assert same(*both(content))
