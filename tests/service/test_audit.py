"""The account of a server of two workers: whatever was sent is in it, and is made again."""

from __future__ import annotations

import io
import json
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

from latentserve.service.auditing.trail import Line, Trail
from latentserve.service.cli import cli
from latentserve.service.encoding.document import RAW
from tests.conftest import make_shower
from tests.server import Server


class Audited:
    """A server that keeps an account."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.folder = server, folder

    def lines(self, id_: str) -> list[Line]:
        return list(Trail(self.folder).of_request(id_))

    def again(self, bundle: Path, out: Path, *words: str) -> Any:
        command = ["audit", str(self.folder), "--recreate", str(bundle), "--out", str(out), *words]
        return CliRunner().invoke(cli, command)


@pytest.fixture(scope="module")
def audited(bundle: Path, shower_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    folder = tmp_path_factory.mktemp("audit") / "account"
    with Server(bundle, shower_bundle, workers=2, audit=folder, cache_bytes=1 << 20) as running:
        yield Audited(running, folder)


LATENTS = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32).round(3)
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "a seed that the server drew": ("toy", {"n": 3}),
    "rows of a seed": ("toy", {"n": 5, "seed": 7, "offset": 100, "truncation": 0.7}),
    "a label": ("toy", {"n": 5, "seed": 7, "label": "digit 3"}),
    "labels": ("toy", {"n": 3, "seed": 7, "labels": [1, "digit 2", 3]}),
    "many labels": ("toy", {"seed": 7, "labels": [number % 10 for number in range(400)]}),
    "latents": ("toy", {"latents": LATENTS[:2].tolist(), "label": 2}),
    "many latents": ("toy", {"latents": LATENTS.tolist()}),
    "piece by piece": ("toy", {"n": 3000, "seed": 8}),
    "bit for bit": ("toy", {"n": 70, "seed": 8, "offset": 5, "deterministic": True}),
    "chosen": ("toy", {"n": 4, "seed": 9, "where": {"$label": {"in": ["digit 1", "digit 2"]}}}),
    "balanced": ("toy", {"n": 10, "seed": 9, "balance": "$label"}),
    "the best": ("toy", {"n": 2, "seed": 9, "select": {"of": 4}}),
    "conditions": ("shower", {"n": 3, "seed": 7, "condition": {"energy": 50}}),
    "conditions of each": ("shower", {"seed": 7, "conditions": [{"energy": 5}, {}, {"energy": 7, "angle": 0.1}]}),
    "noise": ("shower", {"seed": 7, "latents": [[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]] * 2}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_was_sent_is_made_again(
    audited: Audited, bundle: Path, shower_bundle: Path, tmp_path: Path, kind: str
) -> None:
    model, body = KINDS[kind]
    answer = audited.server.samples(accept=RAW, model=model, **body)
    assert answer.status_code == 200, answer.text
    again = made_again(audited, answer, {"toy": bundle, "shower": shower_bundle}[model], tmp_path)
    served = np.frombuffer(answer.content, np.float32).reshape(again.shape)
    assert np.allclose(served, again, atol=1e-5)
    if body.get("deterministic"):
        assert np.array_equal(served, again)


def made_again(audited: Audited, answer: httpx.Response, bundle: Path, folder: Path) -> NDArray[np.float32]:
    id_ = answer.headers["X-Request-ID"]
    done = audited.again(bundle, folder / "again.npy", "--id", id_)
    assert done.exit_code == 0, done.exception
    array: NDArray[np.float32] = np.load(folder / "again.npy")
    return array


ROUTES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "address": ("GET", "/v1/models/toy/samples/7?n=3&format=raw", {}),
    "address, from the cache": ("GET", "/v1/models/toy/samples/7?n=3&format=raw", {}),
    "interpolation": ("POST", "/v1/interpolations", {"ends": [{"seed": 7}, {"seed": 8, "row": 3}], "frames": 5}),
    "variation": ("POST", "/v1/variations", {"seed": 7, "row": 2, "n": 4, "strength": 0.1}),
}


@pytest.mark.parametrize("route", ROUTES)
def test_what_was_sent_by_another_route_is_made_again(
    audited: Audited, bundle: Path, tmp_path: Path, route: str
) -> None:
    method, path, body = ROUTES[route]
    given = {"json": {"model": "toy", **body}} if method == "POST" else {}
    for _ in range(3):
        answer = audited.server.http.request(method, path, headers={"Accept": RAW}, **given)
        assert answer.status_code == 200, answer.text
        again = made_again(audited, answer, bundle, tmp_path)
        assert np.allclose(np.frombuffer(answer.content, np.float32), again.ravel(), atol=1e-5)


def test_every_route_that_sends_samples_has_a_line(audited: Audited) -> None:
    asked: list[tuple[str, dict[str, Any], int]] = [
        ("/v2/models/toy/infer", {"parameters": {"n": 2, "seed": 7, "label": 3}}, 2),
        ("/sample", {"model": "toy", "n": 2, "seed": 7}, 2),
        ("/v1/images/generations", {"model": "toy", "prompt": "digit 3", "n": 2}, 2),
        ("/v1/samples", {"model": "toy", "n": 2}, 2),
        ("/interpolate", {"model": "toy", "ends": [{"seed": 7}, {"seed": 8}], "frames": 3}, 3),
        ("/vary", {"model": "toy", "seed": 7, "n": 4}, 4),
    ]
    for path, body, n in asked:
        answer = audited.server.http.post(path, json=body)
        assert answer.status_code == 200, answer.text
        (line,) = audited.lines(answer.headers["X-Request-ID"])
        assert (line["event"], line["model"], line["n"]) == ("sampled", "toy", n)
        assert "client" not in line
    score = {"model": "toy", "samples": [[[[0.0] * 8] * 8]] * 3, "label": 3}
    answer = audited.server.http.post("/v1/scores", json=score)
    (line,) = audited.lines(answer.headers["X-Request-ID"])
    assert (line["event"], line["n"]) == ("scored", 3)


def test_parts_of_an_answer_have_a_line_each(audited: Audited) -> None:
    path = "/v1/models/toy/samples/7?n=20&format=npy"
    for first in (0, 100, 200):
        answer = audited.server.http.get(path, headers={"Range": f"bytes={first}-{first + 99}"})
        assert answer.status_code == 206
        lines = audited.lines(answer.headers["X-Request-ID"])
        assert (lines[0]["event"], lines[0]["n"]) == ("sampled", 20)


def test_what_sends_no_samples_has_no_line(audited: Audited) -> None:
    tag = audited.server.http.get("/v1/models/toy/samples/7").headers["ETag"]
    for answer in (
        audited.server.http.get("/v1/models/toy/samples/7", headers={"If-None-Match": tag}),
        audited.server.http.head("/v1/models/toy/samples/7"),
        audited.server.samples(model="toy", n=0),
        audited.server.samples(model="nope"),
        audited.server.http.get("/v1/models"),
    ):
        assert audited.lines(answer.headers["X-Request-ID"]) == []


def test_a_client_that_goes_is_told_by_the_rows_it_was_sent(audited: Audited, bundle: Path, tmp_path: Path) -> None:
    body = {"model": "toy", "n": 1_000_000, "seed": 7}
    with audited.server.http.stream("POST", "/v1/samples", json=body, headers={"Accept": RAW}) as answer:
        received = len(next(answer.iter_raw()))
        id_ = answer.headers["X-Request-ID"]
    audited.server.wait_for(lambda: len(audited.lines(id_)) == 2)
    sampled, ended = audited.lines(id_)
    assert sampled["n"] == ended["of"] == 1_000_000
    assert received // 256 <= ended["sent"] < 1_000_000
    assert len(made_again(audited, answer, bundle, tmp_path)) == ended["sent"]


def test_a_row_is_found_and_made_again(audited: Audited, bundle: Path, tmp_path: Path) -> None:
    answer = audited.server.samples(accept=RAW, model="toy", n=20, seed=4321, offset=90, labels=[*range(10)] * 2)
    version = answer.headers["Latentserve-Version"]
    row = ["--model", "toy", "--version", version, "--seed", "4321", "--row", "97"]
    told = CliRunner().invoke(cli, ["audit", str(audited.folder), *row])
    assert [json.loads(line)["id"] for line in told.output.splitlines()] == [answer.headers["X-Request-ID"]]
    assert audited.again(bundle, tmp_path / "row.npy", *row).exit_code == 0
    served = np.frombuffer(answer.content, np.float32).reshape(20, 1, 8, 8)
    assert np.allclose(np.load(tmp_path / "row.npy")[0], served[7], atol=1e-5)
    other = CliRunner().invoke(cli, ["audit", str(audited.folder), *row[:-1], "110"])
    assert other.output == ""


def test_what_is_wrong_is_told_in_a_line(audited: Audited, bundle: Path, plain_bundle: Path, tmp_path: Path) -> None:
    id_ = audited.server.samples(model="toy").headers["X-Request-ID"]
    out = tmp_path / "again.npy"
    of = ["audit", str(audited.folder)]
    cases: list[tuple[list[str], str]] = [
        (["audit", str(tmp_path / "nothing")], "cannot be read"),
        ([*of, "--row", "7"], "--model, --version and --seed"),
        ([*of, "--recreate", str(bundle)], "--out FILE"),
        ([*of, "--id", "no", "--recreate", str(bundle), "--out", str(out)], "nothing was sent"),
        ([*of, "--id", id_, "--recreate", str(plain_bundle), "--out", str(out)], "this bundle is"),
        ([*of, "--id", id_, "--recreate", str(bundle), "--out", f"{out}.xyz"], "suffix"),
    ]
    for words, said in cases:
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == 1, words
        assert said in str(done.exception), words
    assert not out.exists()


def test_keys_are_in_it_and_latents_that_are_not_kept_cannot_be_made_again(
    start_server: Callable[..., Server], bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, file = tmp_path / "account", tmp_path / "keys.json"
    monkeypatch.setenv("LATENTSERVE_AUDIT", str(folder))
    made = CliRunner().invoke(cli, ["keys", "--keys", str(file), "add", "gallery", "--rows-per-second", "50"])
    key = made.stdout.strip()
    server = start_server(bundle, audit=folder, audit_keep=False, keys=file)
    answer = server.http.post("/v1/samples", json={"latents": LATENTS.tolist()}, headers={"X-API-Key": key})
    done = Audited(server, folder).again(bundle, tmp_path / "again.npy", "--id", answer.headers["X-Request-ID"])
    assert "was not kept" in str(done.exception)
    assert CliRunner().invoke(cli, ["keys", "--keys", str(file), "revoke", "gallery"]).exit_code == 0
    lines = list(Trail(folder).lines())
    assert [line["event"] for line in lines] == ["key-added", "sampled", "key-revoked"]
    (id_,) = {line["key"] for line in lines}
    assert lines[0]["rows_per_second"] == 50
    assert lines[1]["id"] == answer.headers["X-Request-ID"]
    told = CliRunner().invoke(cli, ["audit", str(folder), "--key", id_, "--until", "2000-01-01"])
    assert told.output == ""
    assert not any(key in path.read_text() for path in folder.glob("*.ndjson"))
    # What cannot be said is not done.
    (tmp_path / "none").write_text("")
    monkeypatch.setenv("LATENTSERVE_AUDIT", str(tmp_path / "none"))
    assert CliRunner().invoke(cli, ["keys", "--keys", str(file), "add", "other"]).exit_code == 1
    assert "other" not in file.read_text()


@pytest.mark.parametrize("when_full", ["refuse", pytest.param("serve", marks=pytest.mark.full)])
def test_a_full_disk(start_server: Callable[..., Server], bundle: Path, tmp_path: Path, when_full: str) -> None:
    """No file of the worker's may grow beyond some kibibytes: as a disk that is full, it refuses what is written."""
    folder = tmp_path / "account"
    server = start_server(bundle, audit=folder, audit_when_full=when_full)
    (worker,) = server.worker_pids()
    hard = resource.prlimit(worker, resource.RLIMIT_FSIZE)[1]
    assert server.samples(n=1).status_code == 200
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (10_000, hard))
    statuses = [server.samples(n=1).status_code for _ in range(100)]
    (segment,) = folder.glob("*.ndjson")
    lines = segment.read_bytes().splitlines()
    assert all(json.loads(line)["event"] == "sampled" for line in lines)
    assert segment.stat().st_size <= 10_000
    if when_full == "serve":
        assert set(statuses) == {200}
        server.wait_for(lambda: server.metric("unaudited_answers_total") == 101 - len(lines))
    else:
        assert statuses == [200] * (len(lines) - 1) + [503] * (101 - len(lines))
        refused = server.samples(n=1)
        assert refused.json()["type"].endswith(":unaudited")
        assert refused.headers["Retry-After"]
        with server.http.stream("POST", "/v1/samples", json={"n": 10_000}) as answer:
            assert answer.status_code == 503
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (hard, hard))
    server.wait_for(lambda: server.samples(n=1).status_code == 200)
    before = len(segment.read_bytes().splitlines())
    assert server.samples(n=1).status_code == 200
    assert len(segment.read_bytes().splitlines()) == before + 1


def test_the_account_needs_a_folder(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(
        cli, ["serve", str(bundle), "--port", "0"], env={"LATENTSERVE_AUDIT": str(tmp_path / "file")}
    )
    assert "no account can be kept there" in str(done.exception)


def test_a_header_is_not_injected_by_a_models_name(audited: Audited) -> None:
    for name in ("toy\r\nX-Evil: 1", "toy%0d%0aX-Evil:%201", "tøy", "../toy"):
        answer = audited.server.samples(model=name)
        assert answer.status_code == 404
        assert "X-Evil" not in answer.headers
        assert (
            audited.server.http.get(
                f"/v1/models/{name.replace(chr(13), '').replace(chr(10), '')}/samples/7"
            ).status_code
            == 404
        )


def test_conditions_and_labels_of_one_model(audited: Audited, tmp_path: Path) -> None:
    """A bundle of the same generator under another name has the same version, and makes the same rows."""
    other = make_shower(tmp_path / "other", "other")
    answer = audited.server.samples(accept=RAW, model="shower", n=3, seed=7, labels=["pion", "photon", "pion"])
    again = made_again(audited, answer, other, tmp_path)
    assert np.allclose(np.frombuffer(answer.content, np.float32), again.ravel(), atol=1e-5)


def test_a_picture_without_its_mark_is_found_by_the_account(
    start_server: Callable[..., Server], bundle: Path, shower_bundle: Path, tmp_path: Path
) -> None:
    """Of whichever model; how much of the account is known is told, and nobody's key, request or time."""
    folder = tmp_path / "account"
    with start_server(bundle, shower_bundle, audit=folder) as server:
        answers = [server.samples(model="toy", seed=seed, format="png") for seed in range(30)]

        def verified(content: bytes) -> dict[str, Any]:
            answer = server.http.post("/v1/verify", content=content)
            assert answer.status_code == 200, answer.text
            return answer.json()

        def stripped(content: bytes) -> bytes:
            out = io.BytesIO()
            with Image.open(io.BytesIO(content)) as picture:
                Image.fromarray(np.asarray(picture)).save(out, "PNG")
            return out.getvalue()

        before = verified(stripped(answers[7].content))
        assert (before["verdict"], before["rests_on"]) == ("no", [])
        command = ["audit", "index", str(folder), "--bundle", str(bundle)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("latentserve.service.finding.control.PICTURES", 5)
            done = CliRunner().invoke(cli, command)
        assert done.exit_code == 0, done.output
        assert verified(answers[7].content)["rests_on"] == ["mark"]
        told = verified(stripped(answers[7].content))
        assert (told["verdict"], told["rests_on"], told["seed"], told["row"]) == ("exact", ["audit"], 7, 0), told
        assert told["log"] == {"answers": 30, "of": 30}
        assert "X-Request-ID" in answers[7].headers
        assert answers[7].headers["X-Request-ID"] not in json.dumps(told)
        told = verified(stripped(server.samples(model="shower", seed=1, format="png").content))
        assert told["verdict"] == "no"
