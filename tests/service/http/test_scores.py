"""Scores of samples that a client sends, over a socket."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latentserve.service.bundle import Column, numbers_of, plain, typed
from latentserve.service.errors import InvalidError
from latentserve.service.opened import open_bundle
from tests.server import Server

NPY, NPZ = {"Content-Type": "application/x-npy"}, {"Content-Type": "application/x-npz"}


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def png(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def test_every_form_has_the_scores_of_the_critic(server: Server, bundle: Path) -> None:
    opened = open_bundle(bundle)
    labels = [3, 1, 4, 1, 5]
    samples = opened.sample(seed=7, labels=labels)
    expected = opened.score(samples, labels=labels)
    assert expected.shape == (5,)
    assert len(set(expected.tolist())) == 5
    assert np.allclose(
        opened.score(np.repeat(samples, 60, axis=0), labels=np.repeat(labels, 60)), np.repeat(expected, 60)
    )
    told = server.http.post("/v1/scores?model=toy", content=npz(samples=samples, labels=labels), headers=NPZ)
    assert told.status_code == 200, told.text
    assert told.json()["model"] == told.headers["Latentserve-Model"] == "toy"
    assert np.allclose(told.json()["scores"], expected, atol=1e-5)
    nested = {"model": "toy", "samples": samples.tolist(), "labels": ["digit 3", 1, 4, 1, 5]}
    assert np.allclose(server.http.post("/v1/scores", json=nested).json()["scores"], expected, atol=1e-5)
    one = server.http.post(
        "/v1/scores?model=toy&label=digit%203&format=npy", content=npy(samples[:1].astype(np.float64)), headers=NPY
    )
    assert np.allclose(np.load(io.BytesIO(one.content)), expected[:1], atol=1e-5)


def test_pictures_are_scored_as_bytes_and_as_files(server: Server) -> None:
    answer = server.samples(model="toy", n=3, seed=7, label=2)
    pictures = answer.json()["samples"]
    values = np.stack([np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in pictures])
    files = server.http.post("/v1/scores", json={"model": "toy", "label": 2, "samples": pictures}).json()["scores"]
    of_bytes = server.http.post("/v1/scores?model=toy&label=2", content=npy(values[:, None]), headers=NPY).json()
    assert files == of_bytes["scores"]
    floats = server.samples(model="toy", n=3, seed=7, label=2, accept="application/x-npy").content
    exact = server.http.post("/v1/scores?model=toy&label=2", content=floats, headers=NPY).json()["scores"]
    assert np.allclose(files, exact, atol=0.05)


def test_long_bodies_are_what_they_are_in_parts(server: Server, bundle: Path) -> None:
    labels = [row % 10 for row in range(120)]
    samples = open_bundle(bundle).sample(seed=7, labels=labels)
    expected = open_bundle(bundle).score(samples, labels=labels)

    def scores(**body: Any) -> Any:
        answer = server.http.post("/v1/scores", json={"model": "toy", **body})
        return answer.json().get("scores", answer.json().get("field"))

    assert np.allclose(scores(samples=samples.tolist(), labels=labels), expected, atol=1e-5)
    values = np.rint((samples[:, 0] + 1) * 127.5).clip(0, 255).astype(np.uint8)
    files = [png(one) for one in values]
    assert len("".join(files)) > 1 << 14
    exact = server.http.post(
        "/v1/scores?model=toy", content=npz(samples=values[:, None], labels=labels), headers=NPZ
    ).json()["scores"]
    assert np.allclose(scores(samples=files, labels=labels), exact, atol=1e-5)
    wrong = samples.tolist()
    wrong[100][0][0][3] = "x"
    assert scores(samples=wrong, labels=labels) == "samples"
    assert scores(samples=[*files[:100], "x", *files[:19]], labels=labels) == "samples[100]"
    assert scores(samples=[*samples.tolist()[:100], [[1]]], label=3) == "samples"
    assert scores(samples=samples.tolist(), labels=labels[:-1]) == "n"
    assert scores(samples=samples.tolist(), label=3, colour="red") == "colour"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"model": "plain", "samples": [[0.0] * 6]}, "model"),
        ({"samples": []}, "samples"),
        ({"samples": [[1, 2], [3]]}, "samples"),
        ({"samples": [{"a": 1}]}, "samples"),
        ({"samples": [["a"]]}, "samples"),
        ({"samples": [[[[0.0] * 8] * 7]]}, "samples"),
        ({"samples": [[[[0.0] * 8] * 8]]}, "label"),
        ({"samples": [[[[1e99] * 8] * 8]], "label": 1}, "samples[0]"),
        ({"samples": [[[[0.0] * 8] * 8]], "label": 11}, "label"),
        ({"samples": [[[[0.0] * 8] * 8]], "labels": [1, 2]}, "n"),
        ({"samples": ["a"], "label": 1}, "samples[0]"),
        ({"samples": [base64.b64encode(b"no file").decode()], "label": 1}, "samples[0]"),
        ({"samples": [png(np.zeros((9, 8), np.uint8))], "label": 1}, "samples[0]"),
        ({"samples": [png(np.zeros((8, 8, 3), np.uint8))], "label": 1}, "samples[0]"),
        ({"samples": [png(np.zeros((8, 8), np.uint8)), 7], "label": 1}, "samples[1]"),
        ({"samples": [[[[0.0] * 8] * 8]], "seed": 1}, "seed"),
    ],
)
def test_what_is_wrong_is_named(server: Server, body: dict[str, Any], field: str) -> None:
    answer = server.http.post("/v1/scores", json={"model": "toy", **body})
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"] == field, answer.text


def test_what_is_no_array_of_samples_is_refused(server: Server) -> None:
    def post(content: bytes, **headers: str) -> tuple[int, str | None]:
        answer = server.http.post("/v1/scores?model=toy&label=1", content=content, headers=headers or NPY)
        return answer.status_code, answer.json().get("field")

    assert post(b"no array") == (400, None)
    assert post(npy(np.zeros((1, 1, 8, 8), np.int32))) == (422, "samples")
    assert post(npy(np.zeros((0, 1, 8, 8), np.float32))) == (422, "samples")
    assert post(npz(labels=[1]), **NPZ) == (422, "samples")
    assert post(npz(latents=[[1.0]]), **NPZ)[0] == 422
    assert post(b"{}", **{"Content-Type": "text/csv"})[0] == 415


def test_rows_of_a_table_are_read_as_they_are_served() -> None:
    columns = [
        Column(name="age", type="int64"),
        Column(name="job", type="string", categories=["clerk", "nurse", None]),
        Column(name="wage", type="float64", decimals=1, missing=-1),
    ]
    samples = np.array([[30, 1, 2.5], [41, 2, -1], [7, 0, 0]], np.float32)
    rows = [list(row) for row in zip(*(plain(typed(samples[:, k], c)) for k, c in enumerate(columns)), strict=True)]
    assert rows[1] == [41, None, None]
    assert np.array_equal(numbers_of(rows, columns), samples)
    assert np.array_equal(
        numbers_of([dict(zip(("age", "job", "wage"), row, strict=True)) for row in rows], columns), samples
    )
    for row in ([1, "baker", 1], [None, "nurse", 1], [1, "nurse"], "row", {"age": 1}, [True, "nurse", 1], [1, [], 1]):
        with pytest.raises(InvalidError, match=r"^samples\[0\]"):
            numbers_of([row], columns)
