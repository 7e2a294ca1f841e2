"""wrk, which speaks HTTP/1.1, and ab, which keeps connections of HTTP/1.0."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.server import Server
from tests.service.clients.conftest import HEADERS, PATH, Question, run, tool

pytestmark = pytest.mark.full

# It looks at every answer: its own counts are of statuses and sockets.
LUA = """
local function read(path) local file = io.open(path, "rb") local all = file:read("*a") file:close() return all end
local rows = read("rows")
wrk.method, wrk.body = "POST", read("body")
wrk.headers["Content-Type"], wrk.headers["Accept"] = "{Content-Type}", "{Accept}"
response = function(status, headers, body) if status ~= 200 or body ~= rows then print("wrong: " .. status) end end
"""


def test_wrk(server: Server, question: Question, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(question.body)
    (tmp_path / "rows").write_bytes(question.rows)
    script = LUA.replace("{Content-Type}", HEADERS["Content-Type"]).replace("{Accept}", HEADERS["Accept"])
    (tmp_path / "ask.lua").write_text(script)
    command = [tool("wrk", "wrk"), "-t", "1", "-c", "2", "-d", "3s", "-s", "ask.lua", f"{server.url}{PATH}"]
    printed = run(*command, cwd=tmp_path).stdout
    assert "wrong" not in printed
    assert "Socket errors" not in printed
    assert "Non-2xx" not in printed
    asked = re.search(r"(\d+) requests in", printed)
    assert asked is not None
    assert int(asked[1]) > 0


@pytest.mark.parametrize("keep", [True, False])
def test_ab(server: Server, question: Question, keep: bool, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(question.body)
    command = [tool("ab", "apache2-utils"), *(["-k"] if keep else []), "-n", "50", "-c", "5", "-p", "body"]
    command += ["-T", HEADERS["Content-Type"], "-H", f"Accept: {HEADERS['Accept']}", f"{server.url}{PATH}"]
    printed = run(*command, cwd=tmp_path).stdout

    def count(of: str) -> int:
        found = re.search(rf"^{of}:\s+(\d+)", printed, re.MULTILINE)
        return int(found[1]) if found else 0

    assert (count("Complete requests"), count("Failed requests"), count("Non-2xx responses")) == (50, 0, 0)
    assert count("Keep-Alive requests") == (50 if keep else 0)
    assert count("HTML transferred") == 50 * len(question.rows)
