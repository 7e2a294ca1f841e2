"""The wheel: what it holds, and that it works where nothing of the checkout is."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from latentserve import __version__
from tests.strangers import make_stranger

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by way of the source distribution, as a package index would have both."""
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "uv", "build", "--quiet", "--out-dir", str(out), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    if done.returncode and "hatchling" in done.stdout + done.stderr:
        pytest.skip(f"no package index: {(done.stdout + done.stderr).strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


def test_has_one_top_level_name(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"latentserve", f"latentserve-{__version__}.dist-info"}
    held = {name for name in names if name.startswith("latentserve/") and "__pycache__" not in name}
    tracked = {
        f"latentserve/{path.relative_to(ROOT)}"
        for folder in ("service", "training")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    tracked |= {f"latentserve/runbooks/{path.name}" for path in (ROOT / "docs" / "runbooks").iterdir()}
    assert held == tracked | {f"latentserve/{name}" for name in ("__init__.py", "__main__.py", "py.typed")}


def test_works_in_a_bare_environment(wheel: Path, bundle: Path, tmp_path: Path):
    python = make_stranger(tmp_path / "environment")
    install = ["pip", "install", "--python", str(python), "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "uv", *install], check=True, capture_output=True)

    def run(*words: object) -> str:
        done = subprocess.run(list(map(str, words)), cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    command = python.with_name("latentserve")
    assert run(python, "-m", "latentserve", "--version").split()[-1] == __version__
    run(command, "sample", bundle, "-n", "2", "--seed", "1", "--out", "two.npy")
    assert run(python, "-c", "import latentserve; print(latentserve.__file__)").startswith(str(tmp_path))
