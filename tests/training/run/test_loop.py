import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from latentserve.training.data import Dataset
from latentserve.training.errors import DivergedError
from latentserve.training.recipe.config import Config
from latentserve.training.run.loop import NONFINITE_LIMIT, batch_rows, train
from tests.training.conftest import lose, stop_after

CHECKPOINT = "checkpoint.safetensors"


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / CHECKPOINT)


def assert_equal(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


@pytest.fixture
def config(request: pytest.FixtureRequest, tiny: Config) -> Config:
    network, loss = request.param.split()
    return tiny.model_copy(update={"network": network, "loss": loss, "images": 256})


def of_every_kind(short: str) -> pytest.MarkDecorator:
    """Runs `config` of each kind of network, of which the short form has one."""
    kinds = ("dense relativistic", "convolutional non-saturating", "residual relativistic")
    params = [pytest.param(kind, marks=[] if kind.startswith(short) else pytest.mark.full) for kind in kinds]
    return pytest.mark.parametrize("config", params, indirect=True)


def folder(tmp_path: Path, name: str) -> Path:
    path = tmp_path / name
    path.mkdir()
    return path


@of_every_kind("convolutional")
def test_resuming_continues_bit_for_bit_wherever_it_stopped(config: Config, digits: Dataset, tmp_path: Path) -> None:
    whole, parts = folder(tmp_path, "whole"), folder(tmp_path, "parts")
    assert train(config, digits, whole) == 256
    steps = np.random.default_rng().integers(0, 3, size=2)  # any stop must do
    print("stopped after steps", steps)
    seen = [train(config, digits, parts, stop_after(int(count))) for count in steps]
    assert seen[0] == 32 * (steps[0] + 1)
    torch.rand(7)  # whatever else happened to the global random state
    assert train(config, digits, parts) == 256
    assert_equal(whole, parts)


@of_every_kind("residual")
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    config: Config, digits: Dataset, tmp_path: Path
) -> None:
    config = config.model_copy(update={"images": 128})
    one, same, other = (folder(tmp_path, name) for name in ("one", "same", "other"))
    train(config, digits, one)
    train(config, digits, same)
    train(config.model_copy(update={"seed": 1}), digits, other)
    assert_equal(one, same)
    assert not torch.equal(weights(one)["average.embedding.weight"], weights(other)["average.embedding.weight"])


def test_training_learns(tiny: Config, digits: Dataset, tmp_path: Path) -> None:
    """After a second samples hold as much ink as digits do; untrained ones are grey all over."""
    config = tiny.model_copy(update={"images": 20_000, "width": 64, "tick": 10_000, "snapshot": 20_000})
    train(config, digits, tmp_path)
    real, made = (
        np.asarray(Image.open(tmp_path / f"{name}.png"), np.float32) for name in ("reals", "samples-000020000")
    )
    assert abs(real.mean() - made.mean()) < 12
    assert abs(real.std() - made.std()) < 20


def test_what_a_run_leaves_behind(tiny: Config, digits: Dataset, tmp_path: Path) -> None:
    train(tiny, digits, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == [224, 416, 608, 800, 1024]
    fields = {"images", "seconds", "timestamp", "images_per_second", "gamma", "lr", "beta2", "ema_half_life"}
    fields |= {"seconds_per_kimg", "memory", "nonfinite_steps", "data_seconds", "actions", "diversity", "r1", "r2"}
    fields |= {"frechet", "frechet_floor", "frechet_floor_deviation", "real_frechet", "effective_rank"}
    fields |= {f"{player}_{what}" for player in ("critic", "generator") for what in ("loss", "gradient_norm")}
    fields |= {f"{of}_{what}" for of in ("real", "fake") for what in ("score", "accuracy")}
    assert all({name for name in line if "/" not in name} == fields for line in lines)
    assert all("critic_gradient_norm/score" in line for line in lines)
    assert abs(lines[-1]["timestamp"] - time.time()) < 60
    assert all(0 <= line[name] <= 1 for line in lines for name in ("real_accuracy", "fake_accuracy"))
    assert all(line["nonfinite_steps"] == 0 for line in lines)
    assert all(np.isfinite(value) for line in lines for value in line.values())
    names = {path.name for path in tmp_path.iterdir()}
    assert {"curves.png", "reals.png", "samples-000000416.png", "samples-000001024.png", CHECKPOINT} <= names


def test_lines_after_the_checkpoint_are_dropped_on_resume(tiny: Config, digits: Dataset, tmp_path: Path) -> None:
    train(tiny, digits, tmp_path, stop_after(5))
    with (tmp_path / "stats.jsonl").open("a") as file:
        file.write('{"images": 900.0, "critic_loss": 1}\n{"images": 95')
    train(tiny, digits, tmp_path)
    images = [json.loads(line)["images"] for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert images == sorted(set(images))
    assert 900 not in images


def test_minutes_bound_a_sitting_and_the_rest_can_be_resumed(tiny: Config, digits: Dataset, tmp_path: Path) -> None:
    assert train(tiny.model_copy(update={"minutes": 1e-9}), digits, tmp_path) == 32
    assert train(tiny, digits, tmp_path) == 1024


def test_losses_that_stay_not_finite_stop_the_run_and_keep_the_checkpoint(
    tiny: Config, digits: Dataset, tmp_path: Path
) -> None:
    train(tiny, digits, tmp_path, stop_after(3))
    before = (tmp_path / CHECKPOINT).read_bytes()
    long = tiny.model_copy(update={"tick": 100_000, "snapshot": 100_000, "supervise": "off"})
    with pytest.raises(DivergedError, match=rf"diverged before 448 images: .* {NONFINITE_LIMIT} steps on end"):
        train(long, lose(digits, slice(None)), tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    last = json.loads((tmp_path / "stats.jsonl").read_text().splitlines()[-1])
    assert (last["images"], last["nonfinite_steps"]) == (448, NONFINITE_LIMIT)


@of_every_kind("convolutional")
def test_a_step_that_is_not_finite_is_counted_and_changes_no_weight(
    config: Config, digits: Dataset, tmp_path: Path
) -> None:
    train(config, digits, tmp_path, stop_after(3))
    before = weights(tmp_path)
    bad = lose(digits, batch_rows(len(digits.samples), 32, config.seed, 128).numpy())
    assert train(config, bad, tmp_path, lambda: True) == 160
    after = weights(tmp_path)
    # The generator's batch normalisation has seen healthy fakes, and torch another latent; no parameter has moved.
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before.keys() - same if not name.startswith("generator.")} == {"rng"}
    assert all(".running_" in name or ".num_batches" in name for name in before.keys() - same - {"rng"})

    train(config, bad, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert lines[-1]["images"] == 256
    assert all(np.isfinite(value) for line in lines for value in line.values())
    assert all(torch.isfinite(tensor).all() for tensor in weights(tmp_path).values())


def test_left_out_steps_are_reported_in_their_tick(tiny: Config, digits: Dataset, tmp_path: Path) -> None:
    bad = lose(digits, batch_rows(len(digits.samples), 32, tiny.seed, 256).numpy())
    train(tiny, bad, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    # Another epoch begins with the 898th image, in another order.
    assert [line["nonfinite_steps"] for line in lines[:4]] == [0, 1, 0, 0]


def test_an_epoch_shows_every_image_once_whatever_the_batch() -> None:
    rows = torch.cat([batch_rows(10, 7, seed=3, images_seen=seen) for seen in range(0, 70, 7)])
    for epoch in rows.split(10):
        assert sorted(epoch.tolist()) == list(range(10))
    assert not torch.equal(rows[:10], rows[10:20])
