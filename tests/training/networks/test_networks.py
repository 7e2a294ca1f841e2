import pytest
import torch

from latentserve.training.data import Description
from latentserve.training.errors import ConfigError
from latentserve.training.networks import build
from latentserve.training.recipe.config import Config


def described(*shape: int) -> Description:
    return Description("any", "", list(shape), ["a", "b", "c"], [1, 1, 1])


@pytest.fixture(params=["dense", "convolutional", "residual"])
def config(request: pytest.FixtureRequest, tiny: Config) -> Config:
    return tiny.model_copy(update={"network": request.param})


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 20)])
def test_shapes_and_ranges(config: Config, shape: tuple[int, ...]) -> None:
    generator, critic = build(config, described(*shape))
    label = torch.tensor([0, 1, 2, 2, 1])
    sample = generator(torch.randn(5, config.latent), label)
    assert sample.shape == (5, *shape)
    assert sample.abs().max() <= 1
    score, features = critic(sample, label)
    assert score.shape == (5,)
    assert features.ndim == 2
    assert len(features) == 5


def test_the_critic_scores_a_row_by_itself_even_in_training(config: Config) -> None:
    _, critic = build(config, described(1, 8, 8))
    sample, label = torch.rand(6, 1, 8, 8) * 2 - 1, torch.tensor([0, 1, 2, 0, 1, 2])
    together, _ = critic(sample, label)
    alone = torch.cat([critic(sample[i : i + 1], label[i : i + 1])[0] for i in range(6)])
    torch.testing.assert_close(together, alone)


def test_the_label_matters_to_both(config: Config) -> None:
    generator, critic = build(config, described(1, 8, 8))
    generator.eval()
    z, zero, one = torch.randn(4, config.latent), torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.int64)
    assert not torch.equal(generator(z, zero), generator(z, one))
    sample = generator(z, zero)
    assert not torch.equal(critic(sample, zero)[0], critic(sample, one)[0])


def test_a_side_that_cannot_be_halved_twice_is_named(tiny: Config) -> None:
    with pytest.raises(ConfigError, match="sides divisible by 4, not 10x8"):
        build(tiny.model_copy(update={"network": "convolutional"}), described(1, 10, 8))
