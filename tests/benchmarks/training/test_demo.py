"""How `make demo` is timed, on a checkout whose parts take no time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.runner import main
from benchmarks.training import demo

SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(200 if self.path == "/v1/samples" else 404)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def checkout(folder: Path, recipe: str) -> Path:
    folder.mkdir()
    (folder / "server.py").write_text(SERVER)
    (folder / "Makefile").write_text(f"demo:\n{recipe}")
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    for words in (("init", "-q"), ("add", "-A"), (*identity, "commit", "-q", "-m", "all")):
        subprocess.run(["git", "-C", str(folder), *words], check=True)
    return folder


def test_parts_end_with_the_commands_after_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = (
        "\tsleep 0.5\n\techo .venv/bin/latentserve train digits\n\techo .venv/bin/latentserve export demo/run\n"
        f"\t@echo http://127.0.0.1:$(PORT)/v1/samples\n\t@exec {sys.executable} server.py $(PORT)\n"
    )
    monkeypatch.setattr(demo, "_TOP", checkout(tmp_path / "checkout", recipe))
    main(["demo", "--out", str(tmp_path / "demo")])
    results = json.loads((tmp_path / "demo.json").read_text())
    assert list(results["seconds"]) == ["installation", "training", "export", "start"]
    assert results["seconds"]["installation"] >= 0.4
    assert "| installation |" in (tmp_path / "demo.md").read_text()


def test_what_does_not_answer_is_not_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "_TOP", checkout(tmp_path / "checkout", "\t@echo no space left; exit 3\n"))
    with pytest.raises(SystemExit):
        main(["demo", "--out", str(tmp_path / "demo")])
    assert "make demo does not answer" in capsys.readouterr().err
    assert not (tmp_path / "demo.json").exists()
