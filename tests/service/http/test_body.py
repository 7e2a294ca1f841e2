"""The body of `POST /v1/samples`: what is taken, what is refused, and that the refusal names the field."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.types import Message

from latentserve.service.bundle import Condition, Latent, LatentPart, Manifest, OnnxSpec, SampleSpec
from latentserve.service.bundle.manifest import generator_graph
from latentserve.service.errors import (
    InvalidError,
    LatentserveError,
    MalformedError,
    TooLargeError,
    UnsupportedMediaError,
)
from latentserve.service.http.body import JSON, NPY, SamplesBody, media_of, parse_body, parse_long_body
from latentserve.service.http.call import Call
from latentserve.service.sampling.fields import label_from_text, rows_request
from latentserve.service.sampling.latents import SEED_LIMIT
from latentserve.service.sampling.pieces import at_once

DIM = 3
LABELS = ["zero", "one", "7"]
MAX_N = 1000

FIELDS = list(SamplesBody.model_fields)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def manifest(
    labels: list[str] | None, latent: Latent | None = None, conditions: list[Condition] | None = None
) -> Manifest:
    latent, sample = latent or Latent(dim=DIM), SampleSpec(kind="array", shape=[2])
    graph = generator_graph(latent, labels is not None, len(conditions or ()), sample)
    return Manifest(
        name="toy",
        version="0" * 12,
        created=datetime(2020, 1, 1, tzinfo=UTC),
        latent=latent,
        labels=labels,
        conditions=conditions,
        sample=sample,
        onnx=OnnxSpec(opset=18, generator=graph, batch_invariant=True),
        sha256={},
    )


CONDITIONAL, PLAIN = manifest(LABELS), manifest(None)
NOISY = Latent(dim=DIM, parts=[LatentPart(name="z", shape=[2]), LatentPart(name="noise", shape=[], noise=True)])
RANGES = [
    Condition(name="energy", unit="GeV", range=(0.1, 0.7), prior="log-uniform"),
    Condition(name="angle", range=(-90, 90)),
]
PHYSICS = manifest(LABELS, NOISY, RANGES)


def ask(model: Manifest = CONDITIONAL, /, **fields: Any) -> Any:
    return rows_request(parse_body(json.dumps(fields).encode()), model, MAX_N)


@given(content=st.binary(max_size=200))
def test_arbitrary_bytes_are_a_request_or_a_clear_error(content: bytes) -> None:
    _request_or_error(content)


@given(value=json_values)
def test_arbitrary_json_is_a_request_or_a_clear_error(value: object) -> None:
    _request_or_error(json.dumps(value).encode())


@given(fields=st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=4))
@example(fields={"label": 10**400})
@example(fields={"condition": {"angle": 10**400}})
@example(fields={"conditions": [{"angle": 1}, {"angle": 1, "energy": []}]})
@example(fields={"latents": [[10**400, 0, 0]]})
@example(fields={"n": 10**400})
def test_documented_fields_with_arbitrary_values(fields: dict[str, object]) -> None:
    _request_or_error(json.dumps(fields).encode())


def _request_or_error(content: bytes) -> None:
    for model in (CONDITIONAL, PLAIN, PHYSICS):
        refusal: LatentserveError | None = None
        try:
            request = rows_request(parse_body(content), model, MAX_N)
        except LatentserveError as error:
            refusal = error
        if refusal is not None:
            assert refusal.status in (400, 413, 422)
            assert str(refusal)
            assert len(str(refusal)) < 1000 or isinstance(refusal, TooLargeError)
        else:
            assert 1 <= request.n <= MAX_N
            assert 0 <= request.offset <= request.offset + request.n <= SEED_LIMIT
            widths = (DIM, model.latent.width)
            assert request.latents is None or (len(request.latents) == request.n and request.latents.shape[1] in widths)
            asked = request.conditions
            assert asked is None or (asked.shape == (request.n, 2) and asked.dtype == np.float32)
            assert request.labels is None or request.labels.shape == (request.n,)


@pytest.mark.parametrize("content", [b"{", b"[1,", b"n=1", b"\xff\xfe", b"{'n': 1}", b"[" * 5000, b'{"n": 1} x'])
def test_what_is_not_json_is_malformed(content: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_body(content)


@pytest.mark.parametrize("content", [b"[]", b"1", b"null", b'"n"', b"true"])
def test_json_that_is_no_object_is_invalid(content: bytes) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_body(content)
    assert caught.value.field == "body"


def test_a_byte_order_mark_is_passed_over() -> None:
    mark = b"\xef\xbb\xbf"
    assert parse_body(mark + b'{"n": 2}').n == 2
    assert parse_body(mark) == parse_body(b"{}")
    long = mark + json.dumps({"labels": [1] * 10_000}).encode()
    assert len(at_once(parse_long_body(long)).labels or ()) == 10_000
    with pytest.raises(MalformedError, match="UTF-16"):
        parse_body('{"n": 2}'.encode("utf-16"))


@pytest.mark.parametrize("media", ["application/vnd.api+json", "text/json; charset=utf-8", "Application/JSON", ""])
def test_json_has_other_names(media: str) -> None:
    assert media_of(_call(media), (JSON, NPY)) == JSON


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "a+json"])
def test_what_pages_may_send_unasked_is_no_json(media: str) -> None:
    with pytest.raises(UnsupportedMediaError):
        media_of(_call(media), (JSON, NPY))


def _call(media: str) -> Call:
    headers = [(b"content-type", media.encode())] if media else []

    async def receive() -> Message:
        raise AssertionError("the body is not read")

    return Call({"method": "POST", "headers": headers}, receive, "/")


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ('{"n": 1, "n": 2}', "n"),
        ('{"n": 1, "seed": 3, "n": 1}', "n"),
        ('{"n": 1, "\\u006e": 2}', "n"),
        ('{"condition": {"energy": 1, "energy": 2}}', "condition.energy"),
        ('{"conditions": [{}, {"energy": 1, "energy": 2}]}', "conditions[1].energy"),
        ('{"select": {"of": 2, "of": 3}}', "select.of"),
        ('{"condition": {"a\\nb": 1, "a\\nb": 1}}', "condition.'a\\nb'"),
    ],
)
def test_a_name_that_comes_twice_is_refused(content: str, field: str) -> None:
    with pytest.raises(InvalidError, match="is given twice") as caught:
        parse_body(content.encode())
    assert caught.value.field == field


def test_colons_that_are_no_names_are_not_counted_as_such() -> None:
    assert parse_body(b'{"model": "a:b", "where": {"a:b": {"min": 1e400, "max": 1}}}').model == "a:b"


def test_an_empty_body_asks_for_the_defaults() -> None:
    assert parse_body(b"") == parse_body(b"{}") == SamplesBody.of()
    request = ask()
    assert (request.n, request.offset, request.truncation, request.arm) == (1, 0, 1.0, "server")
    assert not request.deterministic


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("n", {"n": 0}),
    ("n", {"n": -1}),
    ("n", {"n": "many"}),
    # Nothing is coerced.
    ("n", {"n": True}),
    ("n", {"n": 1.0}),
    ("n", {"n": "3"}),
    ("n", {"n": [1]}),
    ("seed", {"seed": -1}),
    ("seed", {"seed": 2**53}),
    ("seed", {"seed": 1.0}),
    ("seed", {"seed": "1"}),
    ("seed", {"seed": False}),
    ("offset", {"offset": -1}),
    ("offset", {"offset": 2**53}),
    ("offset", {"offset": 2**53 - 1, "n": 2}),
    ("truncation", {"truncation": 0}),
    ("truncation", {"truncation": -0.5}),
    ("truncation", {"truncation": 1.0000001}),
    ("truncation", {"truncation": "0.5"}),
    ("truncation", {"truncation": True}),
    ("truncation", {"truncation": float("nan")}),
    ("truncation", {"truncation": float("inf")}),
    ("deterministic", {"deterministic": 1}),
    ("deterministic", {"deterministic": "true"}),
    ("dtype", {"dtype": "float64"}),
    ("dtype", {"dtype": 8}),
    ("model", {"model": 1}),
    ("model", {"model": "m" * 10_000}),
    ("version", {"version": 1.5}),
    ("version", {"version": "v" * 10_000}),
    ("latents", {"latents": []}),
    ("latents", {"latents": "abc"}),
    ("latents[0]", {"latents": [[]]}),
    ("latents[0]", {"latents": [[0, 0]]}),
    ("latents[1]", {"latents": [[0, 0, 0], [0, 0, 0, 0]]}),
    ("latents[0]", {"latents": [0, 0, 0]}),
    ("latents[1][2]", {"latents": [[0, 0, 0], [0, 0, float("nan")]]}),
    ("latents[0][1]", {"latents": [[0, float("inf"), 0]]}),
    ("latents[0][1]", {"latents": [[0, "1", 0]]}),
    ("latents[0][1]", {"latents": [[0, None, 0]]}),
    ("latents[0][1]", {"latents": [[0, True, 0]]}),
    ("latents[0][2]", {"latents": [[0, 0, 1e39]]}),
    ("n", {"latents": [[0, 0, 0]], "n": 2}),
    ("seed", {"latents": [[0, 0, 0]], "seed": 1}),
    ("offset", {"latents": [[0, 0, 0]], "offset": 0}),
    ("truncation", {"latents": [[0, 0, 0]], "truncation": 1}),
    ("labels", {"latents": [[0, 0, 0]], "labels": [0, 1]}),
    ("label", {"label": 3}),
    ("label", {"label": -1}),
    ("label", {"label": 10**4000}),
    ("label", {"label": "nobody"}),
    ("label", {"label": "0"}),
    ("label", {"label": True}),
    ("label", {"label": 1.0}),
    ("label", {"label": [1]}),
    ("label", {"label": 1, "labels": [1]}),
    ("labels", {"labels": []}),
    ("labels", {"labels": 1}),
    ("labels[1]", {"labels": [0, 3]}),
    ("labels[1]", {"labels": [0, "nobody"]}),
    ("labels[1]", {"labels": [0, None]}),
    ("n", {"labels": [0, 1], "n": 3}),
    ("colour", {"colour": "red"}),
    ("N", {"N": 1}),
    ("model_config", {"model_config": {}}),
]


@pytest.mark.parametrize(("field", "fields"), WRONG, ids=[str(fields)[:40] for _, fields in WRONG])
def test_a_refusal_names_its_field(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidError) as caught:
        ask(**fields)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["label", "labels"])
def test_a_label_for_an_unconditional_model_is_refused(field: str) -> None:
    with pytest.raises(InvalidError) as caught:
        ask(PLAIN, **{field: 0 if field == "label" else [0]})
    assert caught.value.field == field


WRONG_CONDITIONS: list[tuple[str, dict[str, Any]]] = [
    ("condition", {"condition": 50}),
    ("condition", {"condition": []}),
    ("condition", {"condition": {}, "conditions": [{}]}),
    ("condition.energy", {"condition": {"energy": 0.0999}}),
    ("condition.energy", {"condition": {"energy": 0.7001}}),
    ("condition.energy", {"condition": {"energy": 10**400}}),
    ("condition.energy", {"condition": {"energy": float("nan")}}),
    ("condition.energy", {"condition": {"energy": float("inf")}}),
    ("condition.energy", {"condition": {"energy": float("-inf")}}),
    ("condition.energy", {"condition": {"energy": "0.5"}}),
    ("condition.energy", {"condition": {"energy": None}}),
    ("condition.angle", {"condition": {"energy": 0.5, "angle": True}}),
    ("condition.angle", {"condition": {"angle": [1]}}),
    ("condition.Energy", {"condition": {"Energy": 0.5}}),
    ("condition.", {"condition": {"": 0.5}}),
    ("condition.'a\\nb'", {"condition": {"a\nb": 0.5}}),
    ("conditions", {"conditions": []}),
    ("conditions", {"conditions": {"energy": 0.5}}),
    ("conditions[1]", {"conditions": [{}, None]}),
    ("conditions[0]", {"conditions": [0.5]}),
    ("conditions[2].energy", {"conditions": [{}, {"energy": 0.5}, {"energy": 1}]}),
    ("conditions[1].colour", {"conditions": [{}, {"colour": 1}]}),
    ("n", {"conditions": [{}, {}], "n": 3}),
    ("conditions", {"conditions": [{}, {}], "labels": [1]}),
    ("conditions", {"conditions": [{}], "latents": [[0, 0, 0], [0, 0, 0]]}),
    ("n", {"conditions": [{}], "latents": [[0, 0], [0, 0]], "n": 2}),
    # Without its noise.
    ("latents[0]", {"latents": [[0]]}),
    ("latents[1]", {"latents": [[0, 0], [0, 0, 0]]}),
    ("latents[1]", {"latents": [[0, 0, 0], [0, 0]]}),
    ("truncation", {"latents": [[0, 0]], "truncation": 0.5}),
    ("seed", {"latents": [[0, 0, 0]], "seed": 1}),
]


@pytest.mark.parametrize(
    ("field", "fields"), WRONG_CONDITIONS, ids=[str(fields)[:40] for _, fields in WRONG_CONDITIONS]
)
def test_a_refusal_names_its_condition(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidError) as caught:
        ask(PHYSICS, **fields)
    assert caught.value.field == field
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_what_is_out_of_range_is_told_with_range_and_unit() -> None:
    with pytest.raises(InvalidError, match=r"^condition\.energy: is 50; .* 0\.1 to 0\.7 GeV$"):
        ask(PHYSICS, condition={"energy": 50})
    with pytest.raises(InvalidError, match=r"no such condition; it has energy, angle$"):
        ask(PHYSICS, condition={"x": 50})


@pytest.mark.parametrize("field", ["condition", "conditions"])
def test_a_condition_for_a_model_without_conditions_is_refused(field: str) -> None:
    for asked in ({}, {"energy": 1}):
        with pytest.raises(InvalidError, match="takes no conditions") as caught:
            ask(CONDITIONAL, **{field: asked if field == "condition" else [asked]})
        assert caught.value.field == field


def test_conditions_by_name_and_nothing_where_they_are_left_out() -> None:
    nothing = np.nan
    assert ask(PHYSICS).conditions is None
    rows = ask(PHYSICS, conditions=[{"angle": 45}, {}, {"energy": 0.5, "angle": -90.0}])
    assert rows.n == 3
    assert np.array_equal(rows.conditions, np.float32([[nothing, 45], [nothing] * 2, [0.5, -90]]), equal_nan=True)
    for_all = ask(PHYSICS, condition={"energy": 0.25}, n=2)
    assert np.array_equal(for_all.conditions, np.float32([[0.25, nothing]] * 2), equal_nan=True)
    assert ask(PHYSICS, condition={}, labels=[0, 1]).conditions.shape == (2, 2)


def test_the_ends_of_a_range_may_be_asked_for_as_doubles_and_as_float32() -> None:
    """Neither 0.1 nor 0.7 is a float32: one is rounded up, the other down."""
    for end in (0.1, 0.7):
        for value in (end, float(np.float32(end))):
            assert ask(PHYSICS, condition={"energy": value}).conditions[0, 0] == np.float32(end)
    for value in (np.nextafter(np.float32(0.1), -1), np.nextafter(np.float32(0.7), 1)):
        with pytest.raises(InvalidError):
            ask(PHYSICS, condition={"energy": float(value)})


def test_latents_may_leave_their_noise_to_the_seed() -> None:
    request = ask(PHYSICS, latents=[[1, 2]] * 3, seed=7, offset=5)
    assert (request.latents.shape, request.seed, request.offset, request.arm) == ((3, 2), 7, 5, "client")
    assert request.seeded(PHYSICS.latent)
    assert ask(PHYSICS, latents=[[1, 2]]).seed != ask(PHYSICS, latents=[[1, 2]]).seed
    whole = ask(PHYSICS, latents=[[1, 2, 3]] * 3)
    assert whole.latents.shape == (3, 3)
    assert not whole.seeded(PHYSICS.latent)


def test_as_many_conditions_as_a_body_holds() -> None:
    content = b'{"conditions":[' + b'{"energy":0.5},' * 999_999 + b'{"angle":1}]}'
    request = rows_request(parse_body(content), PHYSICS, 10**6)
    assert request.conditions.shape == (10**6, 2)
    assert np.nansum(request.conditions[:, 0]) == 0.5 * 999_999
    assert request.conditions[-1, 1] == 1


def test_n_over_the_limit_is_too_large() -> None:
    assert ask(n=MAX_N).n == MAX_N
    for fields in ({"n": MAX_N + 1}, {"n": 10**9}, {"labels": [0] * (MAX_N + 1)}):
        with pytest.raises(TooLargeError, match=r"^n: "):
            ask(**fields)


def test_n_follows_from_latents_and_labels() -> None:
    assert ask(latents=[[0, 0, 0]] * 4).n == 4
    assert ask(labels=[0, 1]).n == 2
    assert ask(latents=[[0, 0, 0]] * 2, labels=[0, 1], n=2).n == 2
    assert ask(latents=[[0, 0, 0]] * 2, label=1).labels.tolist() == [1, 1]


def test_labels_by_index_and_by_name() -> None:
    """7 would be an index; "7" is a name."""
    assert ask(labels=[0, "one", "7", 2]).labels.tolist() == [0, 1, 2, 2]
    assert ask(label="7", n=2).labels.tolist() == [2, 2]
    assert ask().labels is None


def test_as_many_labels_as_there_may_be_by_their_names() -> None:
    """Looked up once each; one after the other in a list they would take minutes."""
    names = [f"name {index}" for index in range(65_536)]
    model = manifest(names)
    body = parse_body(json.dumps({"labels": names[::-1]}).encode())
    assert rows_request(body, model, 65_536).labels.tolist() == list(range(65_536))[::-1]


@pytest.mark.parametrize(
    ("text", "label"),
    [("7", "7"), ("0", 0), ("2", 2), ("one", "one"), ("-1", "-1"), ("1.0", "1.0"), ("", ""), ("\u0663", "\u0663")],
)
def test_a_label_that_was_typed_is_a_name_where_one_matches_else_an_index(text: str, label: int | str) -> None:
    assert label_from_text(text, LABELS) == label


def test_a_label_that_was_typed_for_a_model_without_labels_is_refused_as_any() -> None:
    assert (label_from_text("3", None), label_from_text("nobody", None)) == (3, "nobody")
    assert label_from_text("9" * 5000, LABELS) == "9" * 5000


def test_latents_are_taken_as_float32() -> None:
    latents = ask(latents=[[1, 0.1, -3e38]]).latents
    assert latents.dtype == np.float32
    assert latents.tolist() == [[1, float(np.float32(0.1)), float(np.float32(-3e38))]]


def test_arms() -> None:
    """The server's arm is where the server drew the seed."""
    assert ask().arm == "server"
    assert ask(seed=1).arm == ask(latents=[[0, 0, 0]]).arm == "client"


def test_a_seed_that_is_not_given_is_drawn() -> None:
    seeds = {ask().seed for _ in range(20)}
    assert len(seeds) == 20
    assert all(0 <= seed < SEED_LIMIT for seed in seeds)


@pytest.mark.parametrize(
    "content",
    [
        b'{"condition":{' + b",".join(b'"%d":null' % index for index in range(400_000)) + b"}}",
        b'{"conditions":[' + b'{"x":0},' * 1_000_000 + b"{}]}",
    ],
    ids=["names", "rows"],
)
def test_of_a_million_wrong_conditions_the_first_is_named(content: bytes) -> None:
    with pytest.raises(InvalidError, match=r"^condition(s\[0\])?\.[0x]: "):
        rows_request(parse_body(content), PHYSICS, 10**7)


@pytest.mark.parametrize(
    "content",
    [
        b'{"latents":[[' + b"null," * 1_000_000 + b"0]]}",
        b'{"latents":[' + b"[true]," * 1_000_000 + b"0]}",
        b'{"labels":[' + b"true," * 1_000_000 + b"0]}",
        b"{" + b",".join(b'"%d":0' % index for index in range(200_000)) + b"}",
        b'{"conditions":[' + b"[]," * 1_000_000 + b"0]}",
    ],
    ids=["values", "rows", "labels", "fields", "conditions"],
)
def test_of_a_million_mistakes_few_are_collected(content: bytes) -> None:
    """An error object for each would keep the event loop busy for half a minute."""
    with pytest.raises(InvalidError):
        parse_body(content)
    errors = 0
    try:
        SamplesBody.model_validate_json(content)
    except ValidationError as error:
        errors = error.error_count()
    assert errors <= 2
