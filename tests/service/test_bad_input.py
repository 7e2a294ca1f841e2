"""Bad input, sent to a real server over a socket: the right status, a problem that names the cause, and life after."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest

from latentserve.service.bundle import read_bundle
from tests.conftest import make_bundle
from tests.generators import dense_generator
from tests.server import Server

JSON = {"Content-Type": "application/json"}
HEAD = "POST /v1/samples HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
MEBIBYTE = b" " * (1 << 20)


def assert_problem(response: httpx.Response, status: int, slug: str, field: str | None = None) -> dict[str, Any]:
    """RFC 9457, section 3, with this project's stable types."""
    assert response.status_code == status, response.text[:500]
    assert response.headers["Content-Type"] == "application/problem+json"
    body = response.json()
    assert body["type"] == f"urn:problem-type:latentserve:{slug}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert "\n" not in body["detail"]
    assert len(body["detail"]) < 1000
    assert body.get("field") == field
    return body


@pytest.fixture(autouse=True)
def _still_serves(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test sent, the server answers the next client, in the same process as before."""
    names = [name for name in ("server", "tight_server") if name in request.fixturenames]
    servers = [request.getfixturevalue(name) for name in names]
    before = [server.worker_pids() for server in servers]
    yield
    for server, pids in zip(servers, before, strict=True):
        model = server.http.get("/v1/models").json()["models"][0]["name"]
        assert server.samples(model=model, n=1, seed=1).status_code == 200
        assert server.worker_pids() == pids


@pytest.fixture(autouse=True, scope="module")
def _nothing_is_left(server: Server, tight_server: Server) -> Iterator[None]:
    """Of whatever all tests sent, nothing is under way at the end; metrics may be a second old."""
    yield
    for each in (server, tight_server):
        each.wait_for(lambda each=each: each.metric("inflight_requests") == 0)  # type: ignore[misc]


@pytest.mark.parametrize("content", [b"{", b"n=1", b"{'n': 1}", b"\xff\xfe\x00", b"[" * 100_000, b'{"n":1}{"n":1}'])
def test_malformed_json(server: Server, content: bytes) -> None:
    assert_problem(server.http.post("/v1/samples", content=content, headers=JSON), 400, "malformed-json")


@pytest.mark.parametrize(
    ("path", "content", "field"),
    [
        ("/v1/samples", '{"model":"toy","n":1,"n":2}', "n"),
        ("/v1/samples", '{"model":"toy","labels":[%s],"n":1,"n":1}' % ("1," * 10_000 + "1"), "n"),
        ("/sample", '{"model":"toy","n":1,"n":2}', "n"),
        ("/v1/variations", '{"model":"toy","seed":1,"seed":2}', "seed"),
        ("/v1/scores", '{"model":"toy","samples":[1],"samples":[2]}', "samples"),
        ("/v1/images/generations", '{"model":"toy","prompt":"","prompt":"digit 1"}', "prompt"),
        ("/v2/models/toy/infer", '{"parameters":{"seed":1,"seed":2}}', "parameters.seed"),
    ],
    ids=lambda value: value[:40],
)
def test_a_name_that_comes_twice(server: Server, path: str, content: str, field: str) -> None:
    """Parsers take the last one without a word."""
    assert_problem(server.http.post(path, content=content, headers=JSON), 422, "invalid-field", field)


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("n", {"n": 0}),
        ("n", {"n": -1}),
        ("n", {"n": "many"}),
        ("n", {"n": True}),
        ("n", {"n": 1.0}),
        ("seed", {"seed": 2**53}),
        ("offset", {"seed": 1, "offset": 2**53 - 1, "n": 2}),
        ("latents[0]", {"latents": [[0] * 7]}),
        ("latents[1]", {"latents": [[0] * 8, [0] * 9]}),
        ("latents[0][3]", {"latents": [[0, 0, 0, float("nan"), 0, 0, 0, 0]]}),
        ("latents[0][0]", {"latents": [[1e300] + [0] * 7]}),
        ("label", {"label": 10}),
        ("label", {"label": -1}),
        ("label", {"label": "nobody"}),
        ("labels[2]", {"labels": [0, 1, "nobody"]}),
        ("n", {"n": 3, "labels": [0, 1]}),
        ("truncation", {"truncation": 0}),
        ("colour", {"colour": "red"}),
        ("dtype", {"dtype": "int8"}),
    ],
    ids=str,
)
def test_invalid_fields(server: Server, field: str, fields: dict[str, Any]) -> None:
    content = json.dumps({"model": "toy", **fields}).encode()
    answer = server.http.post("/v1/samples", content=content, headers=JSON)
    assert_problem(answer, 422, "invalid-field", field)


def test_fields_that_the_model_does_not_have(server: Server) -> None:
    assert_problem(server.samples(model="plain", label=1), 422, "invalid-field", "label")
    assert_problem(server.samples(model="plain", dtype="uint8", n=2), 422, "invalid-field", "dtype")
    # Two models are served: which one?
    assert_problem(server.samples(n=1), 422, "invalid-field", "model")


def test_as_many_wrong_values_as_a_body_holds_do_not_hold_the_server_up(server: Server) -> None:
    content = b'{"model":"toy","latents":[[' + b"null," * 200_000 + b"0]]}"
    answer = server.http.post("/v1/samples", content=content, headers=JSON)
    assert_problem(answer, 422, "invalid-field", "latents[0][0]")


def test_a_long_name_is_not_echoed_whole(server: Server) -> None:
    assert_problem(server.samples(model="m" * 100_000), 422, "invalid-field", "model")
    assert_problem(server.samples(model="toy", **{"x" * 100_000: 1}), 422, "invalid-field", "x" * 100)
    assert_problem(server.samples(accept="a" * 10_000, model="toy"), 406, "not-acceptable")
    assert_problem(server.http.get("/v1/" + "x" * 8_000), 404, "not-found")
    assert_problem(server.http.get("/v1/" + "x" * 10_000), 414, "uri-too-long")


@pytest.mark.parametrize("fields", [{"model": "nobody"}, {"model": "toy", "version": "0" * 12}], ids=str)
def test_an_unknown_model_or_version(server: Server, fields: dict[str, Any]) -> None:
    assert_problem(server.samples(**fields), 404, "not-found")


def test_routes_that_are_not_there(server: Server) -> None:
    assert_problem(server.http.get("/v1/models/nobody"), 404, "not-found")
    assert_problem(server.http.get("/v1/nothing"), 404, "not-found")
    assert_problem(server.http.post("/v1/samples/1"), 404, "not-found")
    assert_problem(server.http.get("/v1/models/toy/nothing"), 404, "not-found")
    assert_problem(server.http.get("/nothing"), 404, "not-found")
    assert_problem(server.http.post("/nothing", json={}), 404, "not-found")
    for path in ("/livez/", "/v1/models/", "/v1/models/toy/", "/sample/"):
        assert_problem(server.http.get(path), 404, "not-found")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_another_method(server: Server, method: str) -> None:
    answer = server.http.request(method, "/v1/samples")
    assert_problem(answer, 405, "method-not-allowed")
    assert answer.headers["Allow"] == "POST, OPTIONS"
    for path in ("/v1/models", "/v1/models/toy", "/metrics"):
        if method != "GET":
            answer = server.http.request(method, path)
            assert_problem(answer, 405, "method-not-allowed")
            assert "GET" in answer.headers["Allow"]


def test_another_method_for_bentomls_route(server: Server) -> None:
    answer = server.http.get("/sample")
    assert_problem(answer, 405, "method-not-allowed")
    assert answer.headers["Allow"] == "POST"


def test_the_options_of_the_server_itself(server: Server) -> None:
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=30)) as line:
        line.request("OPTIONS", "*")
        answer = line.getresponse()
        assert (answer.status, answer.headers["Allow"]) == (204, "GET, HEAD, POST, OPTIONS")


@pytest.mark.parametrize("accept", ["text/html", "image/gif, audio/*", "application/json;q=0", "nonsense"])
def test_an_accept_nobody_serves(server: Server, accept: str) -> None:
    assert_problem(server.samples(accept=accept, model="toy"), 406, "not-acceptable")


def test_pictures_of_a_model_that_makes_none(server: Server) -> None:
    assert_problem(server.samples(accept="image/png", model="plain"), 406, "not-acceptable")


@pytest.mark.parametrize("model", ["toy", "plain"])
def test_sounds_of_a_model_that_makes_none(server: Server, model: str) -> None:
    detail = assert_problem(server.samples(accept="audio/wav", model=model), 406, "not-acceptable")["detail"]
    assert "'audio/wav' can be served; application/json, " in detail


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "json"])
def test_another_content_type(server: Server, kind: str) -> None:
    answer = server.http.post("/v1/samples", content=b'{"model":"toy"}', headers={"Content-Type": kind})
    assert_problem(answer, 415, "unsupported-media-type")


def test_more_rows_than_are_given(server: Server) -> None:
    detail = assert_problem(server.samples(model="toy", n=10**9), 413, "too-large")["detail"]
    assert "n: " in detail
    assert "1000000" in detail
    detail = assert_problem(server.samples(model="toy", n=200_000, accept="image/png"), 413, "too-large")["detail"]
    assert "n: 200000 images" in detail


@pytest.mark.parametrize(("path", "chunked"), [("/v1/samples", False), ("/sample", True)])
def test_a_body_of_100_mb(server: Server, path: str, chunked: bool) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield MEBIBYTE

    content = chunks() if chunked else MEBIBYTE * 100
    assert_problem(server.http.post(path, content=content, headers=JSON), 413, "too-large")


def test_a_body_of_100_mb_is_not_read(server: Server) -> None:
    """The refusal comes before the body: a client that waits for it need not send one."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(f"{HEAD}Content-Length: 104857600\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("content", [b"GET / SMTP\r\n\r\n", b"\x00\x01\x02", HEAD.encode()])
def test_what_is_not_http(server: Server, content: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(content)


def test_a_client_that_vanishes_within_its_body(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(f'{HEAD}Content-Length: 1000\r\n\r\n{{"model"'.encode())


def test_bentomls_route_refuses_as_problems_too(server: Server) -> None:
    def ask(**fields: Any) -> httpx.Response:
        return server.http.post("/sample", json={"model": "toy", **fields})

    assert_problem(ask(n=0), 422, "invalid-field", "n")
    assert_problem(ask(n=10**9), 413, "too-large")
    assert_problem(ask(label="nobody"), 422, "invalid-field", "label")
    assert_problem(ask(truncation=2), 422, "invalid-field", "truncation")
    assert_problem(ask(model="nobody"), 404, "not-found")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/sample", {"sead": 7}, "sead"),
        ("/sample?n=3", {}, "n"),
        ("/interpolate", {"ends": [], "seed": 1}, "seed"),
        ("/vary", {"seed": 1, "offset": 2}, "offset"),
        ("/score", {"samples": [], "n": 1}, "n"),
    ],
)
def test_bentomls_routes_pass_no_field_by(server: Server, path: str, body: dict[str, Any], field: str) -> None:
    assert_problem(server.http.post(path, json=body), 422, "invalid-field", field)


def test_bentomls_routes_coerce_nothing(server: Server) -> None:
    for fields in ({"n": True}, {"n": "3"}, {"n": 1.0}, {"seed": "7"}, {"label": True}, {"truncation": "1"}):
        answer = server.http.post("/sample", json={"model": "toy", **fields})
        assert answer.status_code == 400, fields
    for kind in ("text/plain", "application/x-www-form-urlencoded"):  # of which BentoML would make something
        answer = server.http.post("/sample", content=b'{"model":"toy"}', headers={"Content-Type": kind})
        assert_problem(answer, 415, "unsupported-media-type")


@pytest.mark.parametrize("content", [b"{", b'{"n":"many"}', b'{"n":[1]}', b"[]", b'{"model":"\\udc4f"}'])
def test_bentomls_route_answers_400_where_it_cannot_be_read(server: Server, content: bytes) -> None:
    answer = server.http.post("/sample", content=content, headers=JSON)
    if content in (b"{", b'{"model":"\\udc4f"}'):
        assert_problem(answer, 400, "malformed-json")
    assert answer.status_code == 400
    assert "Traceback" not in server.log.read_text()


def test_a_full_queue(tight_server: Server) -> None:
    """The queue holds 256 rows: of four requests for as many, those that find it full are told when to come again."""
    before = tight_server.metric("rejected_total", reason="queue_full")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda seed: tight_server.samples(model="slow", n=256, seed=seed), range(4)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    for answer in refused:
        body = assert_problem(answer, 429, "queue-full")
        assert int(answer.headers["Retry-After"]) == body["retry_after"] >= 1
    tight_server.wait_for(lambda: tight_server.metric("rejected_total", reason="queue_full") == before + len(refused))
    tight_server.wait_for(lambda: tight_server.metric("queue_rows", model="slow") == 0)


def test_the_deadline(tight_server: Server) -> None:
    before = tight_server.metric("rejected_total", reason="deadline")
    answer = tight_server.samples(model="slow", n=256)
    assert_problem(answer, 504, "deadline-exceeded")
    assert "0.5 s" in answer.json()["detail"]
    tight_server.wait_for(lambda: tight_server.metric("rejected_total", reason="deadline") == before + 1)
    # Its rows are forgotten: nobody waits behind them.
    tight_server.wait_for(lambda: tight_server.metric("queue_rows", model="slow") == 0)


def test_not_ready(start_server: Callable[..., Server], bundle: Path, tmp_path: Path) -> None:
    """A bundle whose hashes hold, but whose weights are not those the golden samples were made with."""
    server = start_server(bundle, forge(tmp_path), wait_ready=False, bentoml=True)
    assert server.http.get("/livez").status_code == 200
    assert server.http.get("/readyz").status_code == 503
    answer = server.samples(model="forged", n=1)
    assert_problem(answer, 503, "not-ready")
    assert "golden" in answer.json()["detail"]
    assert int(answer.headers["Retry-After"]) >= 1
    assert_problem(server.http.post("/sample", json={"model": "forged"}), 503, "not-ready")
    states = {model["name"]: model["state"] for model in server.http.get("/v1/models").json()["models"]}
    assert states == {"toy": "ready", "forged": "not ready"}
    assert server.samples(model="toy", n=1).status_code == 200
    assert server.metric("model_ready", model="forged") == 0
    assert server.metric("model_ready", model="toy") == 1
    assert server.metric("probe_runs_total", model="forged", outcome="mismatch") >= 1
    server.wait_for(lambda: server.metric("rejected_total", reason="not_ready") == 2)
    assert server.stop() == 0


def test_a_model_whose_probes_do_not_match_is_not_served(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"ended with 1: (.*\n)*latentserve: model forged [0-9a-f]+: golden probes"):
        Server(bundle, forge(tmp_path))


def forge(folder: Path) -> Path:
    """A bundle with the golden samples of other weights, its hashes and version made to fit."""
    honest = read_bundle(make_bundle(folder / "honest"))
    golden = honest.golden.to_bytes()
    out = make_bundle(folder / "forged", "forged", generator=dense_generator(seed=9).SerializeToString())
    return replace_file(out, "golden.npz", golden)


def replace_file(bundle: Path, name: str, content: bytes) -> Path:
    """Put a file into a bundle, and its hash into the manifest."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["sha256"][name] = hashlib.sha256(content).hexdigest()
    (bundle / name).write_bytes(content)
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return bundle
