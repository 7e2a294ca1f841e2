"""The compose file: as it is written, and brought up by a real engine.

Images that cannot be pulled have a stand-in: Prometheus and Alertmanager those of Debian's packages, Grafana one that
only says that it is healthy. With Grafana's own image the test asks it for its dashboards.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.deploy.panels import DASHBOARDS
from tests.server import free_port

TOP = Path(__file__).parents[2]
FILE = TOP / "deploy" / "compose.yaml"
PASSWORD = "of-this-test"  # noqa: S105
HEALTHY_SECONDS = 120
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]

# The tour's command: variables, and the words after `docker compose`.
VARIABLE, WORDS = re.search(
    r"^(GRAFANA_ADMIN_PASSWORD)=\S+ docker compose (.+)$", (TOP / "docs" / "tour.md").read_text(), re.MULTILINE
).groups()

# What the images of these names would have: their programs, and folders of their users'.
STAND_INS = {
    "prometheus": """
FROM {base}
RUN apt-get update && apt-get install -y --no-install-recommends prometheus && install -d -o 65534 -g 65534 /prometheus
ENTRYPOINT ["prometheus"]
""",
    "alertmanager": """
FROM {base}
RUN apt-get update && apt-get install -y --no-install-recommends prometheus-alertmanager \\
    && install -d -o 65534 -g 65534 /alertmanager
ENTRYPOINT ["prometheus-alertmanager"]
""",
    "grafana": """
FROM {base}
RUN mkdir -p /srv/api /var/lib/grafana && touch /srv/api/health
ENTRYPOINT ["python", "-m", "http.server", "3000", "--directory", "/srv"]
""",
}


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command at the top of the project."""
    environment = {**os.environ, "DOCKER_BUILDKIT": "1", **variables}
    return subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, check=False)


def compose() -> list[str]:
    """The command of compose; without any the test is skipped."""
    for command in (["docker-compose"], ["docker", "compose"]):
        if shutil.which(command[0]) and run(*command, "version").returncode == 0:
            return command
    pytest.skip("neither docker-compose nor docker compose")


def test_fits_the_specification():
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = run(*check)
    assert done.returncode == 0, done.stdout + done.stderr


def test_is_read():
    done = run(*compose(), "-f", str(FILE), "config", "--quiet", GRAFANA_ADMIN_PASSWORD=PASSWORD)
    assert done.returncode == 0, done.stderr


def test_refuses_to_start_without_a_password():
    done = run(*compose(), "-f", str(FILE), "config", "--quiet", GRAFANA_ADMIN_PASSWORD="")
    assert done.returncode != 0
    assert "set it" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("name", SERVICES)
def test_is_locked_down(name: str):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    if "build" not in service:  # the Dockerfile says it for our own
        assert re.fullmatch(r".+:v?\d+\.\d+\.\d+", service["image"])
        assert re.fullmatch(r"[1-9]\d*:\d+", service["user"])
        assert service["healthcheck"]["test"][0] == "CMD"


@dataclass(frozen=True)
class Stack:
    """What runs, and where it is reached; `genuine`: whose images are not stand-ins."""

    urls: Mapping[str, str]
    genuine: set[str]

    def ask(self, name: str, path: str) -> Any:
        return httpx.get(f"{self.urls[name]}{path}", auth=("admin", PASSWORD), timeout=10).raise_for_status().json()


@pytest.fixture(scope="module")
def stack(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if shutil.which("docker") is None or run("docker", "version").returncode != 0:
        pytest.skip("no Docker engine")
    images, genuine = _images()
    *named, up, build = WORDS.split()
    assert (named, build) == (["-f", str(FILE.relative_to(TOP))], "--build")  # the images are built above
    override = tmp_path_factory.mktemp("compose") / "override.yaml"
    override.write_text(json.dumps({"services": {name: {"image": image} for name, image in images.items()}}))
    ports = {name: free_port() for name in SERVICES}
    variables = {
        VARIABLE: PASSWORD,
        "LATENTSERVE_BUNDLE": str(bundle),
        **{f"{name.upper()}_PORT": str(port) for name, port in ports.items()},
    }
    project = [*compose(), *named, "-f", str(override), "-p", f"latentserve-test-{os.getpid()}"]
    try:
        done = run(*project, up, "-d", "--no-build", **variables)
        assert done.returncode == 0, done.stderr[-4000:]
        _wait_healthy(project, variables)
        yield Stack({name: f"http://127.0.0.1:{port}" for name, port in ports.items()}, genuine)
    finally:
        run(*project, "down", "--volumes", "--timeout", "5", **variables)


def _images() -> tuple[dict[str, str], set[str]]:
    """The image of each service, pulled where it can be."""
    base = re.search(r"^ARG BASE=(\S+)$", (TOP / "Dockerfile").read_text(), re.MULTILINE)[1]
    images, genuine = {"latentserve": _built("latentserve", ".")}, set()
    for name, recipe in STAND_INS.items():
        official = SERVICES[name]["image"]
        if (
            run("docker", "image", "inspect", official).returncode == 0
            or run("docker", "pull", official).returncode == 0
        ):
            images[name] = official
            genuine.add(name)
        else:
            images[name] = _built(name, "-", recipe.format(base=base))
    return images, genuine


def _built(name: str, context: str, dockerfile: str | None = None) -> str:
    """An image built on the spot."""
    image = f"latentserve-test/{name}"
    command = ["docker", "build", "--network", "host", "--tag", image, context]
    done = subprocess.run(command, cwd=TOP, input=dockerfile, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return image


def _wait_healthy(project: list[str], variables: Mapping[str, str]) -> None:
    containers = run(*project, "ps", "-q", **variables).stdout.split()
    assert len(containers) == len(SERVICES)
    show = ["docker", "inspect", "--format", "{{.Name}} {{.State.Status}} {{.State.Health.Status}}", *containers]
    deadline = time.monotonic() + HEALTHY_SECONDS
    while (states := run(*show).stdout.strip()).count(" healthy") < len(containers):
        logs = run(*project, "logs", "--tail", "20", **variables).stdout if time.monotonic() > deadline else None
        assert logs is None, f"{states}\n{logs}"
        time.sleep(1)


@pytest.mark.docker
@pytest.mark.timeout(1200)
def test_prometheus_scrapes_the_service_and_tells_alertmanager(stack: Stack):
    # The first scrape may have come before the service did.
    deadline = time.monotonic() + 60
    while not (found := stack.ask("prometheus", "/api/v1/query?query=up==1")["data"]["result"]):
        assert time.monotonic() < deadline
        time.sleep(1)
    assert [one["metric"]["instance"] for one in found] == ["latentserve:3000"]
    groups = stack.ask("prometheus", "/api/v1/rules")["data"]["groups"]
    assert {group["file"].rsplit("/", 1)[1] for group in groups} == {
        file.name for file in (TOP / "deploy" / "prometheus").glob("*.rules.yml")
    }
    (told,) = stack.ask("prometheus", "/api/v1/alertmanagers")["data"]["activeAlertmanagers"]
    assert told["url"].startswith("http://alertmanager:9093/")
    assert stack.ask("alertmanager", "/api/v2/status")["cluster"]["status"] == "disabled"


@pytest.mark.docker
@pytest.mark.timeout(1200)
def test_the_service_answers(stack: Stack):
    answer = httpx.post(f"{stack.urls['latentserve']}/v1/samples", json={"n": 2}, timeout=30)
    assert len(answer.json()["samples"]) == 2


@pytest.mark.docker
@pytest.mark.timeout(1200)
def test_grafana_has_the_dashboards(stack: Stack):
    if "grafana" not in stack.genuine:
        pytest.skip("Grafana's image cannot be pulled: what runs is a stand-in")
    found = {board["uid"] for board in stack.ask("grafana", "/api/search?tag=latentserve")}
    assert found == {json.loads(file.read_text())["uid"] for file in DASHBOARDS.glob("*.json")}
