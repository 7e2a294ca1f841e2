"""The image, built and run by a real Docker engine, as locked down as it claims to bear.

Host networking throughout: it works on engines without a bridge too, and the engine may be anywhere on this machine.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from latentserve.service.http.ui.files import STATIC
from tests.server import free_port

ROOT = Path(__file__).parents[1]
IMAGE = "latentserve:test"
LOCKED_DOWN = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL")  # noqa: S108
MAX_BYTES_OVER_BASE = 450_000_000
HEALTHY_SECONDS = 60

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1200)]


def docker(*arguments: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], cwd=ROOT, input=stdin, capture_output=True, text=True, check=check)


def inspect(kind: str, name: str, field: str) -> str:
    return docker(kind, "inspect", "--format", f"{{{{{field}}}}}", name).stdout.strip()


@pytest.fixture(scope="module")
def image() -> str:
    if shutil.which("docker") is None:
        pytest.skip("no docker command")
    engine = docker("version", "--format", "{{.Server.Version}}", check=False)
    if engine.returncode != 0:
        pytest.skip(f"no Docker engine: {engine.stderr.strip()}")
    built = docker("build", "--network", "host", "--tag", IMAGE, ".", check=False)
    assert built.returncode == 0, built.stderr[-4000:]
    return IMAGE


class Container:
    """A running container that serves a bundle."""

    def __init__(self, image: str, bundle: Path, *options: str, port_by_option: bool = False) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        settings = ["-e", "LATENTSERVE_ALLOW_OPEN=true", "-v", f"{bundle}:/bundle:ro", *options]
        command = ["serve", "/bundle", "--port", str(port)] if port_by_option else []
        settings += [] if port_by_option else ["-e", f"LATENTSERVE_PORT={port}"]
        ran = docker("run", "-d", "--network", "host", *LOCKED_DOWN, *settings, image, *command)
        self.name = ran.stdout.strip()

    @property
    def health(self) -> str:
        return inspect("container", self.name, ".State.Health.Status")

    def wait_ready(self) -> None:
        deadline = time.monotonic() + HEALTHY_SECONDS
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/readyz", timeout=2).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise TimeoutError(f"not ready: {docker('logs', self.name).stderr}")

    def run(self, script: str) -> str:
        """What a Python script prints inside."""
        return docker("exec", "-i", self.name, "python", "-", stdin=script).stdout.strip()

    def wait_healthy(self) -> None:
        deadline = time.monotonic() + HEALTHY_SECONDS
        while self.health == "starting" and time.monotonic() < deadline:
            time.sleep(0.5)
        assert self.health == "healthy"


@contextmanager
def started(image: str, bundle: Path, *options: str, port_by_option: bool = False) -> Iterator[Container]:
    container = Container(image, bundle, *options, port_by_option=port_by_option)
    try:
        container.wait_ready()
        yield container
    finally:
        docker("rm", "--force", container.name)


@pytest.fixture(scope="module")
def container(image: str, bundle: Path) -> Iterator[Container]:
    with started(image, bundle) as running:
        yield running


def test_answers_with_samples(container: Container) -> None:
    answer = httpx.post(f"{container.url}/v1/samples", json={"n": 3, "seed": 7}, timeout=30)
    assert answer.status_code == 200
    assert len(answer.json()["samples"]) == 3


def test_serves_the_page(container: Container) -> None:
    """`/` leads to it, all its files are those of this tree, and what it asks for is there, with every runbook."""
    page = httpx.get(container.url, follow_redirects=True, timeout=30)
    assert (page.status_code, page.url.path) == (200, "/ui")
    assert page.content == (STATIC / "index.html").read_bytes()
    for file in STATIC.iterdir():
        if file.name != "index.html":
            assert httpx.get(f"{container.url}/ui/{file.name}", timeout=30).content == file.read_bytes(), file.name
    assert [one["name"] for one in httpx.get(f"{container.url}/ui/models.json").json()["models"]] == ["toy"]
    assert httpx.get(f"{container.url}/ui/health.json", timeout=30).json()["workers"]["count"] == 1
    assert "<h1>toy</h1>" in httpx.get(f"{container.url}/ui/cards/toy").text
    names = httpx.get(f"{container.url}/ui/runbooks.json").json()
    assert set(names) == {file.stem for file in (ROOT / "docs" / "runbooks").glob("Latentserve*.md")}
    for name in names:
        assert f"<h1>{name}</h1>" in httpx.get(f"{container.url}/ui/runbooks/{name}").text


def test_says_what_it_consists_of(image: str) -> None:
    told = docker("run", "--rm", "--entrypoint", "cat", image, "/opt/latentserve/sbom.cdx.json").stdout
    names = {one["name"] for one in json.loads(told)["components"]}
    assert {"numpy", "onnxruntime"} <= names
    assert "torch" not in names


def test_becomes_healthy(container: Container) -> None:
    container.wait_healthy()


def test_is_healthy_whatever_its_environment_says(image: str, bundle: Path) -> None:
    """In the namespace of a Service by its name, with a proxy that is not there, on a port of the command's."""
    told = {"LATENTSERVE_PORT": "tcp://10.96.12.7:3000", "LATENTSERVE_SERVICE_HOST": "10.96.12.7"}
    told |= {"LATENTSERVE_PORT_3000_TCP_ADDR": "10.96.12.7", "http_proxy": "http://127.0.0.1:9"}
    options = [word for name, value in told.items() for word in ("-e", f"{name}={value}")]
    with started(image, bundle, *options, port_by_option=True) as container:
        container.wait_healthy()
        assert "warning" not in docker("logs", container.name).stderr


def test_is_healthy_behind_a_socket(image: str, bundle: Path) -> None:
    name = docker("run", "-d", *LOCKED_DOWN, "--network", "none", "-v", f"{bundle}:/bundle:ro", image,
                  "serve", "/bundle", "--socket", "/tmp/socket").stdout.strip()  # noqa: S108  # fmt: skip
    try:
        deadline = time.monotonic() + HEALTHY_SECONDS
        while (health := inspect("container", name, ".State.Health.Status")) == "starting":
            assert time.monotonic() < deadline
            time.sleep(0.5)
        assert health == "healthy", docker("logs", name).stderr
    finally:
        docker("rm", "--force", name)


def test_says_in_a_line_that_it_can_write_nowhere(image: str, bundle: Path) -> None:
    mount = ("-e", "LATENTSERVE_ALLOW_OPEN=true", "-v", f"{bundle}:/bundle:ro")
    ran = docker("run", "--rm", "--network", "host", "--read-only", *mount, image, check=False)
    assert ran.returncode == 1
    *before, line = ran.stderr.strip().splitlines()
    assert "TMPDIR, LATENTSERVE_HOME" in line
    assert all("fewer-connections" in one for one in before)  # where the engine's limit of open files is low


def test_runs_as_an_ordinary_user(container: Container) -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", inspect("image", IMAGE, ".Config.User"))
    served_by = container.run("import os; print(os.stat('/proc/1').st_uid, os.getuid())")
    assert "0" not in served_by.split()


def test_leaves_no_trace_of_telemetry(container: Container) -> None:
    assert container.run("import pathlib; print(*pathlib.Path('/tmp').rglob('.cache'))") == ""


def test_starts_a_killed_worker_again(container: Container) -> None:
    container.run(
        "import os, pathlib, signal\n"
        "for process in pathlib.Path('/proc').glob('[0-9]*'):\n"
        "    if b'latentserve.service.host.worker' in (process / 'cmdline').read_bytes():\n"
        "        os.kill(int(process.name), signal.SIGKILL)\n"
    )
    container.wait_ready()
    assert httpx.post(f"{container.url}/v1/samples", json={}, timeout=30).status_code == 200


def test_is_slim(image: str) -> None:
    base = re.search(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert base is not None
    if docker("image", "inspect", base[1], check=False).returncode != 0:
        docker("pull", base[1])  # a BuildKit build does not keep it
    over = int(inspect("image", image, ".Size")) - int(inspect("image", base[1], ".Size"))
    assert over <= MAX_BYTES_OVER_BASE


def test_holds_only_what_serving_needs(image: str) -> None:
    script = """
import importlib.util, json, pathlib, shutil, sys
print(json.dumps({
    "packages": [name for name in ("torch", "sklearn", "pytest", "tests") if importlib.util.find_spec(name)],
    "compilers": [name for name in ("cc", "gcc", "g++", "make") if shutil.which(name)],
    "tests": [str(path) for path in pathlib.Path(sys.prefix).rglob("tests")],
    "caches": [str(path) for path in pathlib.Path("/").glob("*/.cache/pip")],
    "sources": pathlib.Path("/src").exists(),
}))
"""
    ran = docker("run", "--rm", "-i", "--network", "host", "--entrypoint", "python", "--user", "0", image, stdin=script)
    assert json.loads(ran.stdout) == {"packages": [], "compilers": [], "tests": [], "caches": [], "sources": False}


def test_refuses_to_be_open_unasked(image: str, bundle: Path) -> None:
    assert "ALLOW_OPEN" not in inspect("image", image, ".Config.Env")
    ran = docker("run", "--rm", "--network", "host", "-v", f"{bundle}:/bundle:ro", image, check=False)
    assert ran.returncode == 1
    assert "LATENTSERVE_ALLOW_OPEN=true" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_says_that_no_bundle_is_mounted(image: str) -> None:
    ran = docker("run", "--rm", "--network", "host", "-e", "LATENTSERVE_ALLOW_OPEN=true", image, check=False)
    assert ran.returncode == 1
    assert "/bundle: no such bundle folder" in ran.stderr


def test_checks_a_bundle(image: str, bundle: Path) -> None:
    mount = ("-v", f"{bundle}:/bundle:ro")
    ran = docker("run", "--rm", "--network", "host", *LOCKED_DOWN, *mount, image, "check", "/bundle")
    assert "good" in ran.stdout


def test_stops_when_asked(image: str, bundle: Path) -> None:
    with started(image, bundle) as container:
        began = time.monotonic()
        docker("stop", container.name)
        assert time.monotonic() - began < 8  # the engine kills at 10
        assert inspect("container", container.name, ".State.ExitCode") == "0"
