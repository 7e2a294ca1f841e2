from pathlib import Path

import pytest
import torch

from benchmarks.quality import side_by_side
from latentserve.training import networks
from latentserve.training.data import load
from latentserve.training.errors import ConfigError
from latentserve.training.recipe import load_config
from latentserve.training.run import checkpoint, loop

TINY = ("images=1024", "batch=64", "tick=512", "snapshot=1024", "width=16", "gamma.until=1", "threads=1")


@pytest.mark.parametrize("data", ["ring", pytest.param("grid", marks=pytest.mark.full)])
def test_each_seed_goes_the_way_it_goes_alone(data: str, tmp_path: Path) -> None:
    config, dataset = load_config(data, TINY), load(data, None)
    seen: list[int] = []
    together = side_by_side.train(config, dataset, [3, 5], seen.append)
    assert seen == [512, 1024]
    initial, _ = networks.build(config, dataset.description)
    for seed, generator in zip([3, 5], together, strict=True):
        run = tmp_path / str(seed)
        run.mkdir()
        loop.train(config.model_copy(update={"seed": seed}), dataset, run)
        alone, _ = networks.build(config, dataset.description)
        checkpoint.load_networks(run / "checkpoint.safetensors", average=alone)
        torch.testing.assert_close(generator.state_dict(), alone.state_dict(), rtol=1e-3, atol=1e-4)
        moved = [(one - other).abs().max() for one, other in zip(alone.parameters(), initial.parameters(), strict=True)]
        assert min(moved) > 1e-3


@pytest.mark.parametrize("override", ["packing=2", "clip=1.0", "n_critic=2", "accumulate=2"])
def test_what_is_one_seeds_alone_is_named(override: str) -> None:
    field = override.partition("=")[0]
    with pytest.raises(ConfigError, match=f"`{field}`: seeds that train side by side need"):
        side_by_side.train(load_config("ring", (*TINY, override)), load("ring", None), [0, 1])


def test_labels_are_refused() -> None:
    with pytest.raises(ConfigError, match="digits has labels"):
        side_by_side.train(load_config("digits"), load("digits", None), [0, 1])
