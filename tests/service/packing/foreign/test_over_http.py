"""A stranger's generator with inputs of every kind, packed by the command and served by a process: the rows that come
over the socket are what its file gives, fed by hand with the latents that anybody can draw."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from latentserve.service.bundle import Manifest, read_bundle
from latentserve.service.sampling.latents import draw_latents
from tests.server import Server
from tests.service.packing.foreign.graphs import FLOAT, rand, run
from tests.service.packing.foreign.graphs import model as graph_of

BATCH, CLASSES = 3, 4
NAMES = ["ant", "bee", "cat", "dog"]


def stranger() -> onnx.ModelProto:
    """Two latents, a map of noise, a one-hot class and a scalar psi, for BATCH rows and no other number: rows are the
    groups of a convolution."""
    nodes: list[tuple[str, str, str, dict[str, Any]]] = [
        ("MatMul", "y E", "e", {}),
        ("Concat", "style content e", "all", {"axis": 1}),
        ("Mul", "all psi", "m", {}),
        ("MatMul", "m A", "s", {}),
        ("Reshape", "s each", "scales", {}),
        ("Mul", "kernel scales", "own", {}),
        ("Reshape", "own kernels", "k", {}),
        ("MatMul", "m first", "h", {}),
        ("Reshape", "h apart", "maps", {}),
        ("Add", "maps noise", "noisy", {}),
        ("Reshape", "noisy side", "beside", {}),
        ("Conv", "beside k", "c", {"group": BATCH, "pads": [1] * 4}),
        ("Reshape", "c pictures", "p", {}),
        ("Tanh", "p", "x", {}),
    ]
    weights = {
        "E": rand(CLASSES, 4),
        "A": rand(14, 4),
        "each": np.array([BATCH, 1, 4, 1, 1]),
        "kernel": rand(1, 3, 4, 3, 3) / 4,
        "kernels": np.array([BATCH * 3, 4, 3, 3]),
        "first": rand(14, 4 * 64, seed=1),
        "apart": np.array([BATCH, 4, 8, 8]),
        "side": np.array([1, BATCH * 4, 8, 8]),
        "pictures": np.array([BATCH, 3, 8, 8]),
    }
    inputs = {
        "style": (FLOAT, [BATCH, 6]),
        "noise": (FLOAT, [BATCH, 1, 8, 8]),
        "content": (FLOAT, [BATCH, 4]),
        "y": (FLOAT, [BATCH, CLASSES]),
        "psi": (FLOAT, []),
    }
    return graph_of(nodes, inputs, {"x": (FLOAT, [BATCH, 3, 8, 8])}, weights)


def by_hand(z: NDArray[np.float32], label: NDArray[np.int64]) -> NDArray[np.float32]:
    """What the file gives for rows of z, in its own batches; their number is one of BATCH's."""
    parts = []
    for at in range(0, len(z), BATCH):
        rows = slice(at, at + BATCH)
        feed = {
            "style": z[rows, :6],
            "content": z[rows, 6:10],
            "noise": z[rows, 10:].reshape(BATCH, 1, 8, 8),
            "y": np.eye(CLASSES, dtype=np.float32)[label[rows]],
            "psi": np.float32(0.7),
        }
        parts.append(run(stranger(), feed))
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stranger")
    onnx.save(stranger(), folder / "model.onnx")
    command = [sys.executable, "-m", "latentserve", "pack", "model.onnx", "--name", "stranger", "--out", "bundle"]
    told = ["style=latent:uniform(0,1)", "content=latent:normal(1,2)", "psi=constant:0.7"]
    options = [word for role in told for word in ("--input", role)]
    done = subprocess.run(
        [*command, *options, "--labels", ",".join(NAMES), "--reference-samples", "300"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "input noise float32 [batch, 1, 8, 8]: noise:normal" in done.stdout
    assert "input y float32 [batch, 4]: label:one-hot" in done.stdout
    assert f"takes {BATCH} rows at a time" in done.stderr
    return folder / "bundle"


@pytest.fixture(scope="module")
def manifest(packed: Path) -> Manifest:
    return read_bundle(packed).manifest


@pytest.fixture(scope="module")
def served(packed: Path) -> Iterator[Server]:
    with Server(packed) as running:
        yield running


def rows_of(served: Server, **body: object) -> NDArray[np.float32]:
    answer = served.samples(accept="application/x-npy", **body)
    assert answer.status_code == 200, answer.text
    return np.load(io.BytesIO(answer.content))


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 64])
def test_rows_of_a_seed(served: Server, manifest: Manifest, rows: int):
    label = np.arange(rows + BATCH) % CLASSES
    z = draw_latents(manifest.latent, 5, 10, -(-rows // BATCH) * BATCH)
    made = rows_of(served, seed=5, offset=10, labels=[NAMES[one] for one in label[:rows]])
    np.testing.assert_allclose(made, by_hand(z, label[: len(z)])[:rows], rtol=0, atol=2e-6)


def test_truncation_leaves_noise_alone(served: Server, manifest: Manifest):
    z = draw_latents(manifest.latent, 5, 0, BATCH, truncation=0.4)
    assert np.array_equal(z[:, 10:], draw_latents(manifest.latent, 5, 0, BATCH)[:, 10:])
    made = rows_of(served, seed=5, n=BATCH, label="cat", truncation=0.4)
    np.testing.assert_allclose(made, by_hand(z, np.full(BATCH, 2)), rtol=0, atol=2e-6)


def test_latents_of_a_client(served: Server, manifest: Manifest):
    z = draw_latents(manifest.latent, 8, 0, BATCH)
    made = rows_of(served, latents=z.tolist(), label=1)
    np.testing.assert_allclose(made, by_hand(z, np.full(BATCH, 1)), rtol=0, atol=2e-6)


def test_what_the_manifest_says(served: Server):
    stated = served.http.get("/v1/models/stranger").json()
    manifest = stated.get("manifest", stated)
    assert manifest["onnx"]["batch"] == BATCH
    assert [(part["name"], part["noise"]) for part in manifest["latent"]["parts"]] == [
        ("style", False),
        ("content", False),
        ("noise", True),
    ]
