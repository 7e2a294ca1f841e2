"""Runs on data with conditions: they are learnt, and whatever interrupts a run changes no bit of it."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from latentserve.service.cli import main
from latentserve.training import networks
from latentserve.training.data import Dataset, load
from latentserve.training.errors import RunError
from latentserve.training.evaluation.subject import open_subject
from latentserve.training.recipe import load_config, read_config
from latentserve.training.recipe.config import Config
from latentserve.training.run import CHECKPOINT, CONFIG, prepare
from latentserve.training.run.loop import Grid, fixed_samples, train
from tests.training.conftest import stop_after
from tests.training.data.test_blobs import measured
from tests.training.people import write_people
from tests.training.run.test_loop import assert_equal, folder


@pytest.fixture(scope="module")
def blobs() -> Dataset:
    return load("blobs", None)


@pytest.fixture(params=[pytest.param("dense", marks=pytest.mark.full), "residual packed", "dense accumulated"])
def config(request: pytest.FixtureRequest, tiny: Config) -> Config:
    network, _, how = request.param.partition(" ")
    more = {"packed": {"packing": 2}, "accumulated": {"accumulate": 4, "augment": ("flip",)}}.get(how, {})
    return tiny.model_copy(update={"data": "blobs", "network": network, "images": 160, **more})


def test_resuming_continues_bit_for_bit(config: Config, blobs: Dataset, tmp_path: Path) -> None:
    whole, parts = folder(tmp_path, "whole"), folder(tmp_path, "parts")
    assert train(config, blobs, whole) == 160
    for steps in (2, 0):
        train(config, blobs, parts, stop_after(steps))
        torch.rand(3)
    assert train(config, blobs, parts) == 160
    assert_equal(whole, parts)


def test_a_batch_in_parts_costs_what_it_costs_in_one(tiny: Config, blobs: Dataset, tmp_path: Path) -> None:
    """Conditions stay with their rows: in one part and in four, steps give the same weights up to rounding."""
    config = tiny.model_copy(update={"data": "blobs", "images": 96})
    whole, parts = folder(tmp_path, "whole"), folder(tmp_path, "parts")
    train(config, blobs, whole)
    train(config.model_copy(update={"accumulate": 4}), blobs, parts)
    with safe_open(whole / CHECKPOINT, "pt") as one, safe_open(parts / CHECKPOINT, "pt") as other:
        for name in one.keys():  # noqa: SIM118
            if name.startswith("generator."):
                torch.testing.assert_close(one.get_tensor(name), other.get_tensor(name), atol=1e-4, rtol=1e-3)


def test_other_conditions_are_other_data(tiny: Config, blobs: Dataset, tmp_path: Path) -> None:
    config = tiny.model_copy(update={"data": "blobs"})
    train(config, blobs, tmp_path, stop_after(1))
    with pytest.raises(RunError, match="trained on other data"):
        train(config, blobs.without_conditions(), tmp_path)


@pytest.mark.full  # in the short form the recipe is learnt, exported and asked for in `test_conditions.py` above
def test_the_generator_learns_what_it_is_asked_for(blobs: Dataset, tmp_path: Path) -> None:
    config = load_config("blobs", ("images=40000", "tick=20000", "snapshot=40000", "threads=1", "network=dense"))
    prepare(tmp_path, config)
    train(config, blobs, tmp_path, held_out=load("blobs", None, "test"))
    subject = open_subject(tmp_path)
    inputs = subject.inputs(1000, 0)
    assert inputs.condition is not None
    found = [np.corrcoef(*each)[0, 1] for each in zip(measured(subject.make(inputs)), inputs.condition.T, strict=True)]
    print("correlations", found)
    assert min(found) > 0.8
    first, last = (json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()[::1])
    assert last["frechet"] < first["frechet"]


def test_a_grid_goes_along_each_condition(blobs: Dataset, tiny: Config, tmp_path: Path) -> None:
    grid = Grid.of(blobs, pictured=True)
    assert grid.conditions is not None
    assert grid.columns == 8
    asked, latents = grid.conditions.reshape(16, 8, 2), grid.latents.reshape(16, 8)
    assert (asked == asked[:, :1]).all()
    assert (latents == np.arange(8)).all()
    for condition, lines in ((0, asked[:8, 0]), (1, asked[8:, 0])):
        assert (np.diff(lines[:, condition]) > 0).all()
        assert len(set(lines[:, 1 - condition])) == 1
        assert [lines[0, condition], lines[-1, condition]] == list(
            blobs.conditions.described()[condition].range  # type: ignore[union-attr]
        )
    config = tiny.model_copy(update={"data": "blobs"})
    generator, _ = networks.build(config, blobs.description)
    made = fixed_samples(generator.eval(), config, grid).reshape(16, 8, -1)
    assert (made[:-1] != made[1:]).any(axis=2).sum() == 14 * 8 + 8
    train(config, blobs, tmp_path, stop_after(0))
    with Image.open(tmp_path / "samples-000000032.png") as picture:
        assert picture.size[1] == pytest.approx(2 * picture.size[0], rel=0.05)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["latentserve", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr().err
        assert not left.value.code, said
        return said

    return run


def test_the_command_says_what_it_learns_and_leaves_it_out(command, tmp_path: Path) -> None:
    """Of a table, whose samples have no picture of their own."""
    data = tmp_path / "data"
    data.mkdir()
    write_people(data / "people.csv", 200)
    (data / "conditions.csv").write_text("year [a]\n" + "\n".join(str(2000 + at % 7) for at in range(200)))
    short = ["--set", "images=512", "--set", "label=rich", "--set", "latent=64", "--set", "width=16", "--data", data]
    said = command("train", "adult", *short, "--out", tmp_path / "run")
    assert "conditions: year from 2000 to 2006 a; --set conditions=false leaves them out\n" in said
    assert (tmp_path / "run" / "samples-000000512.png").exists()
    assert "conditions" not in (tmp_path / "run" / CONFIG).read_text()
    subject = open_subject(tmp_path / "run")
    assert [condition.name for condition in subject.conditions or []] == ["year"]

    said = command("train", "adult", *short, "--set", "conditions=false", "--out", tmp_path / "without")
    assert "conditions" not in said
    assert not read_config(tmp_path / "without" / CONFIG).conditions
    assert open_subject(tmp_path / "without").conditions is None
    with safe_open(tmp_path / "without" / CHECKPOINT, "pt") as file:
        assert "conditions" not in json.loads(file.metadata()["latentserve"])["dataset"]
