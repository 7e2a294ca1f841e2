"""MLflow and Weights & Biases themselves, each in an environment of its own, with nothing sent anywhere."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.environments import AbsentError, environment

HERE, TOP = Path(__file__).parent, Path(__file__).parents[3]
pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]


def run_with(package: str, script: str, folder: Path, *words: object, **variables: str) -> str:
    """What a script beside this file prints last, where PACKAGE is installed; skipped where it cannot be."""
    try:
        python = environment(package, HERE / f"{package}.requirements.txt")
    except AbsentError as error:
        pytest.skip(str(error))
    command = [str(python), str(HERE / script), *map(str, words)]
    told = os.environ | {"PYTHONPATH": str(TOP)} | variables
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=told, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def curve(run: Path) -> list[list[float]]:
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    return [[line["images"], line["frechet"]] for line in lines]


def test_mlflow_has_one_run_of_two_sittings(tmp_path: Path) -> None:
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db", "HOME": str(tmp_path)}
    run = tmp_path / "first"
    known = run_with("mlflow", "tracked_run.py", tmp_path, "mlflow", run, **store)
    found: dict[str, Any] = json.loads(run_with("mlflow", "read_mlflow.py", tmp_path, known, **store))
    assert (found["name"], found["status"], found["experiment"]) == ("first", "FINISHED", "latentserve")
    assert found["lr"] == "0.001"
    assert found["frechet"] == curve(run)
    steps = {int(step) for name in found["pictures"] for step in re.findall(r"samples\Wstep\W(\d+)\W", name)}
    assert steps == {416, 512, 800, 1024}


def test_wandb_has_one_run_of_two_sittings(tmp_path: Path) -> None:
    offline = {"WANDB_MODE": "offline", "HOME": str(tmp_path)}
    run = tmp_path / "first"
    known = run_with("wandb", "tracked_run.py", tmp_path, "wandb", run, **offline)
    first, second = json.loads(run_with("wandb", "read_wandb.py", tmp_path, run / "wandb", **offline))
    assert first["id"] == second["id"] == known
    assert (first["name"], first["project"], first["exit"], second["exit"]) == ("first", "latentserve", 0, 0)
    assert first["frechet"] + second["frechet"] == curve(run)
    pictures = first["pictures"] + second["pictures"]
    assert pictures[0] == [0, "reals"]
    assert [step for step, name in pictures if name == "samples"] == [416, 512, 800, 1024]
