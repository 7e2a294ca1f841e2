"""What a step leaves to chance is drawn where the networks are; on a GPU, for which the meta device stands in, by a
counter."""

import numpy as np
import torch

from latentserve.training.data import Dataset
from latentserve.training.game.chance import drawn_on, key
from latentserve.training.game.step import Game, Part
from latentserve.training.recipe.config import Config

ALL = {
    "augment": ("flip", "translate", "brightness", "contrast"),
    "loss": "wasserstein-gp",
    "gradient_penalty": 10.0,
    "gamma": {"start": 0.0, "end": 0.0},
}


def parts(config: Config, digits: Dataset, device: torch.device) -> list[Part]:
    game = Game(config, torch.nn.Identity(), torch.nn.Identity(), device)
    real = torch.from_numpy(digits.take(slice(0, config.batch))).to(device)
    label = torch.from_numpy(digits.labels[: config.batch]).to(device)
    with drawn_on(device, 0, 320):
        return game.parts(real, label, 0.5, 0.3)


def tensors(part: Part) -> list[torch.Tensor]:
    assert part.place is not None
    assert part.noise is not None
    assert part.altered is not None
    return [part.real, part.label, part.z, part.place, *part.noise, *(each for one in part.altered for each in one)]


def test_all_of_it_is_drawn_on_the_device(tiny: Config, digits: Dataset) -> None:
    config = tiny.model_copy(update=ALL)
    for part in parts(config, digits, torch.device("meta")):
        assert {tensor.device.type for tensor in tensors(part)} == {"meta"}
    assert torch.rand(1).device.type == "cpu"


def test_on_a_cpu_it_comes_from_the_random_state_as_ever(tiny: Config, digits: Dataset) -> None:
    torch.manual_seed(1)
    (part,) = parts(tiny, digits, torch.device("cpu"))
    torch.manual_seed(1)
    assert torch.equal(part.z, torch.randn(tiny.batch, tiny.latent))


def test_halves_are_the_rows_and_what_was_drawn_for_them(tiny: Config, digits: Dataset) -> None:
    (whole,) = parts(tiny.model_copy(update=ALL), digits, torch.device("cpu"))
    halves = whole.halves()
    for together, *apart in zip(tensors(whole), *map(tensors, halves), strict=True):
        assert [len(each) for each in apart] == [16, 16]
        assert torch.equal(together, torch.cat(apart))


def test_each_step_has_a_key_of_its_own() -> None:
    keys = {key(seed, images) for seed in range(20) for images in range(0, 6400, 64)}
    assert len(keys) == 2000
    assert all(0 <= each < 2**63 for each in keys)
    assert key(2**53 - 1, 10**12) == key(2**53 - 1, 10**12)
    assert np.log2(max(keys)) > 60
