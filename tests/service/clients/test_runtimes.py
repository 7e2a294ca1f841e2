"""The clients that other languages bring: the JDK's and Node's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.server import Server
from tests.service.clients.conftest import PATH, Question, run, tool

HERE = Path(__file__).parent

pytestmark = pytest.mark.full


def ask(program: list[str], server: Server, question: Question, folder: Path) -> None:
    (folder / "body").write_bytes(question.body)
    (folder / "rows").write_bytes(question.rows)
    run(*program, f"{server.url}{PATH}", str(folder / "body"), str(folder / "rows"))


def test_the_jdk(server: Server, question: Question, tmp_path: Path) -> None:
    java = tool("java", "default-jdk-headless")
    modules = subprocess.run([java, "--list-modules"], capture_output=True, text=True, check=False).stdout
    if "jdk.compiler@" not in modules:
        pytest.skip("no compiler of Java: apt-get install default-jdk-headless")
    ask([java, str(HERE / "Ask.java")], server, question, tmp_path)


def test_node(server: Server, question: Question, tmp_path: Path) -> None:
    ask([tool("node", "nodejs"), str(HERE / "ask.mjs")], server, question, tmp_path)
