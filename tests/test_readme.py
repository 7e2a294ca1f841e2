"""Every command of the README and of the tour, run as it stands there (ports, the environment's path and budgets aside;
those of BentoML in `test_bento.py`)."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import httpx
import onnx
import pytest
from click.testing import CliRunner
from PIL import Image

from latentserve.service.bundle import read_bundle
from latentserve.service.cli import cli
from tests.checkout import TOP, copy_checkout
from tests.digits import write_idx
from tests.generators import dense_generator
from tests.server import NO_TLS, free_port

# The demo trains, in whichever test asks for it first.
pytestmark = pytest.mark.timeout(1200)

README, TOUR = ((TOP / page).read_text() for page in ("README.md", "docs/tour.md"))
BLOCKS = re.findall(r"^```(bash|python)\n(.*?)^```$", TOUR, re.M | re.S)
DEMO_SECONDS = 900  # on a quiet machine with two cores it takes half a minute
FEW = "--reference-samples 1000"  # of 100,000 or more, which take most of the time


def block(containing: str) -> str:
    """The one block of the tour that holds these words."""
    found = [text for _, text in BLOCKS if containing in text]
    assert len(found) == 1, f"{len(found)} blocks of the tour hold {containing!r}"
    return found[0]


@dataclass(frozen=True)
class Demo:
    """A running `make demo`, in a copy of the checkout."""

    folder: Path
    port: int

    def run(self, script: str) -> str:
        """Run commands of the README beside it; what they print."""
        script = script.replace("127.0.0.1:3000", f"127.0.0.1:{self.port}").replace(".venv/bin", f"{sys.prefix}/bin")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def call(self, command: str) -> None:
        """Run a `latentserve` of the README beside it, in this process, where torch is loaded already."""
        program, *words = shlex.split(command, comments=True)
        assert program == ".venv/bin/latentserve"
        with chdir(self.folder):
            done = CliRunner().invoke(cli, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output

    def execute(self, code: str) -> str:
        """Execute Python beside it, in this process; what it prints."""
        printed = io.StringIO()
        with chdir(self.folder), redirect_stdout(printed):
            exec(code, {})  # noqa: S102
        return printed.getvalue()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = copy_checkout(tmp_path_factory.mktemp("checkout") / "latentserve")
    makefile = folder / "Makefile"
    makefile.write_text(makefile.read_text().replace("export demo/run", f"export demo/run {FEW}"))
    port = free_port()
    log = folder / "demo.log"
    # The environment is this one: -o takes its installation as done.
    make = ["make", "-o", f"{sys.prefix}/.installed", "demo", f"VENV={sys.prefix}", f"PORT={port}"]
    make.append("TRAIN=--set images=500 --set threads=1")
    with log.open("w") as output:
        process = subprocess.Popen(make, cwd=folder, stdout=output, stderr=output, start_new_session=True)
    try:
        deadline = time.monotonic() + DEMO_SECONDS
        while not answers(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield Demo(folder, port)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


def answers(port: int) -> bool:
    """Whether a server is ready there."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", verify=NO_TLS).status_code == 200
    except httpx.TransportError:
        return False


def serve_and_ask(demo: Demo, command: str) -> None:
    """Run a command of the README that serves, on a free port, and ask it for a sample."""
    port = free_port()
    command = command.replace(".venv/bin", f"{sys.prefix}/bin").split(" --port ")[0]
    words = ["bash", "-c", f"{command} --port {port}".replace(f"{sys.prefix}/bin/", f"exec {sys.prefix}/bin/")]
    process = subprocess.Popen(words, cwd=demo.folder)
    try:
        for _ in range(300):
            if answers(port):
                break
            time.sleep(0.1)
        assert httpx.post(f"http://127.0.0.1:{port}/v1/samples", json={}).status_code == 200
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_the_two_commands():
    commands = [line.split("#")[0].strip() for line in block("make demo    #").splitlines()]
    assert commands == ["make demo", "make test"]  # the first runs in the fixture, the second runs this


def test_another_process_exports_the_same_bytes(demo: Demo):
    words = [*(f"export demo/run {FEW}").split(), "--name", "renamed", "--out", "again"]
    demo.call(shlex.join([".venv/bin/latentserve", *words]))
    for name in ("generator.onnx", "critic.onnx"):
        one, other = ((demo.folder / bundle / name).read_bytes() for bundle in ("demo/bundle", "again"))
        assert one == other, name
    one, other = (read_bundle(demo.folder / bundle).manifest for bundle in ("demo/bundle", "again"))
    assert one.version == other.version


def test_the_readme_itself(demo: Demo):
    """Blocks of three commands, of three and of two."""
    first, second, third = re.findall(r"^```bash\n(.*?)^```$", README, re.M | re.S)
    make, test, curl = first.strip().splitlines()
    assert make.split("#")[0].strip() == "make demo"  # the fixture runs it
    assert test.split("#")[0].strip() == "make test"  # which runs this
    demo.run(curl)
    with Image.open(demo.folder / "digits.png") as picture:
        assert picture.size == (78, 78)
    onnx.save(dense_generator(labels=None), demo.folder / "generator.onnx")
    pack, sample, serve = second.strip().splitlines()
    demo.call(f"{pack} {FEW}")
    assert "seed 7" in demo.run(sample)
    serve_and_ask(demo, serve)
    assert demo.run(third).startswith("exact: everything in it is as row 0 of seed 7 is made")


def test_the_readme_is_a_page_and_its_figures_are_measured():
    assert len(README.splitlines()) <= 70
    measured = (TOP / "benchmarks" / "results" / "serving.md").read_text()
    rows = re.findall(r"^\| \**([\w ()]+?)\** \| ([\w0-9 ]+) \| ([\d,]+) \| ([\d.]+) \| ([\d.]+) \|", README, re.M)
    assert len(rows) == 5
    for server, answer, *figures in rows:
        name = server.replace("Triton (pytriton)", "Triton") + (", base64" if answer.startswith("base64") else "")
        row = re.search(rf"^\| 28x28 \| {re.escape(name)} \| {answer} \| 1 \| closed \| 32 \| (.*)$", measured, re.M)
        assert row is not None, name
        rate, over, _, p99 = (cell.split(" [")[0].strip() for cell in row[1].split("|")[:4])
        assert figures == [rate, over, p99], name
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", README)
    assert pictures
    assert all((TOP / picture).stat().st_size < 1_000_000 for picture in pictures)
    for target in re.findall(r"\]\(([\w./-]+)\)", README):
        assert (TOP / target).exists(), target


def test_curl_an_image(demo: Demo):
    demo.run(block("Accept: image/png"))
    with Image.open(demo.folder / "digits.png") as picture:
        assert picture.size == (78, 78)  # 64 digits of 8x8 with gaps of 2


def test_curl_json(demo: Demo):
    answer = json.loads(demo.run(block('"label": "3"')))
    assert answer["labels"] == ["3", "3"]
    assert len(answer["samples"]) == 2


def test_curl_what_is_served(demo: Demo):
    printed = demo.run(block("3000/v1/models\n"))
    assert '"name":"digits"' in printed
    assert "latentserve_requests_total" in printed


def test_train_your_own(demo: Demo, tmp_path: Path):
    script = block("train mnist").replace("MNIST_FOLDER", str(write_idx(tmp_path / "mnist")))
    *commands, serve = script.strip().splitlines()
    commands[0] = commands[0].split("#")[0] + " --set images=128 --set width=8 --set threads=1"
    commands[1] += " --reference-samples 500"
    for command in commands:
        demo.call(command)
    with Image.open(demo.folder / "mnist.png") as picture:
        assert picture.size == (298, 298)
    assert serve == ".venv/bin/latentserve serve bundles/mnist --port 3001"  # as other tests serve


def test_evaluate(demo: Demo):
    demo.call(block("evaluate demo/run").replace("--out", "--samples 100 --out"))
    assert "<html" in (demo.folder / "report" / "report.html").read_text()


def test_bring_an_onnx_file(demo: Demo):
    onnx.save(dense_generator(labels=None), demo.folder / "generator.onnx")
    *commands, bench, serve = block("pack generator.onnx").strip().splitlines()
    commands[0] += f" {FEW}"
    for command in commands:
        demo.call(command)
    demo.run(bench)
    serve_and_ask(demo, serve)


def test_bring_a_module(demo: Demo):
    script = "import torch\nmodule = torch.nn.Sequential(torch.nn.Linear(64, 100), torch.nn.Tanh())\n"
    script += block("export_bundle").replace("latent_dim=64", "latent_dim=64, reference_samples=5000")
    demo.execute(script)


def test_from_python(demo: Demo):
    """The blocks of the page on Python, one after the other."""
    blocks = re.findall(r"^```python\n(.*?)^```$", (TOP / "docs" / "python.md").read_text(), re.M | re.S)
    assert len(blocks) == 5
    for code in blocks:
        printed = demo.execute(code.replace("127.0.0.1:3000", f"127.0.0.1:{demo.port}"))
        for told in re.findall(r"print\(.*\)  # (.*)$", code, re.M):
            assert told in printed


@pytest.mark.docker
def test_in_a_container(demo: Demo):
    if shutil.which("docker") is None or subprocess.run(["docker", "version"], capture_output=True).returncode:
        pytest.skip("no Docker engine")
    port = free_port()
    # Host networking works on engines without a bridge too; the published port becomes the server's own.
    script = (
        block("docker build")
        .replace("docker build", "docker build --network host")
        .replace("docker run", "docker run --detach --name latentserve-readme")
        .replace("-p 127.0.0.1:3000:3000", f"--network host -e LATENTSERVE_PORT={port}")
    )
    try:
        demo.run(script)
        for _ in range(300):
            if answers(port):
                break
            time.sleep(0.1)
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/samples", json={"seed": 7, "label": "3"})
        assert (
            answer.json()["samples"]
            == httpx.post(f"http://127.0.0.1:{demo.port}/v1/samples", json={"seed": 7, "label": "3"}).json()["samples"]
        )
    finally:
        subprocess.run(["docker", "stop", "latentserve-readme"], capture_output=True, check=False)


def test_marks(demo: Demo) -> None:
    assert demo.run(block("latentserve verify")).startswith("exact: ")
