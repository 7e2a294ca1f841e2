from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.amp import GradScaler

from latentserve.training import networks
from latentserve.training.data import Dataset, load
from latentserve.training.distributed import has_bf16
from latentserve.training.game.step import Cost, Game, clip_weights, update
from latentserve.training.recipe import load_config
from latentserve.training.recipe.choices import LOSSES
from latentserve.training.recipe.config import Config
from latentserve.training.run import checkpoint, loop
from tests.training.conftest import stop_after

CPU = torch.device("cpu")
NEEDS = {"wasserstein": ("clip_weights=0.05",), "wasserstein-gp": ("gradient_penalty=10",)}
UNPENALISED = ("gamma.start=0", "gamma.end=0")
ALL_AUGMENTATIONS = "augment=[flip, translate, brightness, contrast]"


def gradients(config: Config, digits: Dataset) -> dict[str, torch.Tensor]:
    """Of both players, for the first batch."""
    torch.manual_seed(0)
    generator, critic = (network.double() for network in networks.build(config, digits.description))
    game = Game(config, generator, critic, CPU)
    game.generator = lambda z, label: generator(z.double(), label)
    game.critic = lambda sample, label: critic(sample.double(), label)
    torch.manual_seed(1)
    parts = game.parts(torch.from_numpy(digits.take(slice(0, config.batch))), torch.arange(config.batch) % 10, 0.7)
    for cost in (lambda part: game.critic_cost(part, 0.3, config.accumulate == 1), game.generator_cost):
        for part in parts:
            (cost(part).total / config.accumulate).backward()
    named = {"generator": generator, "critic": critic}
    return {f"{of}.{name}": one.grad for of, network in named.items() for name, one in network.named_parameters()}


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("loss=hinge", *UNPENALISED),
        ("loss=wasserstein-gp", "gradient_penalty=10", *UNPENALISED),
        ("packing=2",),
        (ALL_AUGMENTATIONS,),
    ],
    ids=["relativistic", "hinge", "wasserstein-gp", "packing", "augmentation"],
)
def test_accumulated_gradients_are_those_of_the_large_batch(
    tiny_file: Path, digits: Dataset, overrides: tuple[str, ...]
) -> None:
    whole = gradients(load_config(str(tiny_file), overrides), digits)
    parts = gradients(load_config(str(tiny_file), (*overrides, "accumulate=4")), digits)
    for name, gradient in whole.items():
        assert gradient.abs().max() > 0
        torch.testing.assert_close(parts[name], gradient, rtol=1e-4, atol=1e-7)


def test_a_run_that_accumulates_makes_the_large_batchs_weights(
    tiny_file: Path, digits: Dataset, tmp_path: Path
) -> None:
    ends = []
    for count in (1, 4):
        config = load_config(str(tiny_file), (f"accumulate={count}", "images=320", "optimizer=sgd", "beta2=null"))
        (tmp_path / str(count)).mkdir()
        loop.train(config, digits, tmp_path / str(count))
        ends.append(load_file(tmp_path / str(count) / "checkpoint.safetensors"))
    start = loop.construct(config, digits.description, CPU)
    for name in start.critic.state_dict():
        torch.testing.assert_close(ends[0][f"critic.{name}"], ends[1][f"critic.{name}"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "overrides",
    [
        *[(f"loss={name}", *NEEDS.get(name, ()), *(() if name == "relativistic" else UNPENALISED)) for name in LOSSES],
        ("n_critic=3", "accumulate=2", "packing=2", "optimizer=rmsprop", "beta1=null", "clip=0.5"),
        ("loss=wasserstein-gp", "gradient_penalty=10", *UNPENALISED, "n_critic=2", ALL_AUGMENTATIONS),
        (
            "optimizer=sgd",
            "beta1=0.5",
            "beta2=null",
            "critic.optimizer=rmsprop",
            "critic.beta2={start: 0.9, end: 0.99}",
        ),
        ("precision=fp16",),
        pytest.param(("precision=bf16",), marks=pytest.mark.skipif(not has_bf16(), reason="no bfloat16 here")),
    ],
    ids=lambda overrides: " ".join(overrides)[:40],
)
def test_every_kind_of_run_resumes_bit_for_bit(
    tiny_file: Path, digits: Dataset, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    config = load_config(str(tiny_file), (*overrides, "images=192"))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    assert loop.train(config, digits, whole) == 192
    stop = int(np.random.default_rng().integers(0, 5))
    print("stopped after step", stop)
    assert loop.train(config, digits, parts, stop_after(stop)) == 32 * (stop + 1)
    assert loop.train(config, digits, parts) == 192
    one, other = (load_file(run / "checkpoint.safetensors") for run in (whole, parts))
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name
    states = [loop.construct(config, digits.description, CPU) for _ in range(2)]
    for run, state in zip((whole, parts), states, strict=True):
        checkpoint.load(run / "checkpoint.safetensors", state, digits.description)
    assert states[0].augmentation == states[1].augmentation
    start = loop.construct(config, digits.description, CPU)
    for player in ("generator", "critic"):
        moved = zip(getattr(start, player).parameters(), getattr(states[0], player).parameters(), strict=True)
        assert not any(torch.equal(one, other) for one, other in moved if one.dim() > 1)


def test_costs_that_are_scaled_too_far_change_nothing_and_are_scaled_less() -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    scaler = GradScaler("cpu", init_scale=2.0**127)
    for expected in (1.0, 0.0):
        result = update(optimizer, [Cost(2 * weight.sum(), {})], 1, None, scaler=scaler)
        assert (result.finite, result.overflowed) == (expected == 0, expected == 1)
        assert weight.tolist() == [expected] * 3
    assert scaler.get_scale() == 2.0**126
    lost = update(optimizer, [Cost(torch.inf * weight.sum(), {})], 1, None, scaler=scaler)
    assert not lost.finite
    assert not lost.overflowed  # which no smaller scale would help


def test_the_generator_moves_at_every_nth_step(tiny_file: Path, digits: Dataset, tmp_path: Path) -> None:
    config = load_config(str(tiny_file), ("n_critic=3",))
    seen = []
    for _ in range(6):
        loop.train(config, digits, tmp_path, lambda: True)
        seen.append(load_file(tmp_path / "checkpoint.safetensors"))
    moved = [
        [not torch.equal(one[name], other[name]) for one, other in pairwise(seen)]
        for name in ("critic.score.weight", "generator.layers.0.weight", "average.layers.0.weight")
    ]
    assert moved[0] == [True] * 5
    assert moved[1][:4] == moved[2][:4] == [False, True, False, False]


def test_weights_stay_within_their_bound(tiny_file: Path, digits: Dataset, tmp_path: Path) -> None:
    overrides = ("loss=wasserstein", "clip_weights=0.02", *UNPENALISED, "images=96")
    loop.train(load_config(str(tiny_file), overrides), digits, tmp_path)
    ends = load_file(tmp_path / "checkpoint.safetensors")
    largest = {name: tensor.abs().max().item() for name, tensor in ends.items() if name.startswith("critic.")}
    assert max(largest.values()) == pytest.approx(0.02)
    critic = nn.Linear(1, 2)
    nn.init.constant_(critic.weight, 5.0)
    clip_weights(critic, 0.5)
    assert critic.weight.flatten().tolist() == [0.5, 0.5]


def step_of(gradient: list[float], clip: float | None) -> tuple[bool, float, list[float]]:
    """One step of 1 along a gradient: whether it was made, the norm that is told, and the weight afterwards."""
    weight = nn.Parameter(torch.zeros(2))
    cost = (weight * torch.tensor(gradient)).sum()
    made = update(torch.optim.SGD([weight], lr=1.0), [Cost(cost, {"cost": cost})], 1, clip)
    return made.finite, made.norm.item(), weight.tolist()


def test_a_long_gradient_is_shortened_and_told_as_it_was() -> None:
    assert step_of([3.0, -4.0], None) == (True, 5.0, [-3.0, 4.0])
    finite, norm, weight = step_of([3.0, -4.0], 1.0)
    assert (finite, norm) == (True, 5.0)
    assert weight == pytest.approx([-0.6, 0.8], rel=1e-5)
    assert step_of([3.0, -4.0], 7.0) == (True, 5.0, [-3.0, 4.0])


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_gradient_that_is_not_finite_changes_no_weight(clip: float | None) -> None:
    finite, _, weight = step_of([float("inf"), 1.0], clip)
    assert not finite
    assert weight == [0, 0]


def test_the_probability_of_alterations_moves_and_is_reported(tiny_file: Path, digits: Dataset, tmp_path: Path) -> None:
    config = load_config(str(tiny_file), (ALL_AUGMENTATIONS, "images=320", "lr.start=0.01", "lr.end=0.01"))
    state = loop.construct(config, digits.description, CPU)
    loop.train(config, digits, tmp_path)
    checkpoint.load(tmp_path / "checkpoint.safetensors", state, digits.description)
    assert (state.augmentation * 500_000 / 32).is_integer()
    assert f'"augmentation": {float(f"{state.augmentation:.6g}")}' in (tmp_path / "stats.jsonl").read_text()


def test_reals_that_are_never_shown_decide_how_much_is_altered(
    tiny_file: Path, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every fourth step, by steps of a fifth of the run; a run that is interrupted goes on to the same end."""
    config = load_config(str(tiny_file), (ALL_AUGMENTATIONS, "images=640"))
    unseen, told = load("digits", None, "test"), []

    def adapt(probability: float, shown: float, unseen: float, images: int, budget: int) -> float:
        told.append((shown, unseen, images, budget))
        return 0.5

    monkeypatch.setattr(loop, "adapt_to_unseen", adapt)
    for name in ("whole", "in two"):
        (tmp_path / name).mkdir()
    loop.train(config, digits, tmp_path / "whole", held_out=unseen)
    assert len(told) == 5
    assert {each[2:] for each in told} == {(4 * 32, 640)}
    assert all(-1 <= shown <= 1 and -1 <= lead <= 1 for shown, lead, *_ in told)
    loop.train(config, digits, tmp_path / "in two", stop_after(7), held_out=unseen)
    loop.train(config, digits, tmp_path / "in two", held_out=unseen)
    assert told[5:] == told[:5]
