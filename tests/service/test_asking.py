"""Generators that are made from more than a latent and a label: latents of several parts, noise, and conditions. The
real server over a socket, the rows of an engine here beside it."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import bentoml
import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from tritonclient.utils import InferenceServerException

from latentserve import OpenedBundle, draw_latents, open_bundle
from latentserve.service.benching.bare_engine import BareEngine
from latentserve.service.benching.load import closed_loop
from latentserve.service.benching.target import Target
from latentserve.service.bundle import Column, SampleSpec, read_bundle
from latentserve.service.encoding.audio import to_int16
from latentserve.service.encoding.images import contact_sheet, to_uint8
from latentserve.service.errors import InvalidError, TooLargeError
from latentserve.service.sampling.latents import draw_conditions, draw_labels
from tests.conftest import SHOWER_CONDITIONS, SHOWER_LATENT, examples, make_shower
from tests.server import Server
from tests.service.test_bad_input import assert_problem
from tests.tensors import tensor

NPY, RAW, PNG, WEBP = "application/x-npy", "application/octet-stream", "image/png", "image/webp"
CSV, ARROW, WAV = "text/csv", "application/vnd.apache.arrow.stream", "audio/wav"
WIDTH, DIM = SHOWER_LATENT.width, SHOWER_LATENT.dim
IMAGES = {"model": "shower"}
LARGE = 3000  # rows, more than a slice has

TABLE = SampleSpec(kind="table", shape=[3], columns=[Column(name="x"), Column(name="y"), Column(name="e")])
AUDIO = SampleSpec(kind="audio", shape=[2, 40], sample_rate=8000)


@pytest.fixture(scope="module")
def bundles(shower_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("showers")
    return {
        "shower": shower_bundle,
        "tracks": make_shower(folder / "tracks", "tracks", sample=TABLE),
        "sounds": make_shower(folder / "sounds", "sounds", sample=AUDIO),
    }


@pytest.fixture(scope="module")
def shower(shower_bundle: Path) -> OpenedBundle:
    return open_bundle(shower_bundle)


@pytest.fixture(scope="module")
def server(bundles: dict[str, Path]) -> Iterator[Server]:
    with Server(*bundles.values()) as running:
        yield running


def array(answer: httpx.Response) -> NDArray[np.generic]:
    assert answer.status_code == 200, answer.text[:500]
    return np.load(io.BytesIO(answer.content), allow_pickle=False)


def some_latents(n: int, width: int = DIM) -> list[list[float]]:
    """Of seed 3, with or without their noise."""
    return draw_latents(SHOWER_LATENT, 3, 0, n)[:, :width].tolist()


CASES: list[dict[str, Any]] = [
    {"seed": 9},
    {"seed": 9, "n": 300},
    {"seed": 9, "n": 40, "truncation": 0.5},
    {"seed": 2**53 - 1, "n": 5, "offset": 2**53 - 5, "condition": {"energy": 50}},
    {"seed": 4, "n": 3, "label": "pion", "condition": {"energy": 0.1, "angle": -0.7}},
    {"seed": 4, "n": 3, "condition": {}},
    {"seed": 4, "conditions": [{"energy": 50}, {}, {"angle": 0, "energy": 100}], "labels": [0, "photon", 2]},
    {"latents": some_latents(3), "labels": [0, 1, 2], "condition": {"energy": 1, "angle": 0.5}},
    {"latents": some_latents(3, WIDTH), "seed": 5, "offset": 7, "conditions": [{}, {"energy": 2}, {}]},
]


@pytest.mark.parametrize("fields", CASES, ids=lambda fields: str(fields)[:60])
def test_rows_are_the_same_here_and_there(server: Server, shower: OpenedBundle, fields: dict[str, Any]) -> None:
    rows = array(server.samples(accept=NPY, **IMAGES, deterministic=True, **fields))
    assert np.array_equal(rows, shower.sample(**fields))
    assert np.array_equal(rows, array(server.samples(accept=NPY, **IMAGES, deterministic=True, **fields)))


def test_what_is_asked_for_makes_a_difference(shower: OpenedBundle) -> None:
    """And each thing by itself: all the others stay as they were drawn."""
    asked: list[dict[str, Any]] = [
        {},
        {"condition": {"energy": 90}},
        {"condition": {"angle": 0.7}},
        {"label": 2},
        {"latents": some_latents(5), "condition": {"energy": 90}},
        {"latents": some_latents(5, WIDTH), "condition": {"energy": 90}, "seed": 8},
    ]
    made = [shower.sample(n=5, **({"seed": 3} if "latents" not in fields else {}), **fields) for fields in asked]
    for one, other in pairwise(made):
        assert not np.isclose(one, other).all(axis=(1, 2, 3)).any()


def test_what_is_drawn_can_be_asked_for(shower: OpenedBundle) -> None:
    """Rows of a seed are those of the latents, noise, labels and conditions that the recipe draws for it."""
    expected = shower.sample(n=6, seed=3)
    drawn = draw_conditions(SHOWER_LATENT, SHOWER_CONDITIONS, 3, 0, 6)
    conditions = [{"energy": energy, "angle": angle} for energy, angle in drawn]
    labels = draw_labels(WIDTH, [0.5, 0.3, 0.2], 3, 0, 6)
    latents = draw_latents(SHOWER_LATENT, 3, 0, 6)
    given: list[dict[str, Any]] = [
        {"seed": 3, "conditions": conditions},
        {"seed": 3, "conditions": conditions, "labels": labels},
        {"latents": latents, "conditions": conditions, "labels": labels},
        {"latents": latents[:, :WIDTH], "seed": 3},
        {"latents": latents[:, :WIDTH], "seed": 3, "conditions": [{"energy": row["energy"]} for row in conditions]},
    ]
    for fields in given:
        assert np.array_equal(shower.sample(**fields), expected)


def test_one_condition_for_more_rows_than_memory_holds(shower: OpenedBundle) -> None:
    """A request of so many can be made, and taken a slice at a time, as `latentserve sample` does."""
    fields: dict[str, Any] = {"seed": 3, "label": "pion", "condition": {"energy": 50}}
    request = shower.request(n=2**50, **fields)
    assert np.array_equal(next(shower.slices(request))[:4], shower.sample(4, **fields))
    with pytest.raises(TooLargeError, match=r"^n: "):
        shower.rows(request)


def portions(fields: dict[str, Any], cuts: list[int]) -> Iterator[dict[str, Any]]:
    """The same rows as so many requests."""
    for start, stop in pairwise(cuts):
        part = {name: fields[name][start:stop] for name in ("latents", "labels", "conditions") if name in fields}
        yield {**fields, **part, "n": stop - start, "offset": fields["offset"] + start}


energies = st.floats(0.1, 100)
angles = st.floats(-0.7, 0.7)
some_conditions = st.fixed_dictionaries({}, optional={"energy": energies, "angle": angles})


@st.composite
def asked_for(draw: st.DrawFn) -> tuple[dict[str, Any], list[int]]:
    """Fields of n rows, and the places between which they are asked for."""
    n = draw(st.integers(2, 20))
    fields: dict[str, Any] = {"seed": draw(st.integers(0, 2**53 - 1)), "offset": draw(st.integers(0, 2**53 - 20))}
    of_rows = {
        "labels": st.lists(st.sampled_from([0, 1, 2, "pion"]), min_size=n, max_size=n),
        "conditions": st.lists(some_conditions, min_size=n, max_size=n),
        "latents": st.just(some_latents(n, WIDTH)),
    }
    for name in draw(st.sets(st.sampled_from(sorted(of_rows)))):
        fields[name] = draw(of_rows[name])
    if "conditions" not in fields and draw(st.booleans()):
        fields["condition"] = draw(some_conditions)
    if "latents" not in fields and draw(st.booleans()):
        fields["truncation"] = draw(st.floats(0.1, 1))
    cuts = draw(st.sets(st.integers(1, n - 1), max_size=4))
    return {"n": n, **fields}, sorted({0, n, *cuts})


@given(asked=asked_for())
def test_rows_may_be_asked_for_in_any_portions(shower: OpenedBundle, asked: tuple[dict[str, Any], list[int]]) -> None:
    fields, cuts = asked
    parts = [shower.sample(**part) for part in portions(fields, cuts)]
    assert np.array_equal(np.concatenate(parts), shower.sample(**fields))


@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=asked_for())
def test_rows_may_be_asked_of_a_server_in_any_portions(
    server: Server, shower: OpenedBundle, asked: tuple[dict[str, Any], list[int]]
) -> None:
    fields, cuts = asked
    parts = [array(server.samples(accept=NPY, **IMAGES, deterministic=True, **part)) for part in portions(fields, cuts)]
    assert np.array_equal(np.concatenate(parts), shower.sample(**fields))


def test_a_large_answer_streams(server: Server, shower: OpenedBundle) -> None:
    """A slice of rows at a time, each with its own latents, noise and conditions."""
    fields: dict[str, Any] = {
        "seed": 5,
        "offset": 11,
        "latents": some_latents(LARGE, WIDTH),
        "labels": [row % 3 for row in range(LARGE)],
        "conditions": [{"energy": 1 + row / 100, "angle": 0} if row % 2 else {} for row in range(LARGE)],
    }
    rows = np.frombuffer(server.samples(accept=RAW, **IMAGES, deterministic=True, **fields).content, "<f4")
    assert np.array_equal(rows.reshape(LARGE, 1, 8, 8), shower.sample(**fields))


# What answers tell.


def test_json_tells_what_each_row_was_made_for(server: Server, shower: OpenedBundle) -> None:
    fields: dict[str, Any] = {"seed": 4, "labels": [0, 1, 2], "conditions": [{"energy": 0.1}, {}, {"angle": -0.7}]}
    answer = server.samples(**IMAGES, **fields).json()
    drawn = draw_conditions(SHOWER_LATENT, SHOWER_CONDITIONS, 4, 0, 3)
    assert answer["labels"] == ["electron", "photon", "pion"]
    assert answer["conditions"][0] == {"energy": 0.1, "angle": float(str(drawn[0, 1]))}
    assert np.array_equal(np.float32(list(answer["conditions"][1].values())), drawn[1])
    assert answer["conditions"][2] == {"energy": float(str(drawn[2, 0])), "angle": -0.7}
    # And what it tells can be asked for.
    again = {"seed": answer["seed"], "labels": answer["labels"], "conditions": answer["conditions"]}
    assert server.samples(**IMAGES, **again).json() == answer


@pytest.mark.parametrize("model", ["tracks", "shower"])
def test_json_of_many_slices(server: Server, model: str) -> None:
    n = LARGE if model == "tracks" else 70
    answer = server.samples(model=model, n=n, seed=4, condition={"energy": 2}).json()
    assert len(answer["samples"]) == len(answer["labels"]) == len(answer["conditions"]) == n
    drawn = draw_conditions(SHOWER_LATENT, SHOWER_CONDITIONS, 4, 0, n)
    assert np.array_equal(np.float32([row["angle"] for row in answer["conditions"]]), drawn[:, 1])
    assert {row["energy"] for row in answer["conditions"]} == {2.0}


def test_the_fields_of_json(server: Server) -> None:
    answer = server.samples(**IMAGES, seed=1).json()
    assert set(answer) == {
        "model", "version", "n", "seed", "offset", "truncation", "synthetic", "media_type", "samples", "labels",
        "conditions",
    }  # fmt: skip


def test_the_seed_is_told_where_it_says_anything(server: Server) -> None:
    whole = server.samples(**IMAGES, latents=some_latents(2))
    assert "Latentserve-Seed" not in whole.headers
    assert not {"seed", "offset", "truncation"} & set(whole.json())
    noise = server.samples(**IMAGES, latents=some_latents(2, WIDTH))
    assert noise.headers["Latentserve-Seed"] == str(noise.json()["seed"])
    assert noise.json()["offset"] == 0
    assert "truncation" not in noise.json()
    again = server.samples(**IMAGES, latents=some_latents(2, WIDTH), seed=noise.json()["seed"])
    assert again.json()["samples"] == noise.json()["samples"]
    # A picture's marks are what it can be made again from, and the seed of the noise alone is not.
    marks = Image.open(io.BytesIO(base64.b64decode(noise.json()["samples"][0]))).text  # type: ignore[attr-defined]
    assert "Seed" not in marks
    assert marks["Model"] == "shower"


@pytest.mark.parametrize("fields", CASES[-4:], ids=lambda fields: str(fields)[:60])
def test_every_media_type_of_pictures(server: Server, shower: OpenedBundle, fields: dict[str, Any]) -> None:
    rows = shower.sample(**fields)
    pixels = to_uint8(rows, (-1, 1))

    def ask(accept: str | None, **more: object) -> httpx.Response:
        answer = server.samples(accept=accept, **IMAGES, deterministic=True, **fields, **more)
        assert answer.status_code == 200, answer.text[:500]
        return answer

    assert np.array_equal(np.frombuffer(ask(RAW).content, "<f4").reshape(rows.shape), rows)
    assert np.array_equal(array(ask(NPY, dtype="uint8")), pixels)
    for accept in (PNG, WEBP):
        sheet = np.asarray(Image.open(io.BytesIO(ask(accept).content)).convert("L"))
        assert np.array_equal(sheet, contact_sheet(pixels)[0])
    pictures = [Image.open(io.BytesIO(base64.b64decode(text))) for text in ask(None).json()["samples"]]
    assert np.array_equal(np.stack([np.asarray(picture) for picture in pictures])[:, None], pixels)


def test_every_media_type_of_tables_and_sounds(server: Server, bundles: dict[str, Path]) -> None:
    fields: dict[str, Any] = {"n": 3, "seed": 5, "condition": {"energy": 30}, "label": "photon"}

    def ask(model: str, accept: str | None) -> httpx.Response:
        return server.samples(accept=accept, model=model, deterministic=True, **fields)

    rows = open_bundle(bundles["tracks"]).sample(**fields)
    assert np.array_equal(np.float32(ask("tracks", None).json()["samples"]), rows)
    lines = list(csv.reader(io.StringIO(ask("tracks", CSV).text)))
    assert lines[0] == ["x", "y", "e"]
    assert np.array_equal(np.float32([[float(value) for value in line] for line in lines[1:]]), rows)
    pa = pytest.importorskip("pyarrow", reason="needs latentserve[tables]")
    table = pa.ipc.open_stream(ask("tracks", ARROW).content).read_all()
    assert np.array_equal(np.stack([column.to_numpy() for column in table.columns], axis=1), rows)
    rows = open_bundle(bundles["sounds"]).sample(**fields)
    sound = to_int16(rows, (-1, 1)).transpose(0, 2, 1).astype("<i2").tobytes()
    assert ask("sounds", WAV).content.endswith(sound)


def test_a_generators_inputs_are_described(server: Server) -> None:
    listed = {model["name"]: model for model in server.http.get("/v1/models").json()["models"]}
    for found in (listed["shower"], server.http.get("/v1/models/shower").json()):
        assert [(one["name"], one.get("unit"), one["range"], one["prior"]) for one in found["conditions"]] == [
            ("energy", "GeV", [0.1, 100], "log-uniform"),
            ("angle", None, [-0.7, 0.7], "uniform"),
        ]
        parts = found["latent"]["parts"]
        assert [(part["name"], part["shape"], part["noise"]) for part in parts] == [
            ("z", [4], False),
            ("phase", [3], False),
            ("noise", [1, 5], True),
        ]
        assert (parts[1]["prior"], parts[1]["shift"], parts[1]["scale"]) == ("uniform", 0.5, 0.5)


def test_load_on_a_server_of_it(bundles: dict[str, Path]) -> None:
    """Beside the bare engine, which takes the same inputs."""
    engine = BareEngine(read_bundle(bundles["shower"]), threads=1)
    assert engine.samples_per_second(64, 0.05) > 0
    with Server(bundles["shower"]) as alone:
        target = Target(alone.url)
        target.check(4)
        load = closed_loop(target.address, target.requests(4), connections=2, seconds=0.3)
    assert load.answers > 0
    assert load.failed == 0


# The other ways in.


def test_bentomls_route_takes_a_condition(server: Server) -> None:
    fields: dict[str, Any] = {**IMAGES, "n": 2, "seed": 5, "condition": {"energy": 30}, "label": "photon"}
    expected = server.samples(**fields).json()
    assert server.http.post("/sample", json=fields).json() == expected
    with bentoml.SyncHTTPClient(server.url) as client:
        assert client.sample(**fields) == expected
    for wrong in (101, "50", True, None):
        answer = server.http.post("/sample", json={**fields, "condition": {"energy": wrong}})
        assert_problem(answer, 422, "invalid-field", "condition.energy")


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("condition[1]", {"condition": {1: 2}}),
        ("condition", {"condition": {None: 2}}),
        ("condition", {"condition": [("energy", 5)]}),
        ("condition.energy", {"condition": {"energy": np.True_}}),
        ("condition.energy", {"condition": {"energy": np.array([5.0])}}),
        ("condition.energy", {"condition": {"energy": np.float64("nan")}}),
        ("conditions[0]", {"conditions": np.array([[5.0, 0.0]])}),
        ("conditions", {"conditions": iter([{}])}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_only_python_can_ask_for(shower: OpenedBundle, field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidError) as refused:
        shower.sample(**fields)
    assert refused.value.field == field


def test_numpys_values_and_any_mapping_are_taken(shower: OpenedBundle) -> None:
    expected = shower.sample(seed=1, conditions=[{"energy": 5}, {}])
    asked = [MappingProxyType({"energy": np.float32(5)}), {}]
    for conditions in (asked, tuple(asked), np.array(asked, object), [{"energy": np.array(5)}, {}]):
        assert np.array_equal(shower.sample(seed=1, conditions=conditions), expected)


NONSENSE: list[tuple[str, str, dict[str, Any]]] = [
    ("shower", "condition", {"condition": 50}),
    ("shower", "condition", {"condition": {}, "conditions": [{}]}),
    ("shower", "condition.energy", {"condition": {"energy": 100.01}}),
    ("shower", "condition.energy", {"condition": {"energy": float("nan")}}),
    ("shower", "condition.energy", {"condition": {"energy": -float("inf")}}),
    ("shower", "condition.energy", {"condition": {"energy": "50"}}),
    ("shower", "condition.energy", {"condition": {"energy": True}}),
    ("shower", "condition.energy", {"condition": {"energy": None}}),
    ("shower", "condition.energy", {"condition": {"energy": {"energy": 50}}}),
    ("shower", "condition.Energy", {"condition": {"Energy": 50}}),
    ("shower", "condition." + "x" * 100, {"condition": {"x" * 100_000: 50}}),
    ("shower", "condition.'\\x00\\n'", {"condition": {"\0\n": 50}}),
    ("shower", "conditions", {"conditions": []}),
    ("shower", "conditions[1]", {"conditions": [{}, 50]}),
    ("shower", "conditions[3].energy", {"conditions": [{}, {}, {}, {"energy": 0}]}),
    ("shower", "conditions", {"conditions": [{}, {}], "labels": [0]}),
    ("shower", "n", {"conditions": [{}, {}], "n": 1}),
    ("shower", "latents[0]", {"latents": [[0] * (DIM - 1)]}),
    ("shower", "latents[1]", {"latents": [[0] * DIM, [0] * WIDTH]}),
    ("shower", "seed", {"latents": [[0] * DIM], "seed": 1}),
    ("shower", "truncation", {"latents": [[0] * WIDTH], "truncation": 0.5}),
    ("shower", "energy", {"energy": 50}),
]


@pytest.mark.parametrize(("model", "field", "fields"), NONSENSE, ids=[str(fields)[:50] for _, _, fields in NONSENSE])
def test_nonsense(server: Server, model: str, field: str, fields: dict[str, Any]) -> None:
    before = server.worker_pids()
    content = json.dumps({"model": model, **fields}).encode()
    answer = server.http.post("/v1/samples", content=content, headers={"Content-Type": "application/json"})
    assert_problem(answer, 422, "invalid-field", field)
    assert server.samples(**IMAGES, seed=1).status_code == 200
    assert server.worker_pids() == before


def test_a_refusal_tells_the_range(server: Server) -> None:
    assert server.samples(**IMAGES, condition={"energy": 0.05}).json()["detail"] == (
        "condition.energy: is 0.05; the model's range is 0.1 to 100 GeV"
    )


def test_a_large_body_of_conditions(server: Server) -> None:
    """70,000 objects, which are just under a mebibyte."""
    n = 70_000
    content = b'{"model":"tracks","seed":1,"conditions":[' + b'{"energy":50},' * (n - 1) + b"{}]}"
    headers = {"Content-Type": "application/json", "Accept": RAW}
    rows = np.frombuffer(server.http.post("/v1/samples", content=content, headers=headers).content, "<f4")
    fields = {"seed": 1, "offset": n - 3, "conditions": [{"energy": 50}, {"energy": 50}, {}]}
    assert np.array_equal(rows.reshape(n, 3)[-3:], array(server.samples(model="tracks", accept=NPY, **fields)))


def test_bodies_of_arrays_ask_for_what_json_asks_for(server: Server) -> None:
    """And the query holds the other fields."""
    latents, labels = np.array(some_latents(5)), np.array(["pion", "photon", "pion", "photon", "electron"])
    conditions = np.array([[50, 0.1]] * 5)
    query = {"model": "shower", "dtype": "uint8", "deterministic": "true"}
    fields = {"model": "shower", "dtype": "uint8", "deterministic": True, "latents": latents.tolist()}

    def sent(media: str, content: bytes, **more: object) -> httpx.Response:
        headers = {"Content-Type": media, "Accept": NPY}
        return server.http.post("/v1/samples", content=content, headers=headers, params={**query, **more})

    file = io.BytesIO()
    np.save(file, latents)
    for_all = {"label": "pion", "condition": {"energy": 50}}
    answer = sent("application/x-npy", file.getvalue(), label="pion", **{"condition.energy": 50})
    assert "latentserve-seed" not in answer.headers
    # What is left out of the conditions is drawn by the seed, which is each request's own.
    for_all["condition"] = {"energy": 50, "angle": 0.1}
    answer = sent("application/x-npy", file.getvalue(), label=2, **{"condition.energy": 50, "condition.angle": 0.1})
    assert np.array_equal(array(answer), array(server.samples(accept=NPY, **fields, **for_all)))
    file = io.BytesIO()
    np.savez_compressed(file, latents=latents, labels=labels, conditions=conditions)
    each = {"labels": labels.tolist(), "conditions": [{"energy": 50, "angle": 0.1}] * 5}
    expected = array(server.samples(accept=NPY, **fields, **each))
    for media in ("application/zip", "application/x-npz"):
        assert np.array_equal(array(sent(media, file.getvalue())), expected)


def test_a_large_body_of_latents(server: Server) -> None:
    """8 MB of them, and a long list of them in JSON."""
    latents = np.random.default_rng(0).uniform(0, 1, (170_000, DIM)).astype(np.float32)
    file = io.BytesIO()
    np.save(file, latents)
    headers = {"Content-Type": NPY, "Accept": RAW}
    query = {"model": "tracks", "label": "pion", "condition.energy": 1, "condition.angle": 0}
    answer = server.http.post("/v1/samples", content=file.getvalue(), headers=headers, params=query)
    assert answer.status_code == 200
    rows = np.frombuffer(answer.content, "<f4").reshape(-1, 3)
    fields = {"model": "tracks", "label": "pion", "condition": {"energy": 1, "angle": 0}}
    few = latents[-3000:].astype(float).tolist()
    assert np.allclose(array(server.samples(accept=NPY, latents=few, **fields)), rows[-3000:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("media", "content", "status", "slug", "field"),
    [
        ("application/x-npy", b"{}", 400, "malformed-arrays", None),
        ("application/zip", b"{}", 400, "malformed-arrays", None),
        ("application/x-npy", bytes((16 << 20) + 1), 413, "too-large", None),
        ("application/json", b"{" + b" " * (1 << 20) + b"}", 413, "too-large", None),
        ("application/json", b'{"latents": [' + b"[0]," * 9000 + b"[0,]]}", 400, "malformed-json", None),
        ("application/json", b'{"latents": [' + b"[0]," * 9000 + b"[null]]}", 422, "invalid-field", "latents[9000][0]"),
    ],
    ids=range(6),
)
def test_bodies_that_are_refused(
    server: Server, media: str, content: bytes, status: int, slug: str, field: str | None
) -> None:
    query = {} if media == "application/json" else {"model": "shower"}
    if media == "application/json" and len(content) < 1 << 20:
        content = content[:1] + b'"model": "shower", ' + content[1:]
    answer = server.http.post("/v1/samples", content=content, headers={"Content-Type": media}, params=query)
    assert_problem(answer, status, slug, field)


def test_a_query_beside_a_json_body_is_refused(server: Server) -> None:
    answer = server.http.post("/v1/samples?n=5", json={"model": "shower"})
    assert_problem(answer, 422, "invalid-field", "n")


def test_a_body_in_gzip(server: Server) -> None:
    content = b'{"model": "shower", "seed": 1, "n": 2}'
    headers = {"Accept": RAW, "Content-Type": "application/json"}
    plain = server.http.post("/v1/samples", content=content, headers=headers)
    coded = server.http.post(
        "/v1/samples", content=gzip.compress(content), headers={**headers, "Content-Encoding": "gzip"}
    )
    assert coded.status_code == 200
    assert coded.content == plain.content
    bomb = gzip.compress(b" " * (2 << 20))
    answer = server.http.post("/v1/samples", content=bomb, headers={**headers, "Content-Encoding": "gzip"})
    assert_problem(answer, 413, "too-large")
    answer = server.http.post("/v1/samples", content=content, headers={**headers, "Content-Encoding": "br"})
    assert answer.status_code == 415
    assert answer.headers["Accept-Encoding"] == "gzip, deflate"


def test_tritons_client(server: Server, shower: OpenedBundle) -> None:
    """Each thing that a row can be made from, as tensors and as parameters."""
    z = draw_latents(SHOWER_LATENT, 3, 0, 3)
    energies = np.array([[1, 0.1], [50, 0.25], [99.5, -0.5]], np.float32)
    rows = [{"energy": float(energy), "angle": float(angle)} for energy, angle in energies]
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        inputs = client.get_model_metadata("shower")["inputs"]
        assert inputs[2] == {"name": "condition", "datatype": "FP32", "shape": [-1, 2]}
        labels = np.array([0, 1, 2])
        given = [tensor("condition", energies), tensor("z", z, binary=False), tensor("label", labels)]
        result = client.infer("shower", given, parameters={"deterministic": True})
        assert np.array_equal(result.as_numpy("sample"), shower.sample(latents=z, labels=labels, conditions=rows))
        parameters = result.get_response()["parameters"]
        assert parameters["labels"] == "0,1,2"
        assert parameters["conditions.energy"] == "1.0,50.0,99.5"
        assert np.array_equal(np.array(parameters["conditions.angle"].split(","), np.float32), energies[:, 1])

        width = SHOWER_LATENT.width
        asked = {"seed": 5, "deterministic": True, "condition.energy": 50, "label": "pion"}
        result = client.infer("shower", [tensor("z", z[:, :width])], parameters=asked)
        expected = shower.sample(latents=z[:, :width], seed=5, condition={"energy": 50}, label="pion")
        assert np.array_equal(result.as_numpy("sample"), expected)
        assert result.get_response()["parameters"]["seed"] == 5

        asked = {"seed": 5, "n": 2, "condition": {"energy": 50}, "deterministic": True}
        result = client.infer("shower", [], parameters=asked)
        assert np.array_equal(result.as_numpy("sample"), shower.sample(n=2, seed=5, condition={"energy": 50}))
        with pytest.raises(InferenceServerException, match=r"condition\[1\].energy: is 101.0"):
            client.infer("shower", [tensor("condition", np.array([[1, 0], [101, 0]], np.float32))])
        with pytest.raises(InferenceServerException, match="condition: has 3 columns; the model has 2"):
            client.infer("shower", [tensor("condition", np.zeros((1, 3), np.float32))])
