"""What the rules cost Prometheus: 50 replicas of 3 models each, whose series are made up, on one core.

    python -m benchmarks rules [--minutes 4]

Replicas are the real exposition of a server of three models, with counters that move, served 50 times by one process;
Prometheus is the real one, held to one core (GOMAXPROCS=1), with the rules and scrapes of `deploy`. It reports how long
each group of rules took. A group that is evaluated once a minute counts with a quarter in an interval of 15 s.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import mean
from typing import Any

import httpx
import numpy as np
import yaml
from prometheus_client import generate_latest

from benchmarks.figures import decimals
from benchmarks.fleet.programs import program
from benchmarks.runner import Results, table
from deploy.generated import generated
from deploy.names import JOB
from deploy.windows import SCRAPE, Times
from latentserve.service.benching.process import free_port, process_group
from latentserve.service.watching import metrics
from latentserve.service.watching.exposition import CONTENT_TYPES, TEXT

TITLE = "What the rules cost"

REPLICAS, MODELS = 50, 3
AIM = 1.0  # seconds of evaluation in 15

_SIGNALS = ("mean", "std", "saturated_share", "high_frequency", "critic_score", "label_margin")
_WATCHED = metrics.MetricSeries(
    signals=_SIGNALS,
    binned=_SIGNALS,
    probes=16,
    components=32,
    labels=[str(label) for label in range(10)],
    classified=[str(label) for label in range(10)],
    detectors=("generated", "joint", "asked", "latents", "labels"),
)
_DURATION = "prometheus_rule_group_last_duration_seconds"
_WARM_SECONDS = 360.0  # the base window, and all scrapes begun
_SCRAPES_SECONDS = 90.0  # for what scrapes cost by themselves: as long again


class Replicas:
    """Expositions of REPLICAS servers."""

    def __init__(self) -> None:
        for index in range(MODELS):
            model = metrics.ModelMetrics(f"model-{index}", "0123456789ab", _WATCHED)
            model.describe(provider="CPU", precision="fp32", device="cpu", runtime_version="1", queue_limit_rows=65_536)
            model.describe_reference(100_000, time.time(), 0.015)
            model.ready.set(1)
            model.threshold.set(23.3)
            model.show_verdict("none", dict.fromkeys(_WATCHED.detectors, 1.0))
        metrics.precreate()
        metrics.describe_worker(1, watched_rows_per_second=1000.0)
        # Only latentserve's own: a server over several processes shows no other series.
        lines = [line for line in generate_latest().decode().splitlines() if line.startswith("latentserve_")]
        self.series = len(lines)
        names, at_first = zip(*(line.rsplit(" ", 1) for line in lines), strict=True)
        self._names = names
        self._values = np.array([float(value) for value in at_first])
        grows = [re.match(r"\w+_(total|bucket|count|sum)({|$)", name) is not None for name in names]
        rates = np.random.default_rng(0).uniform(1, 20, len(names))
        quiet = ("nonfinite", "mismatch", "failures", "dropped", "restarts", "rejected", 'code="5')
        still = np.array([any(word in name for word in quiet) for name in names])
        self._rates = np.where(np.array(grows) & ~still, rates, 0.0)
        self._began = time.monotonic()

    def exposition(self, replica: int) -> bytes:
        """What one of them answers now."""
        seconds = time.monotonic() - self._began + 10 * replica
        values = np.floor(self._values + self._rates * seconds).tolist()
        return "".join(f"{name} {value:.17g}\n" for name, value in zip(self._names, values, strict=True)).encode()


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=4.0, help="measured, after six in which windows fill")


def measure(given: argparse.Namespace, results: Results) -> None:
    """How long each group took, over so many minutes after the base window is full. Raises AbsentError."""
    prometheus = str(program("prometheus"))
    replicas = Replicas()

    class Exporter(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = replicas.exposition(int(self.path.strip("/")))
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPES[TEXT])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002, its own name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Exporter)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    folder = Path(tempfile.mkdtemp(prefix="latentserve-rules-"))
    try:
        port = free_port()
        command = [
            prometheus,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'series'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        ]
        variables, url = {**os.environ, "GOMAXPROCS": "1"}, f"http://127.0.0.1:{port}"
        _configure(folder, server.server_port, with_rules=False)
        with process_group(command, folder / "log", variables):
            time.sleep(_SCRAPES_SECONDS)
            without = _watch(url, _SCRAPES_SECONDS / 60)
        _configure(folder, server.server_port)
        with process_group(command, folder / "log", variables):
            time.sleep(_WARM_SECONDS)
            groups = _watch(url, given.minutes)
    finally:
        server.shutdown()
        server.server_close()
        shutil.rmtree(folder)
    results |= {
        "settings": {"replicas": REPLICAS, "models": MODELS, "scrape_seconds": SCRAPE, "minutes": given.minutes},
        "series_a_replica": replicas.series,
        "cpu_in_15_s_of_scrapes": without["cpu_in_15_s"],
        **groups,
    }


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    settings = results["settings"]
    total, most = (sum(group[key] for group in results["groups"].values()) for key in ("in_15_s", "most_in_15_s"))
    cpu, scrapes = results["cpu_in_15_s"], results["cpu_in_15_s_of_scrapes"]
    yield (
        f"{settings['replicas']} replicas of {settings['models']} models, {results['series_a_replica']} series each, "
        f"made up; {results['head_series']:.0f} series in Prometheus 2.42, which had one core (GOMAXPROCS=1) for "
        f"scrapes and rules. {settings['minutes']:g} minutes, after six to fill the base window; cores are shared with "
        "the exporter and whatever else ran."
    )
    yield ""
    yield (
        f"**{decimals(total, 2, AIM)} s of evaluation in 15 s**, by the clock (the slowest of all: {most:.2f} s); "
        f"**{cpu - scrapes:.2f} s of CPU** ({cpu:.2f} s with scrapes, {scrapes:.2f} s without rules). Aim: less than "
        f"{AIM:g} s. {results['failures']:.0f} evaluations failed, {results['missed']:.0f} were missed."
    )
    rows = [
        (name, f"{group['interval']:.0f} s", *(f"{group[key]:.3f} s" for key in ("mean", "slowest", "in_15_s")))
        for name, group in results["groups"].items()
    ]
    yield from ("", *table(("group", "every", "mean", "slowest", "mean in 15 s"), rows))


def _configure(folder: Path, exporter: int, *, with_rules: bool = True) -> None:
    for name, content in generated(Times(), "docs/runbooks").items():
        if name.startswith("prometheus/"):
            (folder / Path(name).name).write_text(content)
    file = folder / "prometheus.yml"
    configuration = yaml.safe_load(file.read_text())
    del configuration["alerting"]
    if not with_rules:
        del configuration["rule_files"]
    targets = [
        {"targets": [f"127.0.0.1:{exporter}"], "labels": {"__metrics_path__": f"/{n}", "instance": f"replica-{n}:3000"}}
        for n in range(REPLICAS)
    ]
    configuration["scrape_configs"] = [{"job_name": JOB, "static_configs": targets}]
    file.write_text(yaml.safe_dump(configuration))


def _watch(url: str, minutes: float) -> dict[str, Any]:
    seen: dict[str, dict[float, float]] = {}
    first = _own_metrics(url)
    until = time.monotonic() + 60 * minutes
    while time.monotonic() < until:
        time.sleep(SCRAPE / 3)
        now = _own_metrics(url)
        for name, seconds in now.get(_DURATION, {}).items():
            seen.setdefault(name, {})[now["prometheus_rule_group_last_evaluation_timestamp_seconds"][name]] = seconds
    groups = {}
    for name, durations in sorted(seen.items()):
        interval, own = now["prometheus_rule_group_interval_seconds"][name], list(durations.values())
        groups[name] = {
            "interval": interval,
            "evaluations": len(own),
            "mean": mean(own),
            "slowest": max(own),
            "in_15_s": mean(own) * SCRAPE / interval,
            "most_in_15_s": max(own) * SCRAPE / interval,
        }
    cpu = sum(now["process_cpu_seconds_total"].values()) - sum(first["process_cpu_seconds_total"].values())
    return {
        "groups": groups,
        "head_series": now["prometheus_tsdb_head_series"][""],
        "failures": sum(now.get("prometheus_rule_evaluation_failures_total", {}).values()),
        "missed": sum(now.get("prometheus_rule_group_iterations_missed_total", {}).values()),
        "cpu_in_15_s": cpu * SCRAPE / (60 * minutes),
    }


def _own_metrics(url: str) -> dict[str, dict[str, float]]:
    """Prometheus's metrics on itself, by name and group of rules."""
    found: dict[str, dict[str, float]] = {}
    for line in httpx.get(f"{url}/metrics", timeout=30.0).text.splitlines():
        if matched := re.match(r'(\w+)(?:{rule_group="[^"]*;([^"]*)"})? (\S+)$', line):
            found.setdefault(matched[1], {})[matched[2] or ""] = float(matched[3])
    return found
