"""Generators as packages build them, exported by one call: what is served is what they give themselves."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from latentserve.service.bundle import read_bundle
from tests.server import Server
from tests.training.export.packages import HERE, run_with

ROUNDING = 1e-5  # of a network's values


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("package", "kind", "shape", "fields"),
    [
        ("keras", "dcgan", [3, 16, 16], {}),
        ("keras", "cgan", [1, 8, 8], {"label": "class 2"}),
        ("diffusers", "tiny", [3, 8, 8], {}),
        ("diffusers", "kl", [3, 8, 8], {}),
    ],
)
def test_samples_are_those_of_the_package(
    package: str,
    kind: str,
    shape: list[int],
    fields: dict[str, object],
    tmp_path: Path,
    start_server: Callable[..., Server],
) -> None:
    run_with(package, HERE / f"{package}_rows.py", kind, tmp_path)
    expected = np.load(tmp_path / "samples.npy")
    manifest = read_bundle(tmp_path / "bundle").manifest
    assert (manifest.sample.kind, manifest.sample.shape, manifest.onnx.batch) == ("image", shape, None)
    server = start_server(tmp_path / "bundle")
    answer = server.samples(accept="application/x-npy", n=len(expected), seed=3, **fields)
    served = np.load(io.BytesIO(answer.raise_for_status().content))
    assert np.abs(served - expected).max() <= ROUNDING


BEFORE = {
    "keras": """
import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
from keras import layers

sizes = [layers.Dense(49, activation="relu"), layers.Reshape((7, 7, 1))]
picture = layers.Conv2DTranspose(1, 4, strides=4, activation="tanh")
keras.Sequential([keras.Input((64,)), *sizes, picture]).save("generator.keras")
""",
    "diffusers": """
from diffusers import AutoencoderKL

AutoencoderKL(block_out_channels=(4,), norm_num_groups=2).save_pretrained("vae")
""",
}


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("package", BEFORE)
def test_the_commands_of_the_page(package: str, tmp_path: Path) -> None:
    """As they stand there, but of few reference samples and files made before."""
    page = (HERE.parents[2] / "docs" / "packages.md").read_text()
    (block,) = (of for of in re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S) if package in of)
    few = block.replace("name=", "reference_samples=600, name=")
    (tmp_path / "page.py").write_text(BEFORE[package] + few)
    run_with(package, tmp_path / "page.py", cwd=tmp_path)
    (out,) = (tmp_path / "bundles").iterdir()
    assert read_bundle(out).manifest.sample.shape in ([1, 28, 28], [3, 16, 16])
