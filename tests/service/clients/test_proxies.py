"""Proxies in front, as people have them: with the connections they keep, and without; with buffers, and without; with
their own checks of health."""

from __future__ import annotations

import getpass
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.server import Server, free_port
from tests.service.clients.conftest import HEADERS, PATH, Question, tool

pytestmark = pytest.mark.full


@dataclass(frozen=True)
class Proxy:
    """A program that is started by a configuration, in which each of its `ways` is shown under its number.

    Attributes:
        command: of `{program}` and the `{file}` of the configuration, in `{folder}`.
        whole, way: the configuration, and what it has of each way.
    """

    package: str
    command: str
    whole: str
    way: str
    ways: dict[str, str]


# HTTP/1.0 and no kept connection are nginx's defaults.
KEPT = 'proxy_http_version 1.1; proxy_set_header Connection "";'
UNBUFFERED = "proxy_buffering off; proxy_request_buffering off;"
PROXIES = {
    "nginx": Proxy(
        "nginx-light",
        "{program} -p {folder} -c {file}",
        """
user {user}; daemon off; pid {folder}/pid; error_log {folder}/log warn; worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off; client_max_body_size 64m;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream latentserve {{ server {upstream}; keepalive 4; }}
    server {{ listen 127.0.0.1:{port}; {ways} }}
}}
""",
        "location /{number}/ {{ proxy_pass http://latentserve/; {way} }}",
        {
            "defaults": "",
            "kept": KEPT,
            "kept, unbuffered": f"{KEPT} {UNBUFFERED}",
            "unbuffered": UNBUFFERED,
            "every header passed on": f"{KEPT} proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr; "
            "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; "
            "proxy_set_header X-Forwarded-Proto $scheme;",
            # What is copied from guides on websockets, of clients that ask for none.
            "upgrade": "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
            'proxy_set_header Connection "upgrade";',
        },
    ),
    "haproxy": Proxy(
        "haproxy",
        "{program} -f {file}",
        """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend all
    bind 127.0.0.1:{port}
    use_backend %[path,field(2,/)]
{ways}
""",
        """
backend {number}
    http-request replace-path /[0-9]+(/.*) \\1
    {way}
""",
        {
            "defaults": "server one {upstream}",
            "checked by OPTIONS of HTTP/1.0": "option httpchk\n    server one {upstream} check inter 100ms",
            "checked by GET": "option httpchk GET /readyz\n    server one {upstream} check inter 100ms",
            "always reused": "http-reuse always\n    option forwardfor\n    retry-on all-retryable-errors\n"
            "    server one {upstream}",
            "never reused": "option httpclose\n    server one {upstream}",
        },
    ),
}


@pytest.fixture(scope="module", params=PROXIES)
def proxied(
    request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, httpx.Client]]:
    """The name of a proxy, and a client of it. Its ways are `/0/`, `/1/` ..., in their order."""
    name, proxy = request.param, PROXIES[request.param]
    folder, port = tmp_path_factory.mktemp(name), free_port()
    file = folder / "configuration"
    known = {"user": getpass.getuser(), "folder": folder, "upstream": server.url.removeprefix("http://"), "port": port}
    known |= {"program": tool(name, proxy.package), "file": file}
    ways = "\n".join(
        proxy.way.format(**known, number=number, way=way.replace("{upstream}", str(known["upstream"])))
        for number, way in enumerate(proxy.ways.values())
    )
    file.write_text(proxy.whole.format(**known, ways=ways))
    log = folder / "output"
    with log.open("wb") as output:
        process = subprocess.Popen(
            proxy.command.format(**known).split(),
            stdout=output,
            stderr=output,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            for number in range(len(proxy.ways)):
                _wait(client, f"/{number}/livez", process, log)
            yield name, client
    finally:
        process.terminate()
        process.wait()


def _wait(client: httpx.Client, path: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            if client.get(path).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)


def test_rows_come_through(proxied: tuple[str, httpx.Client], question: Question) -> None:
    name, client = proxied
    for number, way in enumerate(PROXIES[name].ways):
        for _ in range(5):
            answer = client.post(f"/{number}{PATH}", content=question.body, headers=HEADERS)
            assert answer.status_code == 200, (way, answer.text[:500])
            assert answer.content == question.rows, way


def test_problems_come_through(proxied: tuple[str, httpx.Client]) -> None:
    name, client = proxied
    for number, way in enumerate(PROXIES[name].ways):
        answer = client.post(f"/{number}{PATH}", json={"n": 0})
        assert answer.status_code == 422, way
        assert answer.headers["content-type"] == "application/problem+json", way
