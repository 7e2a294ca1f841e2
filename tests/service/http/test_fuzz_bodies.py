"""A fuzzer that sees what its bodies reach finds none that is neither read nor refused, and none that takes memory."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.environments import AbsentError, environment

pytestmark = pytest.mark.full

HERE = Path(__file__).parent
SECONDS = 120
MEGABYTES = 1024  # of which the interpreter, numpy and the fuzzer take a quarter


def inference_seeds() -> Iterator[bytes]:
    """Bodies that are good, for it to begin with."""
    z = {"name": "z", "shape": [2, 3], "datatype": "FP32"}
    label = {"name": "label", "shape": [2], "datatype": "INT64", "data": [1, 2]}
    condition = {"name": "condition", "shape": [2, 2], "datatype": "FP32", "data": [[0.5, 1], [0.5, -1e1]]}
    for first in ({**z, "data": [1, 2, 3, 4, 5, 6]}, {**z, "parameters": {"binary_data_size": 24}}):
        outputs = [{"name": "sample", "parameters": {"binary_data": True}}]
        parameters = {"n": 2, "deterministic": True, "binary_data_output": False}
        header = {"id": "x", "inputs": [first, label, condition], "outputs": outputs, "parameters": parameters}
        text = json.dumps(header).encode()
        yield len(text).to_bytes(2, "little") + text + bytes(0 if "data" in first else 24)
    text = json.dumps({"parameters": {"seed": 7, "condition.energy": 0.5, "label": "one", "truncation": 0.5}}).encode()
    yield b"\xff\xff" + text
    yield b"\x05" + b"[[1,2],[3,4e0]]"


def array_seeds() -> Iterator[bytes]:
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, latents=np.ones((2, 3), ">f4"), labels=["a", "b"], conditions=np.ones((2, 2)))
        yield file.getvalue()
    file = io.BytesIO()
    np.save(file, np.ones((2, 3), np.float16, order="F"))
    yield file.getvalue()


def body_seeds() -> Iterator[bytes]:
    for body in (
        {"n": 3, "labels": [1, "one", 2], "conditions": [{"energy": 0.5}, {}, {"angle": -1e-1}], "seed": 7},
        {"latents": [[0.1, -2e3, 3]], "label": 1, "truncation": 0.5},
        {"n": 2, "where": {"$label": {"in": [1, 2]}}, "balance": "$label", "budget": 90, "allow_fewer": True},
        {"ends": [{"seed": 7, "row": 3}, {"latent": [0.5, 1, 2], "label": "one"}], "frames": 5, "loop": True},
        {"seed": 7, "row": 2, "n": 4, "strength": 0.3, "condition": {"energy": 0.5}},
        {"samples": [[[[0.5, 1], [0, 1e-3]]], [[[1, 2], [3, 4]]]], "label": 1},
        {"samples": [{"a": 1.5, "b": "x"}, [None, "y"]]},
        {"samples": ["iVBORw0KGgo=", "\u00e9"]},
    ):
        yield json.dumps(body).encode()


SEEDS = {"inference": inference_seeds, "arrays": array_seeds, "bodies": body_seeds}


@pytest.mark.timeout(900)  # the first time it is installed
@pytest.mark.parametrize("target", SEEDS)
def test_a_fuzzer_finds_nothing(target: str, tmp_path: Path) -> None:
    try:
        python = environment("atheris", HERE / "atheris.requirements.txt")
    except AbsentError as error:
        pytest.skip(str(error))
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for place, seed in enumerate(SEEDS[target]()):
        (corpus / str(place)).write_bytes(seed)
    command = [str(python), "-m", "tests.service.http.fuzz_bodies", target, str(corpus)]
    limits = [f"-max_total_time={SECONDS}", f"-rss_limit_mb={MEGABYTES}", "-timeout=20", "-max_len=2000"]
    done = subprocess.run(
        [*command, *limits, f"-artifact_prefix={tmp_path}/"],
        cwd=HERE.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done" in done.stderr
