"""What the software consists of, as CycloneDX: of the package by `make sbom`, of the image by its Dockerfile."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
TOOL = Path(sys.prefix) / "bin" / "cyclonedx-py"


def components(file: Path) -> dict[str, dict[str, Any]]:
    """By name; of a document that is one of CycloneDX."""
    told = json.loads(file.read_text())
    assert told["bomFormat"] == "CycloneDX"
    assert told["metadata"]["component"]["name"] == "latentserve"
    return {re.sub(r"[-_.]+", "-", one["name"]).lower(): one for one in told["components"]}


def test_the_command_of_the_image_tells_all_that_is_installed(tmp_path: Path) -> None:
    """Run on an environment without pip, as the image's is; of some packages there is only what they say of themselves,
    which is what the tool reads."""
    if not TOOL.exists():
        pytest.skip("no cyclonedx-py")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    (packages,) = (tmp_path / "env" / "lib").glob("python3*/site-packages")
    for name in ("numpy", "onnx", "pydantic"):
        told = distribution(name)
        folder = packages / f"{name}-{told.version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(told.read_text("METADATA") or "")
    (command,) = re.findall(r"/opt/sbom/bin/(cyclonedx-py environment .*)", DOCKERFILE)
    here = command.replace("/opt/latentserve/bin/python", str(tmp_path / "env" / "bin" / "python"))
    here = here.replace("/opt/latentserve/sbom.cdx.json", str(tmp_path / "sbom.cdx.json"))
    subprocess.run([TOOL, *here.split()[1:]], cwd=ROOT, check=True, capture_output=True)
    found = components(tmp_path / "sbom.cdx.json")
    assert found.keys() == {"numpy", "onnx", "pydantic"}
    for name, one in found.items():
        assert one["purl"] == f"pkg:pypi/{name}@{distribution(name).version}"
        assert one["licenses"]


@pytest.mark.parametrize("extras", ["", "sign tables"])
def test_the_image_is_built_with_the_extras_that_are_asked_for(extras: str, tmp_path: Path) -> None:
    (script,) = re.findall(r'RUN python -c "(.*?)" > requirements\.txt', DOCKERFILE)
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    given = {"ENGINE": "cpu", "EXTRAS": extras}
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -c "{script}"'], cwd=tmp_path, env=given, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"]]
    for extra in ("cpu", *extras.split()):
        asked += project["optional-dependencies"][extra]
    assert done.stdout.splitlines() == asked


@pytest.mark.full
@pytest.mark.timeout(900)
def test_make_sbom() -> None:
    made = ["make", "-o", f"{sys.prefix}/.installed", "sbom", f"VENV={sys.prefix}", "ENGINE=cpu"]
    done = subprocess.run(made, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = components(ROOT / "build" / "sbom.cdx.json")
    assert {"onnxruntime", "model-signing", "pyarrow"} <= found.keys()
    assert found.keys().isdisjoint({"torch", "pytest"})
