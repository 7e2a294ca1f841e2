"""Keys over a socket: two workers that let through who may, and nobody else."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from latentserve.service.access.key_file import changing
from latentserve.service.access.keys import Scope, new_key
from latentserve.service.app import Latentserve
from latentserve.service.cli import cli
from latentserve.service.client import AsyncClient, Client, ServerError
from latentserve.service.host.group import Group
from latentserve.service.http.mounted import FIELDS
from latentserve.service.http.routes import Routes
from latentserve.service.serving import Serving
from latentserve.service.settings import Settings
from tests.browser import chromium
from tests.server import Server

PAGE = (Path(__file__).parents[2] / "docs" / "keys.md").read_text()
NEEDS = dict(re.findall(r"^\| `(/[^`]*)` \| `?(\w+)`? \|$", PAGE, re.M))
PATH = {"model": "toy", "version": "1", "seed": "7", "file": "app.js", "name": "preview.png"}


@dataclass(frozen=True)
class Locked:
    """A server with keys."""

    server: Server
    file: Path

    def add(self, name: str, *scopes: Scope, **given: Any) -> str:
        text, key = new_key(name, scopes, **given)
        with changing(self.file) as keys:
            keys.append(key)
        return text

    def revoke(self, name: str) -> None:
        with changing(self.file) as keys:
            keys[:] = [
                key.model_copy(update={"revoked": datetime.now(UTC)} if key.name == name else {}) for key in keys
            ]

    def ask(self, key: str | None = None, method: str = "POST", path: str = "/v1/samples", **more: Any):
        headers = more.pop("headers", {}) | ({} if key is None else {"Authorization": f"Bearer {key}"})
        given = {"json": {"model": "toy"}} if method == "POST" else {}
        return self.server.http.request(method, path, headers=headers, **(given | more))


@pytest.fixture(scope="module")
def locked(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    with changing(file):
        pass
    origin = "https://gallery.example"
    with Server(
        bundle, workers=2, keys=file, open_metadata=False, cors_origins=origin, log_format="json", access_log=True
    ) as running:
        yield Locked(running, file)


@pytest.fixture(scope="module")
def keys(locked: Locked) -> dict[str, str]:
    """A key of each scope, by name."""
    scopes: tuple[Scope, ...] = ("sample", "score", "metrics")
    return {scope: locked.add(f"of-{scope}", scope) for scope in scopes}


def mounted() -> set[str]:
    """The paths of BentoML's application."""
    app: Any = Latentserve.to_asgi()
    while not hasattr(app, "routes"):
        app = app.app
    return {route.path or "/" for route in app.routes}


def ours() -> set[str]:
    routes = Routes(Serving(Settings()), Group())
    return {route.template for route in routes if route.template.startswith("/")}


def test_the_table_of_the_page_has_every_route() -> None:
    of_routes = {route.template: route.needs for route in Routes(Serving(Settings()), Group())}
    told = {path: needs for path, needs in NEEDS.items() if path in of_routes}
    assert told == {path: needs for path, needs in of_routes.items() if path.startswith("/")}
    # Those that are ours hide BentoML's of the same name.
    assert mounted() - ours() - NEEDS.keys() == set()
    assert "/sample" in mounted()
    assert NEEDS["/sample"] == "sample"


def test_what_bentomls_routes_take_is_known() -> None:
    taken = {api.route: set(api.input_spec.model_fields) for api in Latentserve.apis.values()}
    assert taken == FIELDS


def test_every_route_is_guarded_as_the_table_says(locked: Locked, keys: dict[str, str]) -> None:
    """Every method of every path, without a key, with a wrong one, and with one of each scope."""
    routes = Routes(Serving(Settings()), Group())
    methods = {route.template: set(route.handlers) for route in routes}
    tried = 0
    for template, needs in NEEDS.items():
        path = template.format(**PATH)
        if template == "/static_content":
            path += "/swagger-ui.css"
        given: dict[str | None, bool] = {None: needs == "nothing", "ls_wrong": needs == "nothing"}
        given |= {keys[scope]: needs in ("nothing", "metadata", scope) for scope in keys}
        wanted = methods.get(template) or {"GET", "POST"}
        for method in {*wanted, "HEAD", "PUT", "OPTIONS"}:
            for key, passes in given.items():
                status = locked.ask(key, method, path).status_code
                refused = 403 if key in keys.values() else 401
                assert (status != refused) if passes else (status == refused), (method, path, key, status)
                tried += 1
    assert tried > 500


@pytest.mark.parametrize(
    "path",
    ["/sample/", "//sample", "/SAMPLE", "/%73ample", "/sample/submit", "/sample/status", "/./sample", "/ui/../sample",
     "/static_content/../sample", "/v1/samples/", "//v1/samples", "/v1/%73amples", "/v1/../sample", "/nope",
     "/metrics/", "/v1/samples%00"],
)  # fmt: skip
def test_no_spelling_of_a_path_is_a_way_in(locked: Locked, path: str) -> None:
    with httpx.Client(base_url=locked.server.url) as http:
        for method in ("GET", "POST"):
            answer = http.build_request(method, "/", json={})
            answer.url = answer.url.copy_with(raw_path=path.encode())
            sent = http.send(answer)
            assert sent.status_code in (401, 404), (method, path, sent.status_code)


def test_what_is_answered_without_a_key_and_with_a_wrong_one(locked: Locked, keys: dict[str, str]) -> None:
    nothing: list[dict[str, str]] = [{}, {"Authorization": "Basic YTpi"}]
    wrong = [keys["sample"] + "x", "x" * 9000, ""]
    for headers in (*nothing, {"Authorization": "Bearer x"}, *({"X-API-Key": key} for key in wrong)):
        answer = locked.ask(headers=headers)
        assert answer.status_code == 401
        assert answer.json()["type"] == "urn:problem-type:latentserve:unauthorized"
        challenge = answer.headers["WWW-Authenticate"]
        assert challenge.startswith("Bearer realm=")
        assert ("invalid_token" in challenge) == (headers not in nothing)
    two = [("X-API-Key", keys["sample"]), ("X-API-Key", keys["sample"])]
    assert httpx.post(f"{locked.server.url}/v1/samples", json={}, headers=two).status_code == 401
    forbidden = locked.ask(keys["metrics"])
    assert forbidden.status_code == 403
    assert 'error="insufficient_scope", scope="sample"' in forbidden.headers["WWW-Authenticate"]
    assert forbidden.json()["type"].endswith(":forbidden")


def test_a_key_may_come_in_either_header(locked: Locked, keys: dict[str, str]) -> None:
    sample = keys["sample"]
    for headers in (
        {"Authorization": f"Bearer {sample}"},
        {"authorization": f"bearer  {sample}"},
        {"X-API-Key": sample},
        {"X-API-Key": sample, "Authorization": "Basic YTpi"},
    ):
        assert locked.ask(headers=headers).status_code == 200


def test_a_key_that_is_revoked_or_expires_is_of_no_use_at_once(locked: Locked) -> None:
    key = locked.add("short", "sample")
    assert all(locked.ask(key).status_code == 200 for _ in range(4))
    locked.revoke("short")
    for _ in range(8):
        answer = locked.ask(key)
        assert answer.status_code == 401
        assert "was revoked" in answer.json()["detail"]
    key = locked.add("shorter", "sample", expires=datetime.now(UTC) + timedelta(seconds=1))
    assert locked.ask(key).status_code == 200
    time.sleep(1.1)
    assert "has expired" in locked.ask(key).json()["detail"]


def test_a_preflight_needs_no_key_and_a_page_reads_the_refusal(locked: Locked, keys: dict[str, str]) -> None:
    asks = {"Origin": "https://gallery.example", "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization"}  # fmt: skip
    answer = locked.ask(method="OPTIONS", headers=asks)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "https://gallery.example"
    assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()
    refused = locked.ask(headers={"Origin": "https://gallery.example"})
    assert refused.status_code == 401
    assert refused.headers["Access-Control-Allow-Origin"] == "https://gallery.example"


def test_answers_have_the_headers_that_browsers_heed(locked: Locked, keys: dict[str, str]) -> None:
    for answer in (
        locked.ask(keys["sample"]),
        locked.ask(),
        locked.ask(method="GET", path="/docs"),
        locked.ask(method="GET", path="/ui"),
        locked.ask(method="GET", path="/livez"),
    ):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    for path in ("/docs", "/bento"):
        assert "default-src 'self'" in locked.ask(method="GET", path=path).headers["Content-Security-Policy"]


def test_samples_by_address_are_kept_by_no_cache_that_many_share(locked: Locked, keys: dict[str, str]) -> None:
    answer = locked.ask(keys["sample"], "GET", "/v1/models/toy/samples/7")
    assert answer.headers["Cache-Control"].startswith("private, ")


def test_nothing_of_a_key_is_in_the_log(locked: Locked, keys: dict[str, str]) -> None:
    answer = locked.ask("ls_not-a-key-that-there-is")
    locked.ask(keys["metrics"])
    log = locked.server.log
    locked.server.wait_for(lambda: answer.headers["X-Request-ID"] in log.read_text())
    written = log.read_text()
    assert not any(key in written for key in (*keys.values(), "ls_not-a-key-that-there-is"))


def test_refusals_are_counted(locked: Locked, keys: dict[str, str]) -> None:
    def counted() -> dict[str, float]:
        text = locked.ask(keys["metrics"], "GET", "/metrics").text
        lines = re.findall(r'^latentserve_rejected_total\{reason="(\w+)"\} (\S+)$', text, re.M)
        return {reason: float(count) for reason, count in lines}

    before = counted()
    locked.ask()
    locked.ask(keys["metrics"])
    locked.server.wait_for(lambda: counted()["unauthorized"] == before["unauthorized"] + 1)
    locked.server.wait_for(lambda: counted()["forbidden"] == before["forbidden"] + 1)


# Our commands and clients


def test_our_clients_send_a_key(locked: Locked, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    url, key = locked.server.url, keys["sample"]
    monkeypatch.delenv("LATENTSERVE_KEY", raising=False)
    with Client(url, retries=0) as client, pytest.raises(ServerError, match="401") as caught:
        client.sample(n=1)
    assert caught.value.status == 401
    with pytest.raises(ServerError, match="without spaces"):
        Client(url, key="a\r\nb")
    with Client(url, key=key) as client:
        assert len(client.sample(n=3, seed=1)) == 3
        assert client.models()[0]["name"] == "toy"
    monkeypatch.setenv("LATENTSERVE_KEY", key)

    async def ask() -> int:
        async with AsyncClient(url) as client:
            return len(await client.sample(n=2))

    assert asyncio.run(ask()) == 2
    with Client(url, key="") as client, pytest.raises(ServerError, match="401"):
        client.models()


def test_our_commands_send_a_key(
    locked: Locked, keys: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, key, out = locked.server.url, keys["sample"], tmp_path / "two.npy"
    monkeypatch.delenv("LATENTSERVE_KEY", raising=False)
    command = ["sample", url, "-n", "2", "--seed", "7", "--out", str(out)]
    refused = CliRunner().invoke(cli, command)
    assert "401" in str(refused.exception)
    assert CliRunner().invoke(cli, [*command, "--key", key]).exit_code == 0
    assert out.exists()
    told = CliRunner().invoke(cli, ["drift", url, "--key", key, "--json"])
    assert json.loads(told.output)["models"][0]["model"] == "toy"
    environment = {**os.environ, "LATENTSERVE_KEY": key}
    bench = [sys.executable, "-P", "-m", "latentserve", "bench", url, "--seconds", "0.1"]
    done = subprocess.run(bench, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "LATENTSERVE_KEY" not in done.stderr  # it is no setting, and none is wrong


def test_openais_client_is_told_as_it_expects(locked: Locked, keys: dict[str, str], server: Server) -> None:
    import openai  # takes half of a second, which no other test needs

    def client(url: str, key: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)

    asked: dict[str, Any] = {"model": "toy", "prompt": "digit 3", "response_format": "b64_json"}
    assert client(locked.server.url, keys["sample"]).images.generate(**asked).data
    with pytest.raises(openai.AuthenticationError) as caught:
        client(locked.server.url, "wrong").images.generate(**asked)
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(openai.PermissionDeniedError):
        client(locked.server.url, keys["score"]).images.generate(**asked)
    assert client(server.url, "anything").images.generate(**asked).data  # keys are off


# Many at once


def test_many_wrong_keys_at_once_let_nothing_through(locked: Locked, keys: dict[str, str]) -> None:
    let_through(locked, keys, 400)


@pytest.mark.full
def test_ten_thousand_wrong_keys_at_once_let_nothing_through(locked: Locked, keys: dict[str, str]) -> None:
    let_through(locked, keys, 10_000)


def let_through(locked: Locked, keys: dict[str, str], tries: int) -> None:
    name = f"gone-{tries}"
    gone = locked.add(name, "sample")
    old = locked.add(f"old-{tries}", "sample", expires=datetime.now(UTC) - timedelta(seconds=1))
    locked.revoke(name)
    sample = keys["sample"]
    wrong = [None, "x", sample[:-1], f"{sample}=", sample.swapcase(), gone, old, keys["score"], keys["metrics"]]

    async def ask() -> list[int]:
        limits = httpx.Limits(max_connections=64)
        async with httpx.AsyncClient(base_url=locked.server.url, limits=limits, timeout=60) as http:

            async def one(number: int) -> int:
                key = wrong[number % len(wrong)]
                headers = {} if key is None else {"Authorization": f"Bearer {key}"}
                return (await http.post("/v1/samples", json={"n": 1}, headers=headers)).status_code

            left = iter(range(tries))

            async def some() -> list[int]:
                return [await one(number) for number in left]

            return [status for part in await asyncio.gather(*(some() for _ in range(64))) for status in part]

    statuses = asyncio.run(ask())
    assert len(statuses) == tries
    assert set(statuses) == {401, 403}


# The file


def test_a_server_refuses_to_start_with_a_file_of_wrong_rights(bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    with changing(file):
        pass
    command = [sys.executable, "-P", "-m", "latentserve", "serve", str(bundle), "--port", "0"]
    for mode, word in ((0o644, "0644"), (0o666, "chmod 600")):
        file.chmod(mode)
        ended = subprocess.run(
            command, env={**os.environ, "LATENTSERVE_KEYS": str(file)}, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 1
        assert ended.stderr.startswith("latentserve: ")
        assert word in ended.stderr
        assert len(ended.stderr.splitlines()) == 1
    file.unlink()
    ended = subprocess.run(
        command, env={**os.environ, "LATENTSERVE_KEYS": str(file)}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "latentserve keys add" in ended.stderr


def test_a_broken_file_lets_nobody_in_until_it_is_mended(locked: Locked, keys: dict[str, str]) -> None:
    content = locked.file.read_bytes()
    try:
        locked.file.write_bytes(b"{")
        time.sleep(0.05)  # servers look every few milliseconds
        for _ in range(4):
            answer = locked.ask(keys["sample"])
            assert answer.status_code == 503
            assert str(locked.file) not in answer.text
        assert locked.ask(method="GET", path="/readyz").status_code == 200
    finally:
        locked.file.write_bytes(content)
        time.sleep(0.05)
    assert locked.ask(keys["sample"]).status_code == 200
    assert "keys-failed" in locked.server.log.read_text()


def test_the_command_makes_lists_and_revokes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys.json"

    def run(*words: str) -> Any:
        return CliRunner().invoke(cli, ["keys", *words])

    monkeypatch.delenv("LATENTSERVE_KEYS", raising=False)
    monkeypatch.delenv("LATENTSERVE_HOME", raising=False)
    assert "LATENTSERVE_KEYS" in str(run("list").exception)
    monkeypatch.setenv("LATENTSERVE_KEYS", str(file))
    assert "no such file" in str(run("list").exception)
    made = run("add", "gallery", "--scopes", "sample, score", "--rows-per-second", "1000", "--expires", "90d")
    assert made.exit_code == 0, made.output
    text = made.stdout.strip()
    assert re.fullmatch(r"ls_[\w-]{43}", text)
    assert "already" in str(run("add", "gallery").exception)
    for words in (["--scopes", "all"], ["--scopes", ","], ["--expires", "soon"], ["--expires", "9999999d"]):
        assert words[0] in str(run("add", "other", *words).exception), words
    assert run("add", "other", "--rows-per-second", "0").exit_code == 2
    assert "name" in str(run("add", "a\nb").exception)
    listed = json.loads(run("list", "--json").output)
    assert [one["scopes"] for one in listed] == [["sample", "score"]]
    assert listed[0]["rows_per_second"] == 1000
    until = datetime.fromisoformat(listed[0]["expires"]) - datetime.now(UTC)
    assert timedelta(days=89) < until < timedelta(days=91)
    assert text not in file.read_text()
    assert run("revoke", "gallery").exit_code == 0
    assert "no key gallery" in str(run("revoke", "gallery").exception)
    assert "was revoked" in run("list").output
    assert run("add", "gallery").exit_code == 0  # a revoked key's name is free


def test_a_default_file_in_home_turns_keys_on(bundle: Path, tmp_path: Path) -> None:
    with Server(bundle, home=tmp_path) as running:
        locked = Locked(running, tmp_path / "keys.json")
        assert locked.ask("anything").status_code == 200
        key = locked.add("first", "sample")
        running.wait_for(lambda: locked.ask().status_code == 401)
        assert locked.ask(key).status_code == 200
        assert locked.ask(key, "GET", "/v1/models").status_code == 200
        assert locked.ask(None, "GET", "/metrics").status_code == 200  # metadata is open


# Quotas


def test_answers_tell_what_is_left(locked: Locked) -> None:
    key = locked.add("told", "sample", rows_per_second=50)
    answer = locked.ask(key, json={"n": 20})
    assert answer.status_code == 200
    assert answer.headers["RateLimit-Policy"] == '"rows";q=50;w=1'
    assert answer.headers["RateLimit"] == '"rows";r=30;t=1'
    answers = [locked.ask(key, json={"n": 45}) for _ in range(3)]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["type"].endswith(":quota")
    assert refused.json()["retry_after"] == int(refused.headers["Retry-After"]) == 1
    assert refused.headers["RateLimit"].startswith('"rows";r=')


def test_two_workers_give_a_key_no_more_than_its_quota(locked: Locked) -> None:
    held_to(locked, 200, 2.0)


@pytest.mark.full
def test_two_workers_give_a_key_no_more_than_its_quota_for_a_minute(locked: Locked) -> None:
    rows = held_to(locked, 500, 60.0)
    assert rows <= 1.05 * 500 * 60


def held_to(locked: Locked, rate: int, seconds: float) -> int:
    """Many at once ask as fast as they can, in portions of one row and many, by all kinds of routes; the rows."""
    key = locked.add(f"held-{seconds}", "sample", rows_per_second=rate)
    headers = {"Authorization": f"Bearer {key}"}
    kinds: list[tuple[str, str, dict[str, Any], int]] = [
        ("POST", "/v1/samples", {"n": 1}, 1),
        ("POST", "/v1/samples", {"n": 7}, 7),
        ("GET", "/v1/models/toy/samples/7", {}, 1),
        ("POST", "/v2/models/toy/infer", {"parameters": {"n": 3}}, 3),
        ("POST", "/v1/variations", {"seed": 7, "n": 4}, 4),
        ("POST", "/sample", {"n": 2}, 2),
        ("POST", "/v1/images/generations", {"prompt": "", "n": 2}, 2),
    ]

    async def ask() -> int:
        end = time.monotonic() + seconds
        limits = httpx.Limits(max_connections=32)
        async with httpx.AsyncClient(base_url=locked.server.url, headers=headers, limits=limits, timeout=60) as http:

            async def some(number: int) -> int:
                rows = 0
                while time.monotonic() < end:
                    method, path, body, n = kinds[number % len(kinds)]
                    number += 1
                    answer = await http.request(method, path, json=body if method == "POST" else None)
                    assert answer.status_code in (200, 429), answer.text
                    rows += n if answer.status_code == 200 else 0
                return rows

            return sum(await asyncio.gather(*(some(number) for number in range(16))))

    began = time.monotonic()
    rows = asyncio.run(ask())
    assert rate < rows <= rate * (time.monotonic() - began + 1)
    return rows


def test_a_large_request_is_sent_as_fast_as_it_is_paid_for(locked: Locked) -> None:
    key = locked.add("large", "sample", rows_per_second=500)
    began = time.monotonic()
    answer = locked.ask(key, json={"n": 1000, "seed": 7}, headers={"Accept": "application/octet-stream"})
    assert time.monotonic() - began >= 0.9
    assert answer.content == locked.server.http.post(
        "/v1/samples",
        json={"n": 1000, "seed": 7},
        headers={"Accept": "application/octet-stream", "X-API-Key": locked.add("any", "sample")},
    ).content  # fmt: skip


def test_rows_that_are_chosen_are_paid_for_as_they_are_made(locked: Locked) -> None:
    key = locked.add("chooser", "sample", rows_per_second=100)
    began = time.monotonic()
    answer = locked.ask(key, json={"n": 3, "seed": 7, "select": {"of": 64}})
    assert answer.status_code == 200
    looked_at = int(answer.headers["Latentserve-Looked-At"])
    assert time.monotonic() - began >= (looked_at - 100) / 100 - 0.1


def test_a_small_request_of_more_rows_than_a_second_has_waits(locked: Locked) -> None:
    key = locked.add("slow", "sample", rows_per_second=10)
    began = time.monotonic()
    answer = locked.ask(key, json={"n": 20})
    assert answer.status_code == 200
    assert time.monotonic() - began >= 0.9


def test_rows_in_flight_are_of_both_workers(locked: Locked) -> None:
    key = locked.add("flying", "sample", rows_per_second=400, rows_in_flight=1000)
    too_many = locked.ask(key, json={"n": 1001})
    assert (too_many.status_code, too_many.json()["type"].rsplit(":", 1)[1]) == (413, "too-large")

    async def ask() -> list[int]:
        async with httpx.AsyncClient(base_url=locked.server.url, timeout=60) as http:
            headers = {"X-API-Key": key}
            given = [http.post("/v1/samples", json={"n": 600}, headers=headers) for _ in range(6)]
            return sorted(answer.status_code for answer in await asyncio.gather(*given))

    assert asyncio.run(ask()) == [200, 429, 429, 429, 429, 429]
    assert locked.ask(key, json={"n": 600}).status_code in (200, 429)


@pytest.mark.parametrize("how", ["expires", "is revoked", "is taken away"])
def test_a_key_that_ends_in_the_middle_of_an_answer_ends_it(locked: Locked, how: str) -> None:
    name = f"ends-{how.split()[-1]}"
    expires = datetime.now(UTC) + timedelta(seconds=1.5) if how == "expires" else None
    key = locked.add(name, "sample", rows_per_second=200, expires=expires)
    headers = {"X-API-Key": key, "Accept": "application/x-ndjson"}
    received = 0

    def read() -> None:
        nonlocal received
        with locked.server.http.stream("POST", "/v1/samples", json={"n": 100_000}, headers=headers) as answer:
            assert answer.status_code == 200
            for line in answer.iter_lines():
                received += line != ""
                if received == 100 and how == "is revoked":
                    locked.revoke(name)
                if received == 100 and how == "is taken away":
                    with changing(locked.file) as held:
                        held[:] = [one for one in held if one.name != name]

    with pytest.raises(httpx.RemoteProtocolError):
        read()
    assert 100 <= received < 2000
    locked.server.wait_for(lambda: "while rows were sent" in locked.server.log.read_text())


def test_scores_are_paid_for(locked: Locked) -> None:
    key = locked.add("scorer", "score", rows_per_second=4)
    body = {"samples": [[[[0.0] * 8] * 8]] * 3, "label": 3}
    answers = [locked.ask(key, path="/v1/scores", json=body) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]


def test_what_each_key_has_used_is_told(locked: Locked) -> None:
    key = locked.add("used", "sample", rows_per_second=100)
    assert locked.ask(key, json={"n": 60}).status_code == 200
    assert locked.ask(key, json={"n": 90}).status_code == 429
    done = CliRunner().invoke(cli, ["keys", "--keys", str(locked.file), "usage", "--json"])
    assert done.exit_code == 0, done.output
    (one,) = [one for one in json.loads(done.output) if one["name"] == "used"]
    assert (one["requests"], one["rows"], one["refused"], one["rows_in_flight"]) == (1, 60, 1, 0)
    assert "used" in CliRunner().invoke(cli, ["keys", "--keys", str(locked.file), "usage"]).output


# The page


def test_the_page_asks_for_a_key_and_sends_it_with_all_that_it_asks(locked: Locked) -> None:
    """It is kept for the tab alone. One whose rows are used up for now is told so, and goes on by itself."""
    key = locked.add("looks", "sample", rows_per_second=12)
    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(15_000)
        page.goto(f"{locked.server.url}/ui#play?n=9")
        page.fill("#key", "no-such-key")
        page.get_by_role("button", name="Use it").click()
        page.locator(".failure p", has_text="there is no such key").wait_for()
        page.fill("#key", key)
        page.get_by_role("button", name="Use it").click()
        page.wait_for_selector("#wall[aria-busy=false] img")
        assert page.eval_on_selector_all("#wall img", "all => all.map(one => one.naturalWidth)") == [8] * 9
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
        page.select_option("#count", "100")
        page.get_by_role("button", name="Try again").wait_for()
        page.select_option("#count", "9")
        page.wait_for_selector("#wall[aria-busy=false] img")
        page.click("#code")
        assert "$LATENTSERVE_KEY" in page.locator(".snippet pre").nth(0).inner_text()
        other = browser.new_page()
        other.goto(f"{locked.server.url}/ui")
        other.wait_for_selector("#key")  # of another tab nothing is known


# Names


def test_a_page_whose_name_means_this_machine_is_told_so(server: Server) -> None:
    for host, status in (("evil.example", 421), ("evil.example:3000", 421), ("localhost", 200), ("127.0.0.1:9", 200)):
        answer = server.http.get("/v1/models", headers={"Host": host})
        assert answer.status_code == status, host
    assert server.http.get("/livez", headers={"Host": "evil.example"}).status_code == 200
    assert server.http.post("/sample", json={}, headers={"Host": "evil.example"}).status_code == 421
