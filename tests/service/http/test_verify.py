"""`POST /v1/verify`: a file that was served comes back."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from latentserve.service.commands.verify import verify
from tests.server import Server

ROWS = {"model": "toy", "n": 3, "seed": 7, "offset": 5, "truncation": 0.8}


def verified(server: Server, content: bytes, query: str = "", **headers: str) -> dict[str, Any]:
    answer = server.http.post(f"/v1/verify{query}", content=content, headers={"Content-Type": "image/png", **headers})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


@pytest.mark.parametrize("form", ["png", "webp", "npy", "npz", "json", "ndjson", "arrow", "parquet", "zip"])
def test_what_is_served_is_exact(form: str, server: Server, bundle: Path, tmp_path: Path):
    """By the route and by the command."""
    for asked in ({}, {"label": 3}, {"labels": [1, 2, 3]}):
        answer = server.samples(**ROWS, **asked, format=form)
        headers, mark = {}, answer.headers.get("Latentserve-Mark")
        if mark is not None:
            told = json.loads(mark)
            assert (told["model"], told["synthetic"]) == ("toy", True)
            if told.pop("untold", None):  # a list of a few rows has a header of its own
                told["labels"] = json.loads(answer.headers["Latentserve-Labels"])
            headers["Latentserve-Mark"] = mark = json.dumps(told)
        told = verified(server, answer.content, "?model=toy", **headers)
        assert (told["verdict"], told["rests_on"], told["distance"]) == ("exact", ["mark"], 0), told
        assert (told["model"], told["seed"], told["row"], told["n"]) == ("toy", 7, 5, 3)
    file = tmp_path / "file"
    file.write_bytes(answer.content)
    done = CliRunner().invoke(
        verify, [str(file), "--bundle", str(bundle), "--json", *(["--mark", mark] if mark else [])]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.output) == told


@pytest.mark.parametrize("form", ["png", "gif", "webp", "zip"])
@pytest.mark.parametrize("way", ["interpolations", "variations"])
def test_rows_that_were_worked_out_are_exact(way: str, form: str, server: Server):
    fields: dict[str, Any] = {"seed": 7, "row": 2, "n": 4, "strength": 0.1}
    if way == "interpolations":
        fields = {"ends": [{"seed": 7}, {"seed": 8, "row": 3, "label": 2}], "frames": 5}
    elif form == "gif":
        return
    answer = server.http.post(f"/v1/{way}", json={"model": "toy", "format": form, **fields})
    assert answer.status_code == 200, answer.text
    assert verified(server, answer.content)["verdict"] == "exact"
    if form == "zip":
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert verified(server, archive.read("000003.png"))["verdict"] == "exact"


def test_rows_that_were_found_are_exact(server: Server):
    where = {"$label": {"in": ["digit 3", "digit 7"]}}
    for form in ("png", "webp", "zip", "npz"):
        answer = server.samples(model="toy", n=5, seed=7, where=where, format=form)
        assert verified(server, answer.content)["verdict"] == "exact", form


def test_what_is_not_served_is_told(server: Server):
    assert verified(server, b'{"samples": [], "a": 1}')["verdict"] == "no"
    made = server.samples(**ROWS, format="json").json() | {"model": "other"}
    told = verified(server, json.dumps(made).encode())
    assert (told["verdict"], told["model"], told["seed"]) == ("no", "other", 7)
    assert "other" in told["why"]
    older = server.samples(**ROWS, format="json").json() | {"version": "000000000000"}
    assert "is not here" in verified(server, json.dumps(older).encode())["why"]


@pytest.mark.parametrize(
    ("query", "content", "headers", "status", "word"),
    [
        ("", b"hello", {}, 422, "it is none of what is read"),
        ("", b"", {}, 422, "it is empty"),
        ("?model=other", b'{"sample": 1, "row": 0, "seed": 1}', {}, 404, "other"),
        ("?colour=red", b"{}", {}, 422, "colour"),
        ("", b"{}", {"Latentserve-Mark": "[1]"}, 422, "mark"),
        ("", b"{}", {"Latentserve-Mark": '{"n": 0}'}, 422, "mark"),
        ("", bytes((16 << 20) + 1), {}, 413, "16777216"),
    ],
)
def test_bad_input(query: str, content: bytes, headers: dict[str, str], status: int, word: str, server: Server):
    answer = server.http.post(f"/v1/verify{query}", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert word in answer.json()["detail"]


def test_what_would_be_inflated_without_end_is_refused(server: Server):
    headers = {"Content-Encoding": "gzip"}
    answer = server.http.post("/v1/verify", content=gzip.compress(bytes(17 << 20), 1), headers=headers)
    assert answer.status_code == 413
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("samples.npy", b"\x93NUMPY" + bytes(65 << 20))
    answer = server.http.post("/v1/verify", content=packed.getvalue())
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:problem-type:latentserve:too-large")


def test_the_command_says_what_it_cannot_read(bundle: Path, tmp_path: Path):
    file = tmp_path / "file"
    file.write_bytes(b"hello")
    for path in (file, tmp_path / "missing", tmp_path):
        done = CliRunner().invoke(verify, [str(path), "--bundle", str(bundle)])
        assert done.exit_code == 2
        assert done.output.startswith(f"latentserve: {path}: ")
    file.write_bytes(b'{"samples": []}')
    assert CliRunner().invoke(verify, [str(file), "--bundle", str(bundle)]).exit_code == 1
