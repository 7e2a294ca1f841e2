"""Packages that make generators and are too heavy, or under the wrong licence, to be installed for every test: each in
an environment of its own, on top of the one that tests run in. Their scripts lie beside this file."""

import subprocess
from pathlib import Path

import pytest

from benchmarks.environments import AbsentError, environment

HERE = Path(__file__).parent


def run_with(package: str, script: Path, *words: object, cwd: Path | None = None) -> None:
    """Run a script where PACKAGE.requirements.txt is installed; the test is skipped where it cannot be."""
    try:
        python = environment(package, HERE / f"{package}.requirements.txt")
    except AbsentError as error:
        pytest.skip(str(error))
    command = [str(python), str(script), *map(str, words)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
