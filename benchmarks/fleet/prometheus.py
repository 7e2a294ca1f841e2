"""Prometheus and Alertmanager as processes, with the rules of `deploy`, whose times are all divided by a factor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.fleet.programs import program
from deploy.names import JOB
from deploy.windows import Times, duration
from latentserve.service.benching.process import free_port, last_line, process_group

_TOP = Path(__file__).parents[2]
_START_SECONDS = 60.0
_ASK_SECONDS = 30.0

Series = tuple[dict[str, str], float]


@dataclass(frozen=True)
class Rules:
    """Rule files, and the seconds between two scrapes that they are made for."""

    files: list[Path]
    scrape: float


class Prometheus:
    """A running one, asked over its API. `targets` is the file that says what it scrapes."""

    def __init__(self, port: int, targets: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._http = httpx.Client(base_url=f"{self.url}/api/v1/", timeout=_ASK_SECONDS)
        self._targets = targets

    def scrape(self, instances: Sequence[str]) -> None:
        """Scrape these from now on, and no others. Raises TimeoutError."""
        _write_targets(self._targets, instances)
        end = time.monotonic() + _START_SECONDS
        while {labels["instance"] for labels, _ in self.query("up")} != set(instances):
            if time.monotonic() > end:
                raise TimeoutError(f"{self._targets}: not read")
            time.sleep(0.2)

    def query(self, expression: str) -> list[Series]:
        """An instant query's series: labels, and the value now."""
        found = self._get("query", query=expression)["result"]
        return [(series["metric"], float(series["value"][1])) for series in found]

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that are pending or firing, as the API has them."""
        return list(self._get("alerts")["alerts"])

    def failing_rules(self) -> list[str]:
        """Names of the rules whose last evaluation failed, with the reason."""
        rules = (rule for group in self._get("rules")["groups"] for rule in group["rules"])
        return [f"{rule['name']}: {rule['lastError']}" for rule in rules if rule.get("lastError")]

    def _get(self, path: str, **parameters: str) -> Any:
        answer = self._http.get(path, params=parameters)
        if answer.status_code != 200:
            raise RuntimeError(f"{path} {parameters}: {answer.text[:500]}")
        return answer.json()["data"]


def write_rules(folder: Path, faster: float) -> Rules:
    """Every rule file of `deploy`, written to the folder with all times divided by `faster`."""
    command = [sys.executable, "-m", "deploy", "--out", str(folder), "--faster", f"{faster:g}"]
    subprocess.run(command, cwd=_TOP, check=True)
    return Rules(sorted(folder.rglob("*.rules.yml")), Times(faster).scrape)


@contextmanager
def watching(folder: Path, rules: Rules, instances: Sequence[str], webhook_port: int) -> Iterator[Prometheus]:
    """Both, with nothing remembered, scraping the instances and telling the webhook. Raises TimeoutError."""
    folder.mkdir(parents=True)
    alertmanager = _alertmanager_file(folder, webhook_port)
    ports = free_port(), free_port()
    targets = folder / "targets.json"
    _write_targets(targets, instances)
    configuration = _prometheus_file(folder, rules, targets, ports[1])
    commands = (
        [
            str(program("prometheus")),
            f"--config.file={configuration}",
            f"--storage.tsdb.path={folder / 'series'}",
            f"--web.listen-address=127.0.0.1:{ports[0]}",
            "--rules.alert.resend-delay=1s",
            "--log.level=warn",
        ],
        [
            str(program("alertmanager")),
            f"--config.file={alertmanager}",
            f"--storage.path={folder / 'silences'}",
            f"--web.listen-address=127.0.0.1:{ports[1]}",
            "--cluster.listen-address=",
            "--log.level=warn",
        ],
    )
    logs = folder / "prometheus.log", folder / "alertmanager.log"
    with process_group(commands[1], logs[1], os.environ, _TOP) as second:
        _wait(ports[1], second, logs[1])
        with process_group(commands[0], logs[0], os.environ) as first:
            _wait(ports[0], first, logs[0])
            yield Prometheus(ports[0], targets)


def _prometheus_file(folder: Path, rules: Rules, targets: Path, alertmanager: int) -> Path:
    every = duration(rules.scrape)
    content = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": [str(file) for file in rules.files],
        "scrape_configs": [{"job_name": JOB, "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "1s"}]}],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]},
    }
    return _write(folder / "prometheus.yml", content)


def _alertmanager_file(folder: Path, webhook: int) -> Path:
    """Each alert by itself, at once, and told again when it is over."""
    content = {
        "route": {
            "receiver": "webhook",
            "group_by": ["..."],
            "group_wait": "0s",
            "group_interval": "1s",
            "repeat_interval": "24h",
        },
        "receivers": [{"name": "webhook", "webhook_configs": [{"url": f"http://127.0.0.1:{webhook}/"}]}],
    }
    return _write(folder / "alertmanager.yml", content)


def _write_targets(file: Path, instances: Sequence[str]) -> None:
    """Whole or not at all: it is read at any time."""
    _write(file.with_suffix(".part"), [{"targets": list(instances)}]).replace(file)


def _write(file: Path, content: object) -> Path:
    file.write_text(json.dumps(content, indent=1))  # JSON is YAML
    return file


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/-/ready", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise TimeoutError(f"{log.stem}: not ready; its last line: {last_line(log)}")
