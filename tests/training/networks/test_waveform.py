import pytest
import torch

from latentserve.training.data import Description
from latentserve.training.errors import ConfigError
from latentserve.training.networks import build
from latentserve.training.networks.waveform import Fold, Unfold, folds
from latentserve.training.recipe.config import Config


def described(*shape: int, kind: str = "audio", labels: int = 3, std: float = 0.2) -> Description:
    names = [str(label) for label in range(labels)]
    moments = ([0.0] * shape[0], [std] * shape[0])
    return Description("any", "", list(shape), names, [1] * labels, kind, 8000, *moments)  # type: ignore[arg-type]


@pytest.fixture
def config(tiny: Config) -> Config:
    return tiny.model_copy(update={"network": "waveform", "width": 4})


LABEL = torch.tensor([0, 1, 2, 2, 1])


@pytest.mark.parametrize("shape", [(1, 1024), (2, 256), (1, 4096), (3, 24), (5, 30), (1, 1)])
def test_shapes_and_ranges(config: Config, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    generator, critic = build(config, described(*shape))
    sample = generator(torch.randn(5, config.latent), LABEL)
    assert sample.shape == (5, *shape)
    assert sample.abs().max() < 1
    score, features = critic(sample, LABEL)
    assert score.shape == (5,)
    assert features.shape == (5, 4 * config.width)


def test_series_are_made_in_their_own_unit(config: Config) -> None:
    torch.manual_seed(0)
    generator, critic = build(config, described(2, 96, kind="array", labels=0, std=1000.0))
    sample = generator(torch.randn(50, config.latent))
    assert 100 < sample.std() < 10_000
    assert critic(sample)[0].abs().max() < 100


@pytest.mark.parametrize(
    ("frames", "steps"),
    [(1, [1]), (16, [1]), (30, [1]), (24, [4]), (100, [4]), (256, [16]), (1024, [16, 4]), (16_384, [16, 4, 4, 4])],
)
def test_frames_are_folded_by_sixteen_and_then_by_fours(frames: int, steps: list[int]) -> None:
    assert folds(frames) == steps


@pytest.mark.parametrize("frames", [33, 1000, 1022, 8000])
def test_frames_that_cannot_be_folded_are_refused(config: Config, frames: int) -> None:
    with pytest.raises(ConfigError, match=f"^`network`: .* a power of 4, not {frames}; `size`"):
        build(config, described(1, frames))


def test_what_has_no_two_axes_is_refused(config: Config) -> None:
    with pytest.raises(ConfigError, match=r"`network`: waveform makes samples \[channels, frames\], not \[6\]"):
        build(config, described(6, kind="array"))


def test_folding_puts_neighbours_into_channels_and_is_undone() -> None:
    maps = torch.arange(12.0).reshape(1, 2, 6)
    folded = Fold(3)(maps)
    assert folded[0, :, 0].tolist() == [0, 1, 2, 6, 7, 8]
    assert torch.equal(Unfold(3)(folded), maps)


def test_rows_know_nothing_of_each_other_even_in_training(config: Config) -> None:
    torch.manual_seed(0)
    generator, critic = build(config, described(1, 256))
    z = torch.randn(5, config.latent)
    sample = generator(z, LABEL)
    alone = torch.cat([generator(z[i : i + 1], LABEL[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(sample, alone)
    scores = torch.cat([critic(sample[i : i + 1], LABEL[i : i + 1])[0] for i in range(5)])
    torch.testing.assert_close(critic(sample, LABEL)[0], scores)


def test_the_label_matters_to_both(config: Config) -> None:
    torch.manual_seed(0)
    generator, critic = build(config, described(1, 256))
    z = torch.randn(5, config.latent)
    first, second = (generator(z, torch.full((5,), label)) for label in (0, 1))
    assert (first - second).abs().max() > 1e-3
    assert (critic(first, LABEL)[0] != critic(first, LABEL.flip(0))[0]).any()


def test_a_pack_of_sounds_is_judged_together(config: Config) -> None:
    generator, critic = build(config.model_copy(update={"packing": 2}), described(1, 256, labels=2))
    label = torch.tensor([0, 1, 1, 0])
    assert critic(generator(torch.randn(4, config.latent), label), label)[0].shape == (2,)
