"""nginx in front, as people have it: with the connections it keeps, and without; with buffers, and without."""

from __future__ import annotations

import getpass
import subprocess
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.server import Server, free_port
from tests.service.clients.conftest import HEADERS, PATH, Question, tool

pytestmark = pytest.mark.full

# HTTP/1.0 and no kept connection are nginx's defaults.
KEPT = 'proxy_http_version 1.1; proxy_set_header Connection "";'
UNBUFFERED = "proxy_buffering off; proxy_request_buffering off;"
WAYS = {
    "defaults": "",
    "kept": KEPT,
    "kept, unbuffered": f"{KEPT} {UNBUFFERED}",
    "unbuffered": UNBUFFERED,
    "every header passed on": f"{KEPT} proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr; "
    "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;",
}
CONFIGURATION = """
user {user}; daemon off; pid {folder}/pid; error_log {folder}/log warn; worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off; client_max_body_size 64m;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream latentserve {{ server {upstream}; keepalive 4; }}
    server {{ listen 127.0.0.1:{port}; {locations} }}
}}
"""


@pytest.fixture(scope="module")
def nginx(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of it. Its locations are `/0/`, `/1/` ..., in WAYS' order."""
    program = tool("nginx", "nginx-light")
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    locations = "".join(
        f"location /{k}/ {{ proxy_pass http://latentserve/; {way} }}\n" for k, way in enumerate(WAYS.values())
    )
    file = folder / "nginx.conf"
    upstream = server.url.removeprefix("http://")
    file.write_text(
        CONFIGURATION.format(user=getpass.getuser(), folder=folder, upstream=upstream, port=port, locations=locations)
    )
    process = subprocess.Popen([program, "-p", str(folder), "-c", str(file)], stderr=subprocess.PIPE)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            for _ in range(100):
                assert process.poll() is None, (folder / "log").read_text()
                try:
                    client.get("/0/livez")
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
            yield client
    finally:
        process.terminate()
        process.communicate()


@pytest.mark.parametrize("way", WAYS)
def test_rows_come_through(nginx: httpx.Client, question: Question, way: str) -> None:
    where = f"/{list(WAYS).index(way)}{PATH}"
    for _ in range(5):
        answer = nginx.post(where, content=question.body, headers=HEADERS)
        assert answer.status_code == 200, answer.text[:500]
        assert answer.content == question.rows


@pytest.mark.parametrize("way", WAYS)
def test_problems_come_through(nginx: httpx.Client, way: str) -> None:
    answer = nginx.post(f"/{list(WAYS).index(way)}{PATH}", json={"n": 0})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
