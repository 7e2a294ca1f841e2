import pytest
import torch

from latentserve.training.data import Description
from latentserve.training.errors import ConfigError
from latentserve.training.networks import build
from latentserve.training.networks.samples import ScaledCritic
from latentserve.training.recipe.config import Config


def described(
    labels: int = 0, mean: tuple[float, ...] = (10.0, -3.0), std: tuple[float, ...] = (2.0, 0.1)
) -> Description:
    names = [str(label) for label in range(labels)]
    return Description("any", "", [2], names, [1] * labels, "array", None, list(mean), list(std))


@pytest.fixture
def config(tiny: Config) -> Config:
    return tiny.model_copy(update={"network": "mixture"})


def test_shapes(config: Config) -> None:
    generator, critic = build(config, described())
    sample = generator(torch.randn(5, config.latent))
    assert sample.shape == (5, 2)
    score, features = critic(sample)
    assert (score.shape, features.shape) == ((5,), (5, config.width))


def test_the_signs_of_the_latent_choose_and_its_size_moves_little(config: Config) -> None:
    torch.manual_seed(0)
    generator, _ = build(config, described())
    z = torch.randn(200, config.latent)
    here, aside, there = generator(z), generator(1.5 * z), generator(-z)
    assert (here - aside).abs().mean() < 0.2 * (here - there).abs().mean()
    assert (here - aside).abs().amax(dim=1).min() > 0


@pytest.mark.parametrize("network", ["mixture", "dense"])
def test_arrays_are_made_and_judged_in_their_own_unit(config: Config, network: str) -> None:
    config = config.model_copy(update={"network": network})
    torch.manual_seed(0)
    generator, critic = build(config, described())
    torch.manual_seed(0)
    standard_generator, standard_critic = build(config, described(mean=(0, 0), std=(1, 1)))
    mean, std = torch.tensor([10.0, -3.0]), torch.tensor([2.0, 0.1])
    z = torch.randn(50, config.latent)
    torch.testing.assert_close(generator(z), standard_generator(z) * std + mean)
    sample = mean + std * torch.randn(50, 2)
    torch.testing.assert_close(critic(sample)[0], standard_critic((sample - mean) / std)[0], rtol=1e-3, atol=1e-4)


def test_the_critic_sees_a_fiftieth_of_the_data(config: Config) -> None:
    _, critic = build(config, described(mean=(0, 0), std=(1, 1)))
    assert isinstance(critic, ScaledCritic)
    waves = critic.critic.waves
    lengths = 2 * torch.pi / waves.norm(dim=0)
    assert 1 / 16 <= lengths.min() < 1 / 10
    assert 2 < lengths.max() <= 4


def test_labels_are_refused(config: Config) -> None:
    with pytest.raises(ConfigError, match="mixture is for data without labels"):
        build(config, described(labels=3))
