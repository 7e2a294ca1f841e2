"""curl, in the ways that it can send a body and be answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server import Server
from tests.service.clients.conftest import HEADERS, PATH, Question, run, tool

pytestmark = pytest.mark.full

WAYS = {
    "HTTP/1.1": ["--http1.1"],
    "HTTP/1.0": ["--http1.0"],
    "an offer of HTTP/2": ["--http2"],
    "Expect": ["-H", "Expect: 100-continue"],
    "no Expect": ["-H", "Expect:"],
    "compressed": ["--compressed"],
    "slowly": ["--limit-rate", "4M"],
}


def asked(server: Server, *options: str) -> list[str]:
    headers = [word for name, value in HEADERS.items() for word in ("-H", f"{name}: {value}")]
    return [tool("curl", "curl"), "--silent", "--show-error", "--fail", *headers, *options, f"{server.url}{PATH}"]


@pytest.mark.parametrize("way", WAYS)
def test_a_body_with_its_length(server: Server, question: Question, way: str, tmp_path: Path) -> None:
    (tmp_path / "body.json").write_bytes(question.body)
    run(*asked(server, *WAYS[way], "--data-binary", "@body.json", "-o", "rows"), cwd=tmp_path)
    assert (tmp_path / "rows").read_bytes() == question.rows


@pytest.mark.parametrize("way", [way for way in WAYS if way != "HTTP/1.0"])
def test_a_body_in_chunks(server: Server, question: Question, way: str, tmp_path: Path) -> None:
    (tmp_path / "body.json").write_bytes(question.body)
    chunked = ["-X", "POST", "-H", "Transfer-Encoding: chunked", "-T", "body.json"]
    run(*asked(server, *WAYS[way], *chunked, "-o", "rows"), cwd=tmp_path)
    assert (tmp_path / "rows").read_bytes() == question.rows


def test_several_over_one_connection(server: Server, small: Question, tmp_path: Path) -> None:
    outputs = [word for k in range(4) for word in ("-o", f"rows{k}")]
    options = ["--data-binary", small.body.decode(), "-w", "%{num_connects} "]
    printed = run(*asked(server, *options, *outputs), *[f"{server.url}{PATH}"] * 3, cwd=tmp_path).stdout
    assert printed.split() == ["1", "0", "0", "0"]
    assert all((tmp_path / f"rows{k}").read_bytes() == small.rows for k in range(4))


def test_an_absolute_address(server: Server, small: Question, tmp_path: Path) -> None:
    """As a client of a proxy sends it."""
    run(*asked(server, "--proxy", server.url, "--noproxy", "", "--data-binary", small.body.decode(), "-o", "rows"),
        cwd=tmp_path)  # fmt: skip
    assert (tmp_path / "rows").read_bytes() == small.rows


def test_only_the_head(server: Server) -> None:
    printed = run(tool("curl", "curl"), "--silent", "--fail", "--head", f"{server.url}/v1/models").stdout
    assert printed.startswith("HTTP/1.1 200")
