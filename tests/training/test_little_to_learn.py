"""Data with next to nothing to learn in them: a run trains all the same, is exported with them, and served as ONNX."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from latentserve.service.bundle import Bundle, read_bundle
from latentserve.service.encoding.tables import rows
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.request import RowsRequest
from latentserve.training.data import Dataset, load
from latentserve.training.export import export_run
from latentserve.training.recipe import load_config
from latentserve.training.run import loop, prepare

IMAGES = 128
SHORT = ("data=files", f"images={IMAGES}", "tick=64", "snapshot=128")

Trained = Callable[..., Path]


@pytest.fixture
def trained(tiny_file: Path, tmp_path: Path) -> Trained:
    """Train on a file or folder; the run's folder."""

    def train(data: Path, *settings: str) -> Path:
        config = load_config(str(tiny_file), (*SHORT, *settings))
        dataset, run = load("files", data, label=config.label), tmp_path / "run"
        prepare(run, config)
        assert loop.train(config, dataset, run) == IMAGES
        assert_told(run, dataset)
        return run

    return train


def exported(run: Path, data: Path) -> Bundle:
    export_run(run, run / "bundle", reference_samples=500, data=data)
    return read_bundle(run / "bundle")


def drawn(bundle: Bundle) -> NDArray[np.float32]:
    """50 samples [50, *shape]."""
    samples = Engine(bundle, "cpu").generate(RowsRequest(n=50, seed=1).inputs(bundle.manifest, 0, 50))
    assert np.isfinite(samples).all()
    return samples


def assert_told(run: Path, dataset: Dataset) -> None:
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == [64, 128]
    assert all(line["nonfinite_steps"] == 0 for line in lines)
    assert all(math.isfinite(value) for line in lines for value in line.values())
    assert all(math.isfinite(value) for value in (*(dataset.description.std or []), *(dataset.description.mean or [])))


def test_two_pictures_of_one_class_that_are_the_same(trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "pictures" / "cat"
    folder.mkdir(parents=True)
    for name in "ab":
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)).save(folder / f"{name}.png")
    trained(folder.parent)


@pytest.mark.filterwarnings("error:The given NumPy array is not writable")  # it is mapped
def test_an_array_with_columns_that_never_change(trained: Trained, tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    numbers[:, 1:] = 7, 0, 0.1
    data = tmp_path / "numbers.npy"
    np.save(data, numbers)
    assert load("files", data).description.std[1:] == [1, 1, 1]
    samples = drawn(exported(trained(data), data))
    assert np.abs(samples[:, 1:] - numbers[0, 1:]).max() < 10  # it is learned from where it is


def test_a_table_with_columns_that_never_change(trained: Trained, tmp_path: Path) -> None:
    """Such columns come back as they are, whatever has been learned: a number, a text, the label, and a number that is
    there or is not."""
    ages = np.random.default_rng(0).integers(20, 60, 60)
    lines = [f"{age},2.50,here,yes,{'?' if at % 3 else 5}" for at, age in enumerate(ages)]
    data = tmp_path / "people.csv"
    data.write_text("\n".join(["age,price,country,member,children", *lines]) + "\n")
    bundle = exported(trained(data, "network=tabular", "latent=64", "label=member"), data)
    assert bundle.manifest.labels == ["yes"]
    ages_made, prices, countries, members, children = zip(*rows(drawn(bundle), bundle.manifest.sample), strict=True)
    assert all(20 <= age <= 59 for age in ages_made)
    assert (set(prices), set(countries), set(members)) == ({2.5}, {"here"}, {"yes"})
    assert set(children) == {None, 5}
