"""The directions of the house: who may know whom, and what a serving install holds."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]

# Each room of service/ and the rooms it may import; what is not a room (errors, settings, ...) is open to all.
KNOWS = {
    "auditing": {"bundle", "sampling"},
    "access": set(),
    "bundle": set(),
    "sampling": {"bundle"},
    "encoding": {"bundle"},
    "credentials": {"encoding"},
    "watching": {"bundle", "sampling"},
    "terminal": {"bundle", "encoding"},
    "packing": {"bundle", "sampling", "encoding", "watching", "terminal"},
    "verifying": {"bundle", "sampling", "encoding", "credentials"},
    "finding": {"auditing", "bundle", "sampling", "encoding", "verifying"},
    "host": set(),
    "http": {
        "access",
        "auditing",
        "bundle",
        "sampling",
        "encoding",
        "watching",
        "host",
        "verifying",
        "finding",
        "credentials",
    },
    "benching": {"bundle", "sampling"},
    "bulk": {"bundle", "sampling", "encoding", "terminal"},
}


@cache
def imports(file: Path) -> list[str]:
    """The modules a file imports, wherever in it."""
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return names


@pytest.mark.parametrize("file", sorted((TOP / "service").rglob("*.py")), ids=str)
def test_service_knows_nothing_of_training_or_torch(file: Path):
    assert {name.split(".")[0] for name in imports(file)}.isdisjoint({"torch", "pickle"})
    assert not any(name.startswith("latentserve.training") for name in imports(file))


@pytest.mark.parametrize("folder", ["latentserve", "service", "training", "deploy", "benchmarks", "tests"])
def test_the_bare_names_are_imported_by_nobody(folder: str):
    for file in (TOP / folder).rglob("*.py"):
        for name in imports(file) if ".venvs" not in file.parts else ():  # the peers of a benchmark
            assert name.split(".")[0] not in ("service", "training"), f"{file} imports {name}"


@pytest.mark.parametrize("room", KNOWS)
def test_data_flows_one_way(room: str):
    for file in (TOP / "service" / room).rglob("*.py"):
        for name in imports(file):
            other = name.split(".")[2] if name.startswith("latentserve.service.") else ""
            assert other not in KNOWS or other == room or other in KNOWS[room], f"{file} imports {name}"


def test_the_page_on_the_house_names_every_room_and_no_other():
    page = (TOP / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"`((?:service|training|deploy|benchmarks|tests|latentserve)/[\w/.]*)`", page))
    assert [name for name in named if not (TOP / name).exists()] == []
    for half in ("service", "training"):
        rooms = {f"{half}/{room.parent.name}/" for room in (TOP / half).glob("*/__init__.py")}
        assert rooms <= named


def test_a_serving_install_asks_for_no_torch():
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["cpu"]]
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "-"]
    done = subprocess.run(command, input="\n".join(asked), capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no package index: {done.stderr.strip().splitlines()[-1]}")
    names = {line.split("==")[0] for line in done.stdout.splitlines()}
    assert "onnxruntime" in names
    assert names.isdisjoint({"torch", "triton"})
