"""What clients of every kind ask for, and the bytes that each must get: the rows of the bundle's own engine."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from latentserve import open_bundle

HEADERS = {"Content-Type": "application/json", "Accept": "application/octet-stream"}
PATH = "/v1/samples"


@dataclass(frozen=True)
class Question:
    """The `body` of a POST to PATH, and the `rows` that are the right answer: float32 in C order."""

    body: bytes
    rows: bytes


@pytest.fixture(scope="session", params=["small", "streamed", "posted"])
def question(request: pytest.FixtureRequest, bundle: Path) -> Question:
    """A few rows; 5 MB of them, which are streamed; rows for half a megabyte of latents."""
    latents = np.random.default_rng(7).standard_normal((3000, 8)).astype(np.float32)
    fields: dict[str, object] = {
        "small": {"n": 2, "seed": 7},
        "streamed": {"n": 20_000, "seed": 7},
        "posted": {"latents": latents.tolist(), "label": 3},
    }[request.param]
    rows = open_bundle(bundle).sample(**fields)  # type: ignore[arg-type]
    return Question(json.dumps({"model": "toy", "deterministic": True, **fields}).encode(), rows.tobytes())


@pytest.fixture(scope="session")
def small(bundle: Path) -> Question:
    """A few rows."""
    fields = {"model": "toy", "n": 2, "seed": 7, "deterministic": True}
    return Question(json.dumps(fields).encode(), open_bundle(bundle).sample(n=2, seed=7).tobytes())


def tool(name: str, package: str) -> str:
    """The path of a program; without it the test is skipped."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}: apt-get install {package}")
    return found


def run(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """What a client prints. It must end well."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done
