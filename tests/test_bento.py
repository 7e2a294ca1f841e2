"""The bento: built from this tree by the tour's commands, and served by a Python that has the dependencies but not the
project."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import httpx
import pytest
import yaml

from tests.checkout import copy_checkout
from tests.server import free_port
from tests.strangers import make_stranger

ROOT = Path(__file__).parents[1]
TOUR = (ROOT / "docs" / "tour.md").read_text()
((BUILD, SERVE),) = re.findall(r"^(\.venv/bin/bentoml build)\n(.* serve .*)$", TOUR, re.M)
READY_SECONDS = 30
STOP_SECONDS = 10


def test_requires_what_the_project_does() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["cpu"]]
    stated = yaml.safe_load((ROOT / "bentofile.yaml").read_text())["python"]["packages"]
    assert sorted(stated) == sorted(line for line in needed if not line.startswith("bentoml"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python as in BentoML's container."""
    return str(make_stranger(tmp_path_factory.mktemp("stranger")))


@pytest.fixture(scope="module")
def environment(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A BENTOML_HOME that holds the built bento alone. BentoML looks at every file of the folder that it builds in, and
    an environment has many: it gets a checkout without one."""
    environment = {
        **os.environ,
        "BENTOML_HOME": str(tmp_path_factory.mktemp("bentoml")),
        "BENTOML_DO_NOT_TRACK": "True",
        "LATENTSERVE_BUNDLES": str(bundle),
    }
    build = [sys.executable, "-m", *shlex.split(BUILD.replace(".venv/bin/", ""))]
    checkout = copy_checkout(tmp_path_factory.mktemp("checkout") / "latentserve")
    built = subprocess.run(build, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return environment


def test_holds_the_server_alone(environment: dict[str, str]) -> None:
    (bento,) = Path(environment["BENTOML_HOME"]).glob("bentos/latentserve/*/src")
    assert {path.name for path in bento.iterdir()} == {"bentofile.yaml", "docs", "latentserve", "service"}
    assert not list(bento.rglob("__pycache__"))


def in_container(environment: dict[str, str], port: int) -> tuple[list[str], dict[str, str]]:
    """What its container starts, and the variables that it does so with; but for the port, and who may ask."""
    (bento,) = Path(environment["BENTOML_HOME"]).glob("bentos/latentserve/*/")
    dockerfile = (bento / "env" / "docker" / "Dockerfile").read_text()
    end = dockerfile[dockerfile.rindex("ENTRYPOINT") :].replace("/home/bentoml/bento", str(bento))
    command = json.loads(re.search(r"^CMD (.+)$", end, re.M)[1])
    variables = dict(
        word.split("=") for word in re.search(r"^ENV ((?:.+\\\n)*.+)$", end, re.M)[1].split() if "=" in word
    )
    assert variables["LATENTSERVE_BUNDLES"] == "/bundle"
    there = {"LATENTSERVE_BUNDLES": environment["LATENTSERVE_BUNDLES"], "LATENTSERVE_PORT": str(port)}
    return command, variables | there | {"LATENTSERVE_HOST": "127.0.0.1"}


@pytest.mark.parametrize("by", ["bentoml serve", "latentserve serve"])
def test_serves(by: str, stranger: str, environment: dict[str, str], tmp_path: Path) -> None:
    port = free_port()
    # As docs/architecture.md has it: in an empty folder, for BentoML imports from the one it works in.
    empty, hostile = tmp_path / "empty", tmp_path / "hostile"
    for folder in (empty, hostile):
        folder.mkdir()
    for module in ("numpy", "service", "latentserve", "starlette"):
        (hostile / f"{module}.py").write_text("raise SystemExit('imported from the working directory')\n")
    told = SERVE.replace('LATENTSERVE_BUNDLES="$PWD/demo/bundle" .venv/bin/', "").replace('"$(mktemp -d)"', str(empty))
    command = [stranger, "-P", "-m", *shlex.split(told.replace("3002", str(port))), "--host", "127.0.0.1"]
    assert command[3:5] == ["bentoml", "serve"]
    if by == "latentserve serve":
        (python, *words), variables = in_container(environment, port)
        assert python == "python"
        command, environment = [stranger, *words], environment | variables
    log = tmp_path / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, cwd=hostile, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as http:
            _wait_ready(server, http, log)
            answer = http.post("/v1/samples", json={"n": 2, "seed": 7})
            assert answer.status_code == 200
            assert len(answer.json()["samples"]) == 2
            assert http.post("/sample", json={"seed": 7}).status_code == 200
            assert http.get("/ui").headers["Content-Type"].startswith("text/html")
            assert http.get("/ui/runbooks/LatentserveOutputDrift").status_code == 200
        server.send_signal(signal.SIGTERM)
        assert server.wait(STOP_SECONDS) == 0
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _wait_ready(server: subprocess.Popen[bytes], http: httpx.Client, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            if http.get("/readyz").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"not ready in {READY_SECONDS} s: {log.read_text()}")
