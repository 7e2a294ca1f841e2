"""Paths and variations over a socket, of the server that tests share."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image, ImageSequence

from latentserve.service.opened import open_bundle
from tests.server import Server

TWO = [{"seed": 7, "row": 3}, {"seed": 8}]


def ask(server: Server, route: str, *, accept: str | None = None, query: str = "", **body: Any) -> httpx.Response:
    headers = {} if accept is None else {"Accept": accept}
    return server.http.post(f"/v1/{route}{query}", json={"model": "toy", **body}, headers=headers)


def rows(server: Server, route: str, **body: Any) -> np.ndarray:
    answer = ask(server, route, accept="application/x-npy", deterministic=True, **body)
    assert answer.status_code == 200, answer.text
    found: np.ndarray = np.load(io.BytesIO(answer.content))
    return found


def sample(server: Server, seed: int, row: int) -> np.ndarray:
    answer = server.samples(model="toy", seed=seed, offset=row, deterministic=True, accept="application/x-npy")
    found: np.ndarray = np.load(io.BytesIO(answer.content))
    return found[0]


def test_the_ends_are_rows_of_samples_and_parts_are_the_whole(server: Server, bundle: Path) -> None:
    whole = rows(server, "interpolations", ends=TWO, frames=300)
    assert whole.shape == (300, 1, 8, 8)
    assert np.allclose(whole[0], sample(server, 7, 3), atol=1e-5)
    assert np.allclose(whole[-1], sample(server, 8, 0), atol=1e-5)
    parts = [rows(server, "interpolations", ends=TWO, frames=300, offset=at, n=100) for at in (0, 100, 200)]
    assert np.array_equal(np.concatenate(parts), whole)
    opened = open_bundle(bundle)
    assert np.allclose(opened.interpolate(TWO, frames=300), whole, atol=1e-5)
    assert np.allclose(
        opened.vary(seed=7, row=3, n=5, strength=0.3),
        rows(server, "variations", seed=7, row=3, n=5, strength=0.3),
        atol=1e-5,
    )


def test_a_thousand_ends(server: Server) -> None:
    """In a body that is read in pieces."""
    ends: list[dict[str, Any]] = [{"seed": number, "row": number % 7, "label": number % 10} for number in range(999)]
    ends.append({"latent": [0.5] * 8, "label": "digit 3"})
    found = rows(server, "interpolations", ends=ends, frames=1000, offset=998, n=2)
    asked = server.samples(
        model="toy", seed=998, offset=998 % 7, label=8, deterministic=True, accept="application/x-npy"
    )
    assert np.allclose(found[0], np.load(io.BytesIO(asked.content))[0], atol=1e-5)
    for wrong, field in (
        ([*ends, ends[0]], "ends"), ([*ends[:900], 7], "ends[900]"), ([*ends[:900], {"seed": -1}], "ends[900].seed"),
        ([*ends[:900], {"sed": 1}], "ends[900].sed"),
    ):  # fmt: skip
        answer = ask(server, "interpolations", ends=wrong, frames=2000)
        assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_json_tells_frames_and_labels(server: Server) -> None:
    ends = [{"seed": 7, "label": "digit 3"}, {"seed": 8, "label": 5}]
    told = ask(server, "interpolations", ends=ends, frames=4).json()
    assert (told["n"], told["labels"]) == (4, ["digit 3", "digit 3", "digit 5", "digit 5"])
    assert len(told["samples"]) == 4
    lines = ask(server, "interpolations", ends=ends, frames=4, offset=2, format="ndjson").text.splitlines()
    assert ['"row":2' in lines[0], '"row":3' in lines[1], len(lines)] == [True, True, 2]
    told = ask(server, "variations", seed=7, label=3, n=2).json()
    assert told["labels"] == ["digit 3", "digit 3"]


@pytest.mark.parametrize(("accept", "form"), [("image/webp", "WEBP"), ("image/gif", "GIF")])
def test_an_animation_has_the_frames(server: Server, accept: str, form: str) -> None:
    answer = ask(server, "interpolations", accept=accept, ends=TWO, frames=6, fps=20)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, accept)
    assert answer.headers["Latentserve-Model"] == "toy"
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert (picture.format, picture.size, picture.n_frames) == (form, (8, 8), 6)
        picture.load()
        assert (picture.info["duration"], picture.info["loop"]) == (50, 0)
        said = picture.info["xmp"] if form == "WEBP" else answer.content.split(b"XMP DataXMP")[1].split(b"\x01\xff")[0]
        assert b"trainedAlgorithmicMedia" in said
        shown = np.stack([np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(picture)])
    bytes_of = rows(server, "interpolations", ends=TWO, frames=6, dtype="uint8")[:, 0]
    assert np.abs(shown.astype(int) - bytes_of).max() <= 1
    named = ask(server, "interpolations", query=f"?format={form.lower()}", ends=TWO, frames=6, fps=20)
    assert named.content == answer.content


def test_a_contact_sheet_and_an_archive(server: Server) -> None:
    sheet = ask(server, "interpolations", accept="image/png", ends=TWO, frames=4)
    with Image.open(io.BytesIO(sheet.content)) as picture:
        assert picture.size == (18, 18)
    assert ask(server, "variations", accept="image/webp", seed=1, n=4).headers["Content-Type"] == "image/webp"
    assert ask(server, "interpolations", ends=TWO, frames=4, format="zip").content[:2] == b"PK"


def test_what_is_no_picture_has_no_animation(server: Server) -> None:
    ends = [{"seed": 7}, {"latent": [0.1] * 5}]
    assert ask(server, "interpolations", accept="image/gif", model="plain", ends=ends).status_code == 406
    told = ask(server, "interpolations", model="plain", ends=ends, frames=3).json()
    assert len(told["samples"][1]) == 6


@pytest.mark.parametrize(
    ("route", "body", "status", "field"),
    [
        ("interpolations", {}, 422, "ends"),
        ("interpolations", {"ends": TWO, "fps": 5}, 422, "fps"),
        ("interpolations", {"ends": TWO, "fps": 500, "format": "gif"}, 422, "fps"),
        ("interpolations", {"ends": [{"seed": 7}, {"seed": -1}]}, 422, "ends[1].seed"),
        ("interpolations", {"ends": [7, 8]}, 422, "ends[0]"),
        ("interpolations", {"ends": TWO, "frames": 1_000_001}, 413, None),
        ("interpolations", {"ends": TWO, "frames": 400_000, "format": "gif"}, 413, None),
        ("interpolations", {"ends": TWO, "format": "tiff"}, 422, "format"),
        ("interpolations", {"ends": TWO, "where": {}}, 422, "where"),
        ("variations", {}, 422, "seed"),
        ("variations", {"seed": 1, "strength": 2}, 422, "strength"),
        ("variations", {"seed": 1, "format": "gif"}, 422, "format"),
        ("variations", {"seed": 1, "n": 2_000_000}, 413, None),
    ],
)
def test_what_is_refused(server: Server, route: str, body: dict[str, Any], status: int, field: str | None) -> None:
    answer = ask(server, route, **body)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json().get("field") == field, answer.text


def test_derived_rows_are_not_taken_for_latents_that_a_client_sent(server: Server) -> None:
    def sent() -> float:
        return server.metric("input_signal_bin_total", model="toy")

    before, made = sent(), server.metric("samples_total", model="toy", arm="client")
    rows(server, "interpolations", ends=TWO, frames=40)
    server.wait_for(lambda: server.metric("samples_total", model="toy", arm="client") >= made + 40)
    assert sent() == before
