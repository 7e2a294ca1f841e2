"""A run small enough to be trained in a second, and the data it sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="needs latentserve[training]")

from latentserve.training.data import Dataset, load
from latentserve.training.recipe import load_config
from latentserve.training.recipe.config import Config
from latentserve.training.run import loop, prepare

if TYPE_CHECKING:  # processes that tests start want the rest of this file, and not what that imports
    from tests.conftest import Shared

TINY = """
data: digits
network: dense
width: 16
latent: 8
loss: relativistic
gamma: {start: 1.0, end: 0.1}
images: 1000
batch: 32
lr: {start: 1e-3, end: 1e-4}
beta1: 0.0
beta2: {start: 0.9, end: 0.99}
ema_half_life: {start: 0, end: 100}
tick: 200
snapshot: 400
threads: 1
"""


def stop_after(steps: int) -> Callable[[], bool]:
    """An `interrupted` that says yes after so many steps."""
    asked = iter(range(steps))
    return lambda: next(asked, None) is None


def lose(data: Dataset, rows: Sequence[int] | NDArray[np.int64] | slice) -> Dataset:
    """The same data, of which some was lost in memory."""
    samples = data.samples.copy()
    samples[rows] = np.nan
    broken = Dataset(data.name, samples, data.labels, data.label_names)
    broken.__dict__["description"] = data.description
    return broken


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def tiny(tiny_file: Path) -> Config:
    return load_config(str(tiny_file))


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load("digits", None)


@pytest.fixture(scope="session")
def finished(tiny: Config, digits: Dataset, shared: Shared) -> Path:
    """The run `tiny` at its end, never to be changed."""

    def make(run: Path) -> None:
        prepare(run, tiny)
        loop.train(tiny, digits, run)

    return shared("finished", make)
