"""A tiny run and its bundle, made once."""

from pathlib import Path

import pytest

from latentserve.training.data import Dataset
from latentserve.training.export import export_run
from latentserve.training.recipe.config import Config
from latentserve.training.run import loop, prepare
from tests.conftest import Shared


@pytest.fixture(scope="session")
def run(tiny: Config, digits: Dataset, shared: Shared) -> Path:
    def make(folder: Path) -> None:
        config = tiny.model_copy(update={"supervise": "act"})
        prepare(folder, config)
        loop.train(config, digits, folder)

    return shared("run", make)


@pytest.fixture(scope="session")
def run_bundle(run: Path, shared: Shared) -> Path:
    return shared("bundle", lambda folder: export_run(run, folder, reference_samples=500))
