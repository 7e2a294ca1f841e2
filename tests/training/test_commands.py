import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from latentserve.service.bundle import read_bundle
from latentserve.service.cli import main
from latentserve.training.recipe import load_config, write_config
from tests.server import NO_TLS

LATENTSERVE = [sys.executable, "-c", "from latentserve.service.cli import main; main()"]


@pytest.fixture
def latentserve(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run the command line in this process; gives its exit code, what it printed and what it complained of."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["latentserve", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        return int(left.value.code or 0), *capsys.readouterr()

    return run


def test_train_then_train_again(latentserve, tiny_file: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code, out, err = latentserve("train", tiny_file, "--out", run)
    assert code == 0, err
    assert f"next: latentserve export {run} --out BUNDLE" in out
    assert "1,024/1,000 images" in err
    assert "s/kimg  ETA 0 s" in err
    code, out, _ = latentserve("train", tiny_file, "--out", run)
    assert code == 0
    assert "finished after 1,024 images; nothing left to train" in out


@pytest.mark.parametrize(
    ("network", "classes"),
    [pytest.param("dense", ("",), marks=pytest.mark.full), ("convolutional", ("cat", "dog"))],
)
def test_pictures_in_folders_become_a_bundle(
    latentserve, tiny_file: Path, tmp_path: Path, network: str, classes: tuple[str, ...]
) -> None:
    rng = np.random.default_rng(0)
    for name in classes:
        (tmp_path / "pictures" / name).mkdir(parents=True, exist_ok=True)
        for row in range(40):
            pixels = rng.integers(0, 256, (10, 12, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{row}.png")
    told = ["--data", tmp_path / "pictures", "--set", "data=files", "--set", f"network={network}", "--set", "images=64"]
    code, _, err = latentserve("train", tiny_file, *told, "--out", tmp_path / "run")
    assert code != 0 if network == "convolutional" else code == 0, err
    code, _, err = latentserve("train", tiny_file, *told, "--set", "size=8", "--out", tmp_path / "run8")
    assert code == 0, err
    words = ["--data", tmp_path / "pictures", "--reference-samples", 500, "--out", tmp_path / "bundle"]
    code, _, err = latentserve("export", tmp_path / "run8", *words)
    assert code == 0, err
    manifest = read_bundle(tmp_path / "bundle").manifest
    assert manifest.labels == (list(classes) if len(classes) > 1 else None)
    assert manifest.sample.shape == [3, 8, 8]
    assert manifest.lineage.dataset == "pictures"
    assert manifest.monitor is not None
    assert manifest.monitor.real_samples == 40 * len(classes)


def test_a_taken_port_stops_it_before_anything_is_made(latentserve, tiny_file: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = latentserve("train", tiny_file, "--metrics-port", port, "--out", tmp_path / "run")
    assert code != 0
    assert f"--metrics-port {port}: 127.0.0.1:{port}: Address already in use" in err
    assert len(err.strip().splitlines()) == 1, err
    assert not (tmp_path / "run").exists()


ENDLESS = ["--set", "images=50000000", "--set", "snapshot=50000000", "--metrics-port", "0"]


def scrape(url: str, run: Path, lasts: Callable[[], bool]) -> None:
    """Until images are told, and two lines are written."""
    stats, images, deadline = run / "stats.jsonl", 0.0, time.monotonic() + 60
    while not (images and stats.exists() and stats.read_text().count("\n") >= 2):
        assert time.monotonic() < deadline
        assert lasts()
        text = httpx.get(url, timeout=10, verify=NO_TLS).text
        images = float(text.split('latentserve_training_images_total{recipe="tiny",run="a run"} ')[1].split()[0])
        time.sleep(0.05)


def assert_saved(out: str, tiny_file: Path, run: Path) -> None:
    assert "saved after" in out
    assert f"latentserve train {tiny_file} {' '.join(ENDLESS)} --out '{run}'" in out
    with safe_open(run / "checkpoint.safetensors", framework="pt") as file:
        assert "rng" in file.keys()  # noqa: SIM118


def test_a_port_of_the_systems_choice_is_scraped_while_it_trains_and_a_signal_saves_and_says_how_to_resume(
    latentserve, monkeypatch: pytest.MonkeyPatch, tiny_file: Path, tmp_path: Path
) -> None:
    run, said, scraped = tmp_path / "a run", io.StringIO(), threading.Event()

    def scrape_and_interrupt() -> None:
        try:
            deadline = time.monotonic() + 60
            while not (told := re.search(r"^metrics: (\S+)\n", said.getvalue())):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            scrape(told[1], run, lambda: True)
            scraped.set()
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(sys, "stderr", said)
    before = signal.signal(signal.SIGINT, lambda *_: None)  # it is none of pytest's, where the run has ended before
    thread = threading.Thread(target=scrape_and_interrupt)
    thread.start()
    try:
        code, out, _ = latentserve("train", tiny_file, *ENDLESS, "--out", run)
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert code == 0, said.getvalue()
    assert scraped.is_set()
    assert_saved(out, tiny_file, run)


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_serves_its_metrics_ends_by_a_signal(tiny_file: Path, tmp_path: Path, number: int) -> None:
    run = tmp_path / "a run"
    command = [*LATENTSERVE, "train", str(tiny_file), *ENDLESS, "--out", str(run)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    url = process.stderr.readline().removeprefix("metrics: ").strip()
    scrape(url, run, lambda: process.poll() is None)
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in err
    assert_saved(out, tiny_file, run)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["train", "cifar", "--out", "run"], "no recipe `cifar`"),
        (["train", "digits", "--set", "imagse=1", "--out", "run"], "unknown key `imagse`"),
        (["train", "digits", "--set", "images=lots", "--out", "run"], "`images`: Input should be a valid integer"),
        (["train", "mnist", "--out", "run"], "--data: `mnist` needs a folder"),
        (["train", "mnist", "--data", "absent", "--out", "run"], "absent: no such folder"),
        (["train", "mnist", "--data", "empty", "--out", "run"], "empty: no train-images-idx3-ubyte"),
        (["train", "digits", "--set", "size=8", "--out", "run"], "`size`: means nothing to digits"),
        (["train", "digits", "--set", "data=files", "--out", "run"], "--data: `files` needs a file or a folder"),
        (
            ["train", "digits", "--set", "data=files", "--data", "table.csv", "--out", "run"],
            "`network`: dense makes images or arrays or audio; table holds samples that are table",
        ),
        (["train", "digits", "--init", "absent", "--out", "run"], "absent: no such file"),
        (["train", "digits", "--init", "table.csv", "--out", "run"], "table.csv: cannot be read"),
        (["train", "digits", "--out", "full"], "full: not a run, and not an empty folder"),
        (["train", "digits", "--out", "file"], "file: not a run, and not an empty folder"),
        (["train", "digits", "--out", "other"], "other: cannot resume with another configuration: `seed` is 5, not 0"),
        (["export", "absent", "--out", "bundle"], "absent: not a run with a checkpoint"),
        (
            ["export", "own.networks:Generator", "--out", "bundle"],
            "of a module, latentserve.export_bundle(module, ...)",
        ),
        (["export", "file", "--out", "bundle"], "and of an ONNX file, latentserve pack"),
        (["export", "full", "--out", "bundle"], "full: not a run with a checkpoint"),
    ],
)
def test_a_mistake_is_one_line_and_no_traceback(
    latentserve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], complaint: str
) -> None:
    for name in ("empty", "full", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    (tmp_path / "file").write_text("precious")
    (tmp_path / "table.csv").write_text("a,b\n1,2\n3,4\n")
    write_config(load_config("digits", ("seed=5",)), tmp_path / "other" / "config.yaml")
    monkeypatch.chdir(tmp_path)
    code, _, err = latentserve(*words)
    assert code != 0
    assert complaint in err
    assert len(err.strip().splitlines()) == 1, err
    assert not (tmp_path / "run").exists()


# As an installation without the extra: the packages cannot be found, whoever asks.
WITHOUT_EXTRA = """
import contextlib, io, json, sys
from importlib.abc import MetaPathFinder
class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in {"torch", "yaml", "sklearn", "safetensors", "matplotlib", "onnxscript"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from latentserve.service.cli import main
told = []
for words in json.loads(sys.argv[1]):
    sys.argv = ["latentserve", *words]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as left:
            told.append((left.code or 0, out.getvalue(), err.getvalue()))
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def without_extra(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str]]:
    """Status, output and errors of commands without the extra, in one process."""
    commands = ["train --help", "export --help", "train digits --out run", "export run --out bundle"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRA, json.dumps([command.split() for command in commands])],
        capture_output=True, text=True, check=True, cwd=tmp_path_factory.mktemp("without"),
    )  # fmt: skip
    return dict(zip(commands, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("command", ["train", "export"])
def test_help_has_an_example_and_needs_no_extra(without_extra: dict[str, tuple[int, str, str]], command: str) -> None:
    code, out, err = without_extra[f"{command} --help"]
    assert code == 0, err
    assert f"latentserve {command}" in out
    assert "Example" in out


@pytest.mark.parametrize("command", ["train digits --out run", "export run --out bundle"])
def test_without_the_extra_it_is_named_in_one_line(
    without_extra: dict[str, tuple[int, str, str]], command: str
) -> None:
    code, _, err = without_extra[command]
    assert code != 0
    assert "is not installed: install latentserve[training]" in err
    assert len(err.strip().splitlines()) == 1, err
