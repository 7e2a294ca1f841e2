"""R3GAN's networks against what its authors published: their reference code's presets, counted layer by layer."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from latentserve.service.packing.storing import mapped
from latentserve.training.data import Description
from latentserve.training.errors import ConfigError
from latentserve.training.export.graph import PARITY, parity, to_onnx
from latentserve.training.networks import build, r3gan, require_fit
from latentserve.training.recipe import load_config
from latentserve.training.recipe.config import Config
from tests.training.networks.test_residual import described, woken

# WidthPerStage, CardinalityPerStage and gamma at the start of the presets CIFAR10, FFHQ-64 and FFHQ-256, smallest map
# first; BlocksPerStage is 2 and ExpansionFactor 2 in all of them, NoiseDimension 64.
PUBLISHED = {
    32: ([768] * 4, [96] * 4, 0.05, 512),
    64: ([768] * 4 + [384], [96] * 4 + [48], 2.0, 256),
    256: ([768] * 4 + [384, 192, 96], [96] * 4 + [48, 24, 12], 150.0, 256),
}
OURS = {128: ([768] * 4 + [384, 192], [96] * 4 + [48, 24], 17.3, 256)}
CHOSEN = PUBLISHED | OURS


def of_recipe(size: int, labels: int = 0) -> tuple[nn.Module, nn.Module]:
    """Without memory."""
    with torch.device("meta"):
        return build(load_config(f"r3gan-{size}"), described(3, size, labels))


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def expected(widths: list[int], cardinality: list[int], labels: int = 0) -> tuple[int, int]:
    """Parameters of generator and critic. A block has 1x1 to twice the channels, 3x3 in groups, 1x1 back, and the
    biases of its two activations."""
    both = 0
    for width, groups in zip(widths, cardinality, strict=True):
        inner = 2 * width
        both += 2 * (width * inner + inner * (inner // groups) * 9 + inner * width + 2 * inner)
    both += sum(before * after for before, after in pairwise(widths) if before != after)
    both += widths[0] * 4 * 4 + 3 * widths[-1]  # the basis of either, and 1x1 to or from colours
    if not labels:
        return both + 64 * widths[0], both + widths[0]
    embedded = 64 * labels + (64 + 64) * widths[0]
    return both + embedded, both + widths[0] * widths[0] + labels * widths[0]


@pytest.mark.parametrize("labels", [0, 10])
@pytest.mark.parametrize("size", CHOSEN)
def test_recipes_have_the_published_parameters_and_maps(size: int, labels: int) -> None:
    widths, cardinality, *_ = CHOSEN[size]
    generator, critic = of_recipe(size, labels)
    assert (count(generator), count(critic)) == expected(widths, cardinality, labels)
    maps = [4 * 2**at for at in range(len(widths))]
    assert r3gan.stages(widths[-1], size, size, 768) == [(*each, each[1]) for each in zip(widths, maps, strict=True)]
    middle = [part for part in generator.modules() if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3)]
    assert [part.groups for part in middle] == [groups for groups in cardinality for _ in range(2)]
    asked = (torch.zeros(2, dtype=torch.int64, device="meta"),) if labels else ()
    sample = generator(torch.zeros(2, 64, device="meta"), *asked)
    assert sample.shape == (2, 3, size, size)
    score, features = critic(sample, *asked)
    assert (score.shape, features.shape) == ((2,), (2, 768))


def test_the_counts_of_ffhq() -> None:
    """As they come out, so that nobody changes both sides."""
    assert [count(network) for network in of_recipe(256)] == [23_057_952, 23_009_568]


@pytest.mark.parametrize("size", CHOSEN)
def test_recipes_have_the_published_schedules(size: int) -> None:
    config, (*_, gamma, batch) = load_config(f"r3gan-{size}"), CHOSEN[size]
    assert (config.gamma.start, config.gamma.end, config.batch) == (gamma, pytest.approx(gamma / 10), batch)
    assert (config.lr.start, config.lr.end, config.beta1, config.images) == (2e-4, 5e-5, 0, 20_000_000)
    assert config.beta2 is not None
    assert (config.beta2.start, config.beta2.end) == (0.9, 0.99)
    assert config.ema_half_life.end == (5_000_000 if size == 32 else 500_000)
    require_fit(config, described(3, size))


@pytest.fixture
def config(tiny: Config) -> Config:
    return tiny.model_copy(update={"network": "r3gan", "width": 8, "widest": 16, "blocks": 1, "batch": 4})


def test_each_row_is_made_and_judged_by_itself_of_labels_and_conditions(config: Config) -> None:
    torch.manual_seed(0)
    known = {"name": "age", "unit": None, "range": (0, 9), "prior": "quantiles", "quantiles": [0.0, 4.0, 9.0]}
    both = Description(**(described(3, 16, labels=3).to_json() | {"conditions": [known]}))
    generator, critic = map(woken, build(config, both))
    z, label, age = torch.randn(3, config.latent), torch.tensor([2, 0, 1]), torch.tensor([[1.0], [8.0], [3.0]])
    sample = generator(z, label, age)
    alone = [generator(z[row : row + 1], label[row : row + 1], age[row : row + 1]) for row in range(3)]
    torch.testing.assert_close(torch.cat(alone), sample, atol=1e-5, rtol=0)
    score, features = critic(sample, label, age)
    assert (score.shape, features.shape) == ((3,), (3, 16))
    judged = [critic(sample[row : row + 1], label[row : row + 1], age[row : row + 1])[0] for row in range(3)]
    torch.testing.assert_close(torch.cat(judged), score, atol=1e-4, rtol=1e-4)
    for changed in ((z, label, age + 1), (z, label.flip(0), age)):
        assert (generator(*changed) - sample).abs().max() > 0
        assert (critic(sample, *changed[1:])[0] - score).abs().max() > 0


def test_samples_are_cut_to_their_range_but_where_they_are_learnt(config: Config) -> None:
    torch.manual_seed(0)
    generator, _ = map(woken, build(config, described(1, 16)))
    z = 30 * torch.randn(4, config.latent)
    learnt = generator(z)
    assert learnt.abs().max() > 1
    assert torch.equal(generator.eval()(z), learnt.clamp(-1, 1))


def test_halving_is_the_means_of_what_lies_around() -> None:
    x = torch.arange(8.0).expand(1, 2, 8, 8)
    inner = r3gan.Halve(2)(x)[:, :, 1:-1, 1:-1]
    torch.testing.assert_close(inner, torch.tensor([2.5, 4.5]).expand(1, 2, 2, 2))


def test_blocks_begin_as_nothing_and_the_signal_neither_grows_nor_dies(config: Config) -> None:
    torch.manual_seed(0)
    wide = config.model_copy(update={"width": 32, "widest": 64, "blocks": 2, "latent": 64})
    generator, critic = build(wide, described(3, 32))
    made = generator(torch.randn(64, 64))
    assert 0.1 < made.std() < 2
    assert 0.01 < critic(torch.randn(64, 3, 32, 32))[0].std() < 2


@pytest.mark.parametrize("labels", [0, pytest.param(3, marks=pytest.mark.full)])
def test_the_graphs_compute_what_the_modules_do(config: Config, labels: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator, critic = (woken(network).eval() for network in build(config, described(3, 16, labels)))
    rng = np.random.default_rng(0)
    z = rng.standard_normal((64, config.latent), np.float32)
    asked = {"label": rng.integers(3, size=64)} if labels else {}
    with torch.no_grad():
        given = [torch.from_numpy(each) for each in asked.values()]
        sample = generator(torch.from_numpy(z), *given)
        score, features = critic(sample, *given)
    cases = (
        (generator, {"z": z} | asked, {"sample": sample.numpy()}),
        (critic, {"sample": sample.numpy()} | asked, {"score": score.numpy(), "features": features.numpy()}),
    )
    for network, inputs, outputs in cases:
        model = to_onnx(network, "any", inputs, outputs, tmp_path)
        assert parity(model.SerializeToString(), inputs, outputs, mapped(model))[0] <= PARITY


def test_what_another_network_does_not_know_is_refused(tiny: Config) -> None:
    with pytest.raises(ConfigError, match="`blocks`: means nothing to the network dense"):
        require_fit(tiny.model_copy(update={"blocks": 2}), described(1, 8))
    with pytest.raises(ConfigError, match="r3gan halves images down to 4 to 15 pixels a side, which 50x50"):
        require_fit(tiny.model_copy(update={"network": "r3gan"}), described(1, 50))
