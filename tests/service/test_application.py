"""The application as clients and operators meet it: errors that say what is wrong, counts that are true, a log."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

import bentoml
import httpx
import pytest

from tests.server import Server

JSON = {"Content-Type": "application/json"}


def requests(server: Server, **labels: str) -> float:
    try:
        return server.metric("requests_total", **labels)
    except KeyError:
        return 0


def test_a_model_that_is_not_served_is_told_to_bentomls_client_and_counted_once(server: Server) -> None:
    codes = {"/sample": "404", "other": "404"}
    before = {route: requests(server, route=route, code=code) for route, code in codes.items()}
    with (
        bentoml.SyncHTTPClient(server.url) as client,
        pytest.raises(bentoml.exceptions.NotFound, match="'nope' is not served here; toy, plain is"),
    ):
        client.sample(n=1, model="nope")
    server.wait_for(lambda: requests(server, route="/sample", code="404") == before["/sample"] + 1)
    assert requests(server, route="other", code="404") == before["other"]


def test_bentoml_tells_what_is_wrong_with_its_own_route(server: Server) -> None:
    before = requests(server, route="/sample", code="400")
    answer = server.http.post("/sample", json={"n": "many", "model": "toy"})
    assert answer.status_code == 400
    assert "validation error" in answer.json()["error"]
    assert answer.headers["X-Request-ID"]
    server.wait_for(lambda: requests(server, route="/sample", code="400") == before + 1)


def test_a_folder_that_was_cleaned_away_is_told_at_once(
    start_server: Callable[..., Server], plain_bundle: Path
) -> None:
    server = start_server(plain_bundle, log_format="json")
    server.http.get("/metrics").raise_for_status()
    for folder in {file.parent for file in Path(server.home).rglob("*.db")}:
        shutil.rmtree(folder)
    for path in ("/metrics", "/v1/drift", "/readyz", "/v1/models"):
        began = time.monotonic()
        answer = server.http.get(path)
        assert time.monotonic() - began < 8  # BentoML would wait for twelve seconds
        assert answer.status_code in (200, 500)
        if answer.status_code == 500:
            assert answer.headers["Content-Type"] == "application/problem+json"
            (line,) = told(server, answer)
            assert line["event"] == "failed"
            assert "Traceback" in str(line["traceback"])
    assert server.samples(n=2).status_code == 200


def test_accept_may_come_in_several_lines(server: Server) -> None:
    accepts = [("Accept", "application/json;q=1"), ("Accept", "image/png;q=0.1")]
    for lines in (accepts, accepts[::-1]):
        with httpx.Client(base_url=server.url) as http:
            del http.headers["Accept"]
            answer = http.post("/v1/samples", json={"model": "toy"}, headers=lines)
        assert answer.headers["Content-Type"] == "application/json"


def logged(server: Server) -> list[dict[str, object]]:
    return [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]


def told(server: Server, *answers: httpx.Response) -> list[dict[str, object]]:
    """The lines on these answers, which are written once they are sent."""
    ids = [answer.headers["X-Request-ID"] for answer in answers]

    def lines() -> list[dict[str, object]]:
        return [line for line in logged(server) if line.get("request_id") in ids]

    server.wait_for(lambda: len(lines()) >= len(ids))
    return lines()


def test_the_log_tells_refusals_once_and_a_scanner_fills_no_disk(
    start_server: Callable[..., Server], plain_bundle: Path
) -> None:
    server = start_server(plain_bundle, log_format="json", deadline_seconds=5)
    before = len(server.log.read_text().splitlines())
    for _ in range(100):
        with socket.create_connection(("127.0.0.1", server.port)) as scanner:
            scanner.sendall(b"\x16\x03\x01 hello\r\n\r\n")
            scanner.recv(100)
    server.wait_for(lambda: server.http.get("/livez").is_success)
    after = server.log.read_text().splitlines()
    assert len(after) - before <= 12
    asked = [
        server.http.get("/nope"),
        server.samples(n=0),
        server.samples(n=9_999_999),
        server.http.get("/v1/%0A%7B%22event%22%3A%22ready%22%7D"),
    ]
    assert [answer.status_code for answer in asked] == [404, 422, 413, 404]
    lines = told(server, *asked)
    assert [line["status"] for line in lines] == [404, 422, 413, 404]
    assert {line["event"] for line in lines} == {"refused"}
    assert lines[3]["path"] == '/v1/\n{"event":"ready"}'
