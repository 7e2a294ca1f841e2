"""A tiny run and its bundle, made once."""

from pathlib import Path

import pytest

from latentserve.training.data import Dataset
from latentserve.training.export import export_run
from latentserve.training.recipe.config import Config
from latentserve.training.run import loop, prepare


@pytest.fixture(scope="package")
def run(tiny: Config, digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated") / "run"
    config = tiny.model_copy(update={"supervise": "act"})
    prepare(folder, config)
    loop.train(config, digits, folder)
    return folder


@pytest.fixture(scope="package")
def run_bundle(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated") / "bundle"
    export_run(run, folder, reference_samples=500)
    return folder
