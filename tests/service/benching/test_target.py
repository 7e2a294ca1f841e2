"""A server behind a URL: which URLs are taken, what is refused in the server's own words, and TLS."""

from __future__ import annotations

import json
import ssl

import pytest

from latentserve.service.benching.requests import Address, seeded
from latentserve.service.benching.target import Target
from latentserve.service.client import Client, ServerError
from tests.server import Server, free_port
from tests.service.benching.known import ANSWER, Known


def test_urls() -> None:
    assert Target("http://a").address == Address(80, "a")
    assert Target("http://a:81/").address == Address(81, "a")
    assert Target("http://[::1]:82/behind").address == Address(82, "::1")
    secure = Target("https://a").address
    assert (secure.host, secure.port) == ("a", 443)
    assert secure.tls is not None
    assert secure.tls.verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    "url",
    ["http://", "http://a:b", "http://a:70000", "http://[::1", "http://me:secret@a", "http://a?b", "http://a#b"],
)
def test_what_is_no_url_of_a_server(url: str) -> None:
    with pytest.raises(ServerError) as refused:
        _ = Target(url).address
    assert str(refused.value).startswith(url)
    assert "\n" not in str(refused.value)


def test_requests_name_host_path_and_model() -> None:
    request = Target("http://a:81/behind/", "digits").requests(64)(7)
    head, body = request.split(b"\r\n\r\n")
    assert head.startswith(b"POST /behind/v1/samples HTTP/1.1\r\nHost: a:81\r\n")
    assert json.loads(body) == {"n": 64, "seed": 7, "model": "digits"}
    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(seeded(1, dtype=None, model='"%d"')(3).split(b"\r\n\r\n")[1]) == {
        "n": 1,
        "seed": 3,
        "model": '"%d"',
    }


def test_what_a_server_serves_and_refuses(server: Server) -> None:
    assert [model["name"] for model in Client(server.url).models()] == ["toy", "plain"]
    Target(server.url, "plain").check(64)
    with pytest.raises(ServerError, match=r"404 .*nobody"):
        Target(server.url, "nobody").check(1)
    with pytest.raises(ServerError, match=r"413 .*1000001"):
        Target(server.url, "toy").check(1_000_001)
    with pytest.raises(ServerError, match="404"):
        Client(f"{server.url}/elsewhere").models()


def test_what_is_no_server() -> None:
    with pytest.raises(ServerError, match="refused"):
        Client(f"http://127.0.0.1:{free_port()}", retries=0).models()
    for answer in (
        ANSWER,
        b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"models": [{}]}',
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone",
        b"SSH-2.0-OpenSSH\r\n",
    ):
        with Known(answer) as known, pytest.raises(ServerError) as refused:
            Client(
                f"http://127.0.0.1:{known.address.port}", timeout=1, retries=0
            ).models()  # SSH waits for what it understands
        assert "\n" not in str(refused.value)
        assert str(refused.value).startswith(f"http://127.0.0.1:{known.address.port}: ")
