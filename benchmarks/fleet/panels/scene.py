"""What the pictures show: two replicas under load, one of which goes wrong, and a training run; and Prometheus."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import numpy as np

from benchmarks.drift.faults import CASES
from benchmarks.fleet.load import Load
from benchmarks.fleet.panels.asking import Source, Span
from benchmarks.fleet.programs import program
from benchmarks.fleet.prometheus import write_rules
from benchmarks.fleet.replicas import Replica
from deploy.names import JOB, TRAINING_JOB
from latentserve.service.benching.process import free_port, last_line, process_group
from latentserve.service.bundle import read_bundle

FASTER = 15.0  # so that scrapes are a second apart

_RATE, _ROWS = 8.0, 64  # requests a second to a replica, rows of one
_START_SECONDS = 60.0


@contextmanager
def prometheus(folder: Path, rules: Sequence[Path], scrape: float, jobs: Mapping[str, Sequence[int]]) -> Iterator[str]:
    """The URL of one that scrapes these ports of the loopback interface, by job. Raises TimeoutError."""
    folder.mkdir()
    scraped = [
        {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]}
        for job, ports in jobs.items()
    ]
    every = f"{round(scrape * 1000)}ms"
    content = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": [str(file) for file in rules],
        "scrape_configs": scraped,
    }
    configuration, log = folder / "prometheus.yml", folder / "log"
    configuration.write_text(json.dumps(content))  # JSON is YAML
    address = f"127.0.0.1:{free_port()}"
    command = [
        str(program("prometheus")),
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'series'}",
        f"--web.listen-address={address}",
    ]
    with process_group(command, log, os.environ):
        end = time.monotonic() + _START_SECONDS
        while not _ready(f"http://{address}"):
            if time.monotonic() > end:
                raise TimeoutError(f"Prometheus is not ready; its last line: {last_line(log)}")
            time.sleep(0.1)
        yield f"http://{address}"


@contextmanager
def training(folder: Path, *settings: str) -> Iterator[int]:
    """The port on which a run on the digits, with these settings, shows its metrics."""
    port = free_port()
    chosen = [word for setting in settings for word in ("--set", setting)]
    words = ["train", "digits", *chosen, "--metrics-port", str(port), "--out", str(folder)]
    with process_group([sys.executable, "-P", "-m", "latentserve", *words], folder.with_suffix(".log"), os.environ):
        yield port


@contextmanager
def scene(folder: Path, bundle: Path, fault: str, healthy: float, faulty: float) -> Iterator[Source]:
    """Prometheus, `healthy` seconds after everything was ready and `faulty` seconds after a case of the injector befell
    the second replica."""
    manifest = read_bundle(bundle).manifest
    rules = write_rules(folder / "deploy", FASTER)
    with ExitStack() as running:
        replicas = [running.enter_context(Replica(folder / f"replica-{index}", 1)) for index in range(2)]
        for replica in replicas:
            replica.start(bundle)
        for replica in replicas:
            replica.wait()
        run = running.enter_context(training(folder / "digits", "images=1500000", "tick=5000"))
        jobs = {JOB: [replica.port for replica in replicas], TRAINING_JOB: [run]}
        url = running.enter_context(prometheus(folder / "prometheus", rules.files, rules.scrape, jobs))
        loads = [running.enter_context(Load(replica.port, manifest, _RATE, _ROWS)) for replica in replicas]
        began = time.time()
        time.sleep(healthy)
        case = CASES[fault]
        if case.fault is not None:
            case.fault(bundle, folder / "faulty", np.random.default_rng(1))
            replicas[1].restart(folder / "faulty", ready=False)
        loads[1].send(case.traffic)
        time.sleep(faulty)
        end = time.time()
        yield Source(url, Span(end, end - began, rules.scrape))


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", timeout=5).is_success
    except httpx.TransportError:
        return False
