"""Panels of what is no server, asked of a real Prometheus: training, by a real run, and GPUs, by a stand-in for their
exporter. Panels of servers are asked where a fleet runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.fleet.panels.scene import prometheus, training
from deploy import windows
from deploy.names import GPU_JOB, TRAINING_JOB
from deploy.rules import rule_files
from tests.deploy.panels import empty, read
from tests.deploy.test_dashboards import OF_GPUS
from tests.fleet import tool

SECONDS = 90.0
SCRAPE = 0.5
FASTER = windows.SCRAPE / SCRAPE  # and rules are looked at as often

GPU = '{gpu="0",UUID="GPU-0",pci_bus_id="00000000:01:00.0",device="nvidia0",modelName="NVIDIA H200",Hostname="node"}'
GPU_PAGE = "".join(f"# TYPE {name} gauge\n{name}{GPU} 7\n" for name in sorted(OF_GPUS))


@pytest.fixture
def rules(tmp_path: Path) -> list[Path]:
    tool("prometheus")
    name = "training.rules.yml"
    (tmp_path / name).write_text(rule_files(windows.Times(FASTER), "runbooks")[name])
    return [tmp_path / name]


def still_empty(url: str, dashboard: dict[str, object]) -> list[str]:
    """What is empty when it has been long enough, or nothing is."""
    deadline = time.monotonic() + SECONDS
    known: set[str] = set()
    while found := empty(url, dashboard, seconds=SECONDS, scrape=SCRAPE, folded=True, known=known):
        if time.monotonic() > deadline:
            break
        time.sleep(1)
    return found


def test_training(rules: list[Path], tmp_path: Path):
    with ExitStack() as running:
        port = running.enter_context(training(tmp_path / "run", "tick=1000", "images=50000000", "threads=1"))
        jobs = {TRAINING_JOB: [port]}
        url = running.enter_context(prometheus(tmp_path / "prometheus", rules, SCRAPE, jobs))
        assert still_empty(url, read("training")) == [], (tmp_path / "run.log").read_text()


def test_gpus(rules: list[Path], tmp_path: Path):
    service = read("service")
    (row,) = (panel for panel in service["panels"] if panel["type"] == "row" and panel["panels"])
    variables = [one for one in service["templating"]["list"] if one["type"] != "query"]
    with ExitStack() as running:
        port = running.enter_context(_exporter())
        url = running.enter_context(prometheus(tmp_path / "prometheus", rules, SCRAPE, {GPU_JOB: [port]}))
        assert still_empty(url, {**service, "panels": [row], "templating": {"list": variables}}) == []


@contextmanager
def _exporter() -> Iterator[int]:
    """The port of what shows GPU_PAGE."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(GPU_PAGE.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_a_panel_that_says_nothing_is_named(rules: list[Path], tmp_path: Path):
    dashboard = read("training")
    dashboard["panels"] = [panel for panel in dashboard["panels"] if panel["type"] != "row"][:1]
    dashboard["templating"]["list"] = [one for one in dashboard["templating"]["list"] if one["type"] == "constant"]
    dashboard["panels"][0]["targets"][0]["expr"] = "vector(NaN)"
    with prometheus(tmp_path / "prometheus", rules, SCRAPE, {}) as url:
        assert empty(url, dashboard, seconds=10, scrape=SCRAPE) == ["Runs: vector(NaN)"]
