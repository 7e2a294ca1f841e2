"""The check that the image asks for its health: of servers wherever they listen."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from latentserve.service.health import ask
from tests.certificates import self_signed
from tests.server import START_SECONDS, Server, free_port

PROXIES = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"), "http://127.0.0.1:9")


def check(home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The check, with proxies and what Kubernetes says of a Service in its environment."""
    told = {**PROXIES, "LATENTSERVE_PORT": "tcp://10.96.12.7:3000", "LATENTSERVE_HOME": str(home), **variables}
    command = [sys.executable, "-P", "-m", "latentserve.service.health"]
    return subprocess.run(command, env={**os.environ, **told}, capture_output=True, text=True, check=False)


def test_nobody_is_there(tmp_path: Path) -> None:
    ended = check(tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [f"no server has its folder in {tmp_path}"]


def test_what_a_server_left_half_written_is_passed_over(tmp_path: Path) -> None:
    for number, content in enumerate((b"", b"http://[", b"http://127.0.0.1:99999", b"\xff", b"http+unix:/nowhere")):
        (tmp_path / f"latentserve-{number}").mkdir()
        (tmp_path / f"latentserve-{number}" / "address").write_bytes(content)
    ended = check(tmp_path)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_every_address_of_both_kinds_may_be_of_one(address: str) -> None:
    """Containers often have no IPv6; a socket that was handed over may be of nothing else."""
    with HTTPServer6((address, 0), Ready) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        assert ask(f"http://[::]:{server.server_port}") == 200


class Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


class HTTPServer6(HTTPServer):
    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)


def test_a_server_is_asked_where_it_is(bundle: Path, tmp_path: Path, start_server: Callable[..., Server]) -> None:
    """On a port that is in no setting; until it is killed."""
    server = start_server(bundle, home=tmp_path)
    ended = check(tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()
    assert check(tmp_path).returncode == 1


WAYS = {
    "unix": {"SOCKET": "{folder}/socket"},
    "TLS": {"TLS_CERTIFICATE": "{folder}/certificate.pem", "TLS_KEY": "{folder}/key.pem"},
    "TLS, unix": {"SOCKET": "{folder}/socket", "TLS_CERTIFICATE": "{folder}/both.pem"},
    "IPv6": {"HOST": "::1"},
    "every address": {"HOST": "0.0.0.0", "ALLOW_OPEN": "true"},  # noqa: S104
    "every address of both kinds": {"HOST": "::", "ALLOW_OPEN": "true"},
    "a path": {"ROOT_PATH": "/below"},
}


@pytest.mark.full
@pytest.mark.parametrize("way", WAYS)
def test_a_server_is_asked_however_it_listens(way: str, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "both.pem").write_text("".join(file.read_text() for file in self_signed(tmp_path)))
    stated = {f"LATENTSERVE_{name}": text.format(folder=tmp_path) for name, text in WAYS[way].items()}
    if "LATENTSERVE_SOCKET" not in stated:
        stated["LATENTSERVE_PORT"] = str(free_port())
    command = [sys.executable, "-P", "-m", "latentserve", "serve", str(bundle)]
    environment = {**os.environ, **stated, "LATENTSERVE_HOME": str(tmp_path)}
    server = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + START_SECONDS
        while (ended := check(tmp_path)).returncode:
            assert server.poll() is None, server.communicate()[1]
            assert time.monotonic() < end, ended.stderr
    finally:
        server.terminate()
        server.communicate()
