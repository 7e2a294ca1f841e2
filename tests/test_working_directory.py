"""Nothing is imported from the folder that a command is started in, and a checkout of other software is one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.generators import dense_generator
from tests.server import Server

LATENTSERVE = str(Path(sys.executable).with_name("latentserve"))
TRACE = "was-imported"
# What a checkout of StyleGAN or R3GAN has (`training`), what people name their own files, and what commands import.
PACKAGES = ("training", "service", "deploy", "networks", "metrics", "torch_utils", "dnnlib")
MODULES = (
    "numpy",
    "onnx",
    "onnxruntime",
    "bentoml",
    "click",
    "torch",
    "yaml",
    "typing",
    "pathlib",
    "app",
    "sitecustom",
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose modules all leave a trace of having been imported."""
    folder = tmp_path_factory.mktemp("checkout")
    code = f"import os; open(os.path.join({str(folder)!r}, {TRACE!r}), 'a').write(__name__ + ' ')\n"
    for name in PACKAGES:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(code)
    for name in MODULES:
        (folder / f"{name}.py").write_text(code)
    onnx.save(dense_generator(labels=None), folder / "generator.onnx")
    return folder


@pytest.fixture
def untouched(checkout: Path) -> Path:
    """The same folder; that nothing was imported from it is seen when the test is over."""
    yield checkout
    trace = checkout / TRACE
    imported = trace.read_text() if trace.exists() else ""
    trace.unlink(missing_ok=True)
    assert imported == ""


def run(folder: Path, *command: object) -> str:
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_commands(untouched: Path, tmp_path: Path):
    run(
        untouched,
        LATENTSERVE,
        "pack",
        "generator.onnx",
        "--name",
        "b",
        "--out",
        tmp_path / "b",
        "--reference-samples",
        "500",
    )
    run(untouched, LATENTSERVE, "sample", tmp_path / "b", "-n", "2", "--out", tmp_path / "two.npy")
    assert np.load(tmp_path / "two.npy").shape[0] == 2


TORCHRUN = (sys.executable, "-P", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1", "--no-python")


@pytest.mark.parametrize("by", [(), pytest.param(TORCHRUN, marks=pytest.mark.full)], ids=["alone", "torchrun"])
def test_training(untouched: Path, tmp_path: Path, by: tuple[str, ...]):
    pytest.importorskip("torch", reason="needs latentserve[training]")
    few = ("--set", "images=256", "--set", "width=8", "--set", "threads=1")
    run(untouched, *by, LATENTSERVE, "train", "digits", *few, "--out", tmp_path / "run")
    if by:  # the long form exports as well
        run(untouched, LATENTSERVE, "export", tmp_path / "run", "--out", tmp_path / "b", "--reference-samples", "500")


def test_the_module_form(untouched: Path):
    assert "latentserve" in run(untouched, sys.executable, "-m", "latentserve", "--version")


def test_workers(untouched: Path, bundle: Path):
    with Server(bundle, cwd=untouched) as server:
        assert server.samples(seed=1).status_code == 200
        assert server.http.post("/sample", json={"seed": 1}).status_code == 200


def test_a_module_of_a_checkout_with_its_own_training(checkout: Path, tmp_path: Path):
    """The public face works where `training` and `service` are somebody else's."""
    pytest.importorskip("torch", reason="needs latentserve[training]")
    layout = tmp_path / "stylegan"
    for name in ("training", "service"):
        (layout / name).mkdir(parents=True)
        (layout / name / "__init__.py").write_text(f"WHOSE = 'theirs: {name}'\n")
    (layout / "training" / "networks.py").write_text(
        "import torch\nGenerator = lambda: torch.nn.Sequential(torch.nn.Linear(16, 12), torch.nn.Tanh())\n"
    )
    (layout / "convert.py").write_text(
        "import json, service, training\n"
        "from training.networks import Generator\n"
        "from latentserve import export_bundle\n"
        "if __name__ == '__main__':\n"
        "    export_bundle(Generator(), 'bundle', name='theirs', latent_dim=16, reference_samples=500)\n"
        "    print(json.dumps([training.WHOSE, service.WHOSE]))\n"
    )
    printed = run(layout, sys.executable, "convert.py")
    assert json.loads(printed.splitlines()[-1]) == ["theirs: training", "theirs: service"]
    with Server(Path("bundle"), cwd=layout) as server:
        assert server.samples(seed=1).json()["model"] == "theirs"


def test_a_bundle_named_by_the_environment_is_found_from_the_folder_of_the_command(bundle: Path):
    with Server(cwd=bundle.parent, bundles=bundle.name) as server:
        assert server.samples(seed=1).status_code == 200


def test_the_public_face_is_loaded_when_it_is_asked_for():
    code = (
        "import sys, latentserve; before = set(sys.modules)\n"
        "assert not {'numpy', 'torch', 'onnx'} & before, before\n"
        "latentserve.draw_latents(latentserve.Latent(dim=3, prior='normal'), seed=1, offset=0, n=2)\n"
        "assert 'torch' not in sys.modules\n"
        "assert set(dir(latentserve)) == set(latentserve.__all__)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONSAFEPATH": "1"})
