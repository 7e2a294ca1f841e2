"""Panels of what is no server, asked of a real Prometheus: training, by a real run, and GPUs, by a stand-in for their
exporter. Panels of servers are asked where a fleet runs."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from deploy.names import TRAINING_JOB
from deploy.rules import rule_files
from deploy.windows import Times
from service.benching.process import process_group
from tests.deploy.panels import empty, read
from tests.deploy.test_dashboards import OF_GPUS
from tests.fleet import tool
from tests.server import free_port

SECONDS = 90.0
SCRAPE = 1.0

GPU = '{gpu="0",UUID="GPU-0",pci_bus_id="00000000:01:00.0",device="nvidia0",modelName="NVIDIA H200",Hostname="node"}'
GPU_PAGE = "".join(f"# TYPE {name} gauge\n{name}{GPU} 7\n" for name in sorted(OF_GPUS))


@contextmanager
def prometheus(folder: Path, **jobs: int) -> Iterator[str]:
    """The URL of one that scrapes these ports of the loopback interface, by job, with the rules of training."""
    folder.mkdir()
    (folder / "training.rules.yml").write_text(rule_files(Times(), "runbooks")["training.rules.yml"])
    scraped = [{"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]} for job, port in jobs.items()]
    every = {"scrape_interval": f"{SCRAPE:g}s", "evaluation_interval": f"{SCRAPE:g}s"}
    content = {"global": every, "rule_files": ["training.rules.yml"], "scrape_configs": scraped}
    (folder / "prometheus.yml").write_text(json.dumps(content))
    url = f"127.0.0.1:{free_port()}"
    command = [
        tool("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'series'}",
    ]
    with process_group([*map(str, command), f"--web.listen-address={url}"], folder / "log", os.environ):
        deadline = time.monotonic() + SECONDS
        while not _ready(f"http://{url}"):
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield f"http://{url}"


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", timeout=5).is_success
    except httpx.TransportError:
        return False


def still_empty(url: str, dashboard: dict[str, object]) -> list[str]:
    """What is empty when it has been long enough, or nothing is."""
    deadline = time.monotonic() + SECONDS
    while found := empty(url, dashboard, seconds=SECONDS, scrape=SCRAPE, folded=True):
        if time.monotonic() > deadline:
            break
        time.sleep(1)
    return found


def test_training(tmp_path: Path):
    port = free_port()
    often = ["--set", "tick=1000", "--set", "images=50000000"]
    words = ["train", "digits", *often, "--metrics-port", str(port), "--out", str(tmp_path / "run")]
    with ExitStack() as running:
        url = running.enter_context(prometheus(tmp_path / "prometheus", **{TRAINING_JOB: port}))
        command = [sys.executable, "-m", "service", *words]
        running.enter_context(process_group(command, tmp_path / "log", os.environ))
        assert still_empty(url, read("training")) == [], (tmp_path / "log").read_text()


def test_gpus(tmp_path: Path):
    service = read("service")
    (row,) = (panel for panel in service["panels"] if panel["type"] == "row" and panel["panels"])
    variables = [one for one in service["templating"]["list"] if one["type"] != "query"]
    with ExitStack() as running:
        port = running.enter_context(_exporter())
        url = running.enter_context(prometheus(tmp_path / "prometheus", dcgm=port))
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


def test_a_panel_that_says_nothing_is_named(tmp_path: Path):
    dashboard = read("training")
    dashboard["panels"] = [panel for panel in dashboard["panels"] if panel["type"] != "row"][:1]
    dashboard["templating"]["list"] = [one for one in dashboard["templating"]["list"] if one["type"] == "constant"]
    dashboard["panels"][0]["targets"][0]["expr"] = "vector(NaN)"
    with prometheus(tmp_path / "prometheus") as url:
        assert empty(url, dashboard, seconds=10, scrape=SCRAPE) == ["Runs: vector(NaN)"]
