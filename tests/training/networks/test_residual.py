import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from latentserve.service.packing.storing import mapped
from latentserve.training.data import Description
from latentserve.training.errors import ConfigError
from latentserve.training.export.graph import PARITY, parity, to_onnx
from latentserve.training.game.losses import zero_centred_penalty
from latentserve.training.game.step import Game, Part
from latentserve.training.networks import build, residual
from latentserve.training.recipe.config import Config

SIZES = list(itertools.product((8, 28, 32, 64, 128), (1, 3)))


def described(channels: int, side: int, labels: int = 0) -> Description:
    names = [str(label) for label in range(labels)]
    return Description("any", "", [channels, side, side], names, [1] * labels)


@pytest.fixture
def config(tiny: Config) -> Config:
    return tiny.model_copy(update={"network": "residual", "width": 2, "batch": 4})


def woken(network: nn.Module) -> nn.Module:
    """The network with blocks that do something, as those of fix-up initialisation do from the first step on."""
    for block in network.modules():
        if isinstance(block, residual.Block):
            nn.init.normal_(block.layers[-1].weight, std=0.3)
    return network


@pytest.mark.parametrize(("side", "channels"), SIZES)
def test_every_size_is_made_and_judged_each_row_by_itself(config: Config, side: int, channels: int) -> None:
    torch.manual_seed(0)
    generator, critic = map(woken, build(config, described(channels, side, labels=3)))
    assert not [part for part in generator.modules() if "Norm" in type(part).__name__]
    assert not [part for part in critic.modules() if "Norm" in type(part).__name__]
    z, label = torch.randn(3, config.latent), torch.tensor([2, 0, 1])
    sample = generator(z, label)
    assert sample.shape == (3, channels, side, side)
    assert sample.abs().max() <= 1
    score, features = critic(sample, label)
    assert (score.shape, features.shape[0]) == ((3,), 3)
    # In training mode, as they are.
    alone = [generator(z[row : row + 1], label[row : row + 1]) for row in range(3)]
    torch.testing.assert_close(torch.cat(alone), sample, atol=1e-5, rtol=0)
    judged = [critic(sample[row : row + 1], label[row : row + 1])[0] for row in range(3)]
    torch.testing.assert_close(torch.cat(judged), score, atol=1e-4, rtol=1e-4)


def test_where_maps_start() -> None:
    assert residual.stages(16, 28, 28) == [(64, 7, 7), (32, 14, 14), (16, 28, 28)]
    assert residual.stages(2, 32, 16) == [(8, 8, 4), (4, 16, 8), (2, 32, 16)]
    assert [channels for channels, *_ in residual.stages(4, 128, 128)] == [32, 32, 32, 16, 8, 4]
    assert residual.stages(4, 9, 9) == [(4, 9, 9)]
    with pytest.raises(ConfigError, match="which 50x50 ones cannot be"):
        residual.stages(4, 50, 50)


def test_blocks_begin_as_the_identity_and_the_signal_neither_grows_nor_dies(config: Config) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 32, 8, 8)
    assert torch.equal(residual.Block(32, 4)(x), x)
    generator, critic = build(config.model_copy(update={"width": 16, "latent": 64}), described(3, 64))
    assert isinstance(generator, residual.Generator)
    before_tanh = generator.layers[:-1]
    made = before_tanh(generator.start * generator.modulation(torch.randn(64, 64))[:, :, None, None])
    assert 0.1 < made.std() < 2
    score, _ = critic(torch.randn(64, 3, 64, 64))
    assert 0.01 < score.std() < 2


def test_doubling_is_bilinear_within_the_edges() -> None:
    x = torch.randn(2, 3, 5, 7)
    expected = nn.functional.interpolate(x, scale_factor=2, mode="bilinear")
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    torch.testing.assert_close(residual.Double(3)(x)[inner], expected[inner])


def test_the_penalties_gradient_is_the_slope_of_the_cost(config: Config) -> None:
    """R1 differentiates the critic twice; the cost along a direction of its weights says the same."""
    torch.manual_seed(0)
    critic = woken(build(config, described(1, 8))[1]).double()
    weights = list(critic.parameters())
    directions = [torch.randn_like(weight) for weight in weights]

    def cost(step: float = 0.0) -> Tensor:
        moved = [weight + step * direction for weight, direction in zip(weights, directions, strict=True)]
        named = dict(zip((name for name, _ in critic.named_parameters()), moved, strict=True))
        sample = real.clone().requires_grad_()
        score = torch.func.functional_call(critic, named, (sample,))[0]
        return score.mean() + zero_centred_penalty(score, sample).mean()

    real = torch.rand(4, 1, 8, 8).double()
    gradients = torch.autograd.grad(cost(), weights)
    slope = sum((a * b).sum() for a, b in zip(gradients, directions, strict=True))
    found = (cost(1e-6) - cost(-1e-6)) / 2e-6
    assert found.item() == pytest.approx(float(slope), rel=1e-4)


@pytest.mark.parametrize("packing", [1, 2])
def test_steps_are_the_same_to_the_bit_and_reach_every_weight(config: Config, packing: int) -> None:
    torch.use_deterministic_algorithms(True)
    told = []
    for _ in range(2):
        torch.manual_seed(0)
        generator, critic = map(woken, build(config.model_copy(update={"packing": packing}), described(3, 16)))
        game = Game(config, generator, critic, torch.device("cpu"))
        part = Part(torch.rand(4, 3, 16, 16), torch.zeros(4, dtype=torch.int64), torch.randn(4, config.latent))
        game.critic_cost(part, 1.0, keep=True).total.backward()
        game.generator_cost(part).total.backward()
        told.append([parameter.grad for network in (generator, critic) for parameter in network.parameters()])
    for one, other in zip(*told, strict=True):
        assert one is not None
        assert torch.equal(one, other)
        assert one.abs().max() > 0


@pytest.mark.parametrize(
    ("channels", "side"),
    [(1, 28), *(pytest.param(3, side, marks=pytest.mark.full) for side in (8, 32, 64, 128))],
)
def test_the_graphs_compute_what_the_modules_do(config: Config, channels: int, side: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator, critic = (woken(network).eval() for network in build(config, described(channels, side, labels=3)))
    rng = np.random.default_rng(0)
    z, label = rng.standard_normal((64, config.latent), np.float32), rng.integers(3, size=64)
    with torch.no_grad():
        sample = generator(torch.from_numpy(z), torch.from_numpy(label))
        score, features = critic(sample, torch.from_numpy(label))
    cases = (
        (generator, {"z": z, "label": label}, {"sample": sample.numpy()}),
        (critic, {"sample": sample.numpy(), "label": label}, {"score": score.numpy(), "features": features.numpy()}),
    )
    for network, inputs, outputs in cases:
        model = to_onnx(network, "any", inputs, outputs, tmp_path)
        assert (
            parity(model.SerializeToString(), inputs, outputs, mapped(model))[0] <= PARITY
        )  # at batches of 1, 2, 3, 7 and 64
