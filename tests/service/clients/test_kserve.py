"""KServe's client, unmodified, in an environment of its own: it holds packages back that others have newer."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.environments import AbsentError, environment
from latentserve import open_bundle
from tests.server import Server

pytestmark = pytest.mark.full

HERE = Path(__file__).parent


@pytest.mark.timeout(900)  # the first time it is installed
def test_kserve(server: Server, bundle: Path) -> None:
    try:
        python = environment("kserve", HERE / "kserve.requirements.txt")
    except AbsentError as error:
        pytest.skip(str(error))
    done = subprocess.run(
        [str(python), str(HERE / "ask_kserve.py"), server.url], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *of_latents, of_seed = json.loads(done.stdout.splitlines()[-1])
    z = np.random.default_rng(7).standard_normal((40, 8)).astype(np.float32)
    toy = open_bundle(bundle)
    for rows in of_latents:
        assert np.array_equal(np.array(rows, np.float32), toy.sample(latents=z, labels=np.arange(40) % 10))
    assert np.array_equal(np.array(of_seed, np.float32), toy.sample(n=3, seed=7))
