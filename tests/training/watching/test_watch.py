import math
from pathlib import Path

import numpy as np
import pytest
import torch

from latentserve.training.data import Dataset, load
from latentserve.training.errors import DataError
from latentserve.training.game.losses import loss_named
from latentserve.training.recipe.config import Config
from latentserve.training.run import loop
from latentserve.training.watching import Watch, held_out, layer_norms

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def unseen() -> Dataset:
    return load("digits", None, "test")


def look(config: Config, digits: Dataset, unseen: Dataset | None, **changed: object) -> dict[str, float]:
    torch.manual_seed(0)
    state = loop.construct(config, digits.description, CPU)
    watch = Watch(config, digits, unseen)
    rows = np.arange(watch.rows)
    networks = {"critic": state.critic, "ema": state.ema} | changed
    return watch.look(
        networks["critic"], networks["ema"], loss_named(config.loss).right, digits.take(rows), digits.labels[rows]
    )


class Reals(torch.nn.Module):
    """A generator that learnt its reals by heart."""

    def __init__(self, reals: Dataset) -> None:
        super().__init__()
        self.reals, self.weight = reals, torch.nn.Parameter(torch.zeros(()))

    def forward(self, z: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        rng = np.random.default_rng(0)
        rows = [rng.choice(np.flatnonzero(self.reals.labels == one)) for one in label.numpy()]
        return torch.from_numpy(self.reals.take(np.array(rows)))


class ByHeart(torch.nn.Module):
    """A critic that knows what it was shown."""

    def __init__(self, shown: np.ndarray) -> None:
        super().__init__()
        self.shown, self.weight = torch.from_numpy(shown), torch.nn.Parameter(torch.zeros(()))

    def forward(self, sample: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen = (torch.cdist(sample.flatten(1), self.shown.flatten(1)).min(1).values < 1e-3).float()
        return seen, sample.flatten(1)


def test_what_is_said_of_an_untrained_run_and_of_one_like_the_reals(
    tiny: Config, digits: Dataset, unseen: Dataset
) -> None:
    untrained = look(tiny, digits, unseen)
    perfect = look(tiny, digits, unseen, ema=Reals(digits))
    assert perfect["frechet"] < 2 * perfect["frechet_floor"] < untrained["frechet"]
    assert perfect["diversity"] == pytest.approx(1, abs=0.1)
    assert perfect["effective_rank"] == pytest.approx(1, abs=0.1)
    assert untrained["real_frechet"] < 1.5 * untrained["frechet_floor"]
    assert math.isnan(perfect["held_out_gap"])  # there is no lead to compare with


def test_a_critic_that_knows_its_reals_by_heart_has_a_gap_of_one(
    tiny: Config, digits: Dataset, unseen: Dataset
) -> None:
    critic = ByHeart(digits.take(slice(None)))
    told = look(tiny, digits, unseen, critic=critic)
    assert told["held_out_gap"] == pytest.approx(1)
    assert (told["shown_lead"], told["held_out_lead"]) == (1, 0)


def test_without_a_held_out_part_nothing_is_said_of_one(tiny: Config, digits: Dataset) -> None:
    told = look(tiny, digits, None)
    assert {"frechet", "real_frechet", "effective_rank"} <= told.keys()
    assert not {name for name in told if name.startswith(("held_out", "shown"))}


def test_of_a_handful_of_reals_only_diversity_is_said(tiny: Config, digits: Dataset) -> None:
    assert look(tiny, digits.subset(np.arange(40)), None).keys() == {"diversity"}


def test_reals_that_are_all_the_same_leave_nothing_to_be_compared_with(tiny: Config, digits: Dataset) -> None:
    told = look(tiny, digits.subset(np.zeros(128, np.int64)), None)
    assert math.isnan(told["effective_rank"])
    assert math.isnan(told["diversity"])
    assert told["frechet"] > told["frechet_floor"] == pytest.approx(0, abs=1e-6)


def test_looking_leaves_chance_weights_and_modes_alone(tiny: Config, digits: Dataset, unseen: Dataset) -> None:
    state = loop.construct(tiny.model_copy(update={"network": "convolutional"}), digits.description, CPU)
    before = {name: tensor.clone() for name, tensor in state.ema.state_dict().items()}
    torch.manual_seed(7)
    chance = torch.get_rng_state()
    watch = Watch(tiny, digits, unseen)
    watch.look(
        state.critic,
        state.ema,
        loss_named("hinge").right,
        digits.take(slice(0, watch.rows)),
        digits.labels[: watch.rows],
    )
    assert torch.equal(torch.get_rng_state(), chance)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state.ema.state_dict().items())
    assert state.critic.training
    assert not state.ema.training


def test_layers_are_named_and_their_norms_make_up_the_whole(tiny: Config, digits: Dataset) -> None:
    generator = loop.construct(tiny, digits.description, CPU).generator
    assert layer_norms("generator", generator) == {}
    generator(torch.randn(4, tiny.latent), torch.arange(4)).square().sum().backward()
    norms = layer_norms("generator", generator)
    assert "generator_gradient_norm/layers.0" in norms
    whole = sum(float(one.grad.square().sum()) for one in generator.parameters() if one.grad is not None)
    assert sum(norm**2 for norm in norms.values()) == pytest.approx(whole, rel=1e-5)


def test_a_held_out_part_must_look_alike(digits: Dataset, unseen: Dataset) -> None:
    def without(split: str) -> Dataset:
        raise DataError("one file, which has no held-out part")

    assert held_out(lambda split: unseen, digits) is unseen
    assert held_out(without, digits) is None
    assert held_out(lambda split: load("ring", None, "test"), digits) is None
    fewer = Dataset("fewer", unseen.samples[:9], np.zeros(9, np.int64), ["7"])
    part = held_out(lambda split: fewer, digits)
    assert part is not None
    assert (part.labels == 7).all()
    assert held_out(lambda split: Dataset("other", unseen.samples, unseen.labels, ["a"]), digits) is None


def test_what_is_held_out_changes_no_weight(tiny: Config, digits: Dataset, unseen: Dataset, tmp_path: Path) -> None:
    from tests.training.run.test_loop import assert_equal, folder

    config = tiny.model_copy(update={"images": 400, "supervise": "off"})
    one, other = folder(tmp_path, "one"), folder(tmp_path, "other")
    loop.train(config, digits, one)
    loop.train(config, digits, other, held_out=unseen)
    assert_equal(one, other)
