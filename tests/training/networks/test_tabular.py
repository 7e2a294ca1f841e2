import numpy as np
import pytest
import torch

from latentserve.service.bundle import Column
from latentserve.training import networks
from latentserve.training.data import Dataset
from latentserve.training.errors import ConfigError
from latentserve.training.recipe.config import Config

COLUMNS = [
    Column(name="income", type="float64", decimals=2),
    Column(name="work", type="string", categories=["a", "b", None]),
    Column(name="age", type="int64", decimals=0, missing=-3),
    Column(name="always", type="int64", categories=[7]),
    Column(name="class", type="string", categories=["low", "high"]),
]


def people(count: int = 600) -> Dataset:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, count)
    income = np.where(rng.random(count) < 0.8, 0, rng.normal(50_000, 10_000, count).round(2))
    work = np.where(rng.random(count) < 0.9, label, 2)  # of the label, or missing
    age = np.where(rng.random(count) < 0.1, -3, rng.integers(17, 90, count))
    rows = np.stack([income, work, age, np.zeros(count), label], axis=1).astype(np.float32)
    return Dataset("people", rows, label, ["low", "high"], kind="table", columns=COLUMNS)


@pytest.fixture
def config(tiny: Config) -> Config:
    return tiny.model_copy(update={"network": "tabular", "label": "class", "latent": 64})


@pytest.fixture
def generator(config: Config) -> torch.nn.Module:
    torch.manual_seed(0)
    return networks.build(config, people().description)[0]


def drawn(count: int, config: Config) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(count, config.latent), torch.arange(count) % 2


@pytest.mark.parametrize("training", [True, False])
def test_whatever_the_layers_say_it_is_a_code_of_the_label(
    generator: torch.nn.Module, config: Config, training: bool
) -> None:
    dataset = people()
    assert dataset.transform is not None
    z, label = drawn(200, config)
    codes = generator.train(training)(z, label)
    assert codes.shape == (200, dataset.transform.width)
    for start, stop in dataset.transform.spans:
        assert ((codes[:, start:stop] == 1).sum(dim=1) == 1).all()
        assert codes[:, start:stop].detach().abs().sum(dim=1).sub(1).abs().max() < 1e-6
    encode, decode = networks.coding(dataset.description)
    rows = decode(codes.detach())
    assert torch.equal(rows[:, 4].long(), label)
    assert (rows[:, 3] == 0).all()
    again = encode(rows)
    work, income = dataset.transform.spans[1], 1  # the first mode of income is 0, which most rows have
    assert torch.equal(again[:, slice(*work)], codes[:, slice(*work)].round())
    assert torch.equal(again[:, income] > 0.5, rows[:, 0] == 0)
    assert (rows[:, 0] == 0).float().mean() > 0.5
    assert (rows[:, 2] == -3).any()


def test_a_row_is_a_function_of_its_latent_and_label(generator: torch.nn.Module, config: Config) -> None:
    z, label = drawn(7, config)
    generator.eval()
    torch.testing.assert_close(generator(z, label)[2:3], generator(z[2:3], label[2:3]))
    assert torch.equal(generator(z, label), generator(z, label))


def test_the_condition_is_drawn_by_the_shares_of_the_label(generator: torch.nn.Module) -> None:
    """Of the two columns with a choice, `work` can be asked for, and the label has its own place."""
    count = 20_000
    z = torch.randn(count, 2, generator=torch.Generator().manual_seed(0))
    dataset = people()
    for label in (0, 1):
        asked = generator.asked(z, torch.full((count,), label))
        assert (asked.sum(dim=1) == 2).all()
        found = asked.mean(dim=0)
        assert found[-2:].tolist() == [1 - label, label]
        work = dataset.samples[dataset.labels == label, 1].astype(int)
        first = generator.first[0]
        shares = np.bincount(work, minlength=3) / len(work)
        np.testing.assert_allclose(found[first : first + 3], shares, atol=0.01)
        assert found[first + 1 - label] == 0  # none of the label has it


def test_the_condition_is_obeyed(generator: torch.nn.Module, config: Config) -> None:
    z, label = drawn(500, config)
    first = int(generator.first[0])
    asked = generator.asked(z[:, -2:], label)[:, first : first + 3].argmax(dim=1)
    rows = networks.coding(people().description)[1](generator(z, label).detach())
    assert torch.equal(rows[:, 1].long(), asked)


def test_before_training_rows_have_the_shares_of_the_data(generator: torch.nn.Module, config: Config) -> None:
    dataset = people()
    z, _ = drawn(4000, config)
    torch.nn.init.zeros_(generator.layers[-1].weight)
    torch.nn.init.zeros_(generator.layers[-1].bias)
    for label in (0, 1):
        codes = generator(z, torch.full((4000,), label)).detach()
        of_label = torch.from_numpy(dataset.samples[dataset.labels == label])
        real = networks.coding(dataset.description)[0](of_label)
        for start, stop in dataset.transform.spans if dataset.transform else []:
            torch.testing.assert_close(
                codes[:, start:stop].mean(dim=0), real[:, start:stop].mean(dim=0), atol=0.03, rtol=0
            )


def test_chance_is_in_the_latent_and_the_gradient_reaches_the_layers(
    generator: torch.nn.Module, config: Config
) -> None:
    z, label = drawn(64, config)
    same = z.clone()
    same[:, generator.core : -2] = torch.randn(64, generator.entries + generator.numbers)
    assert not torch.equal(generator(z, label), generator(same, label))
    (generator(z, label) * torch.randn(1, generator(z, label).shape[1])).sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in generator.parameters())


def test_a_label_without_rows_and_one_alone(config: Config) -> None:
    dataset = people()
    lonely = dataset.subset(np.flatnonzero(dataset.labels == 0))
    assert lonely.description.shares is not None
    assert lonely.description.shares[0] == lonely.description.shares[1]  # of `high` nothing else is known
    generator, critic = networks.build(config, lonely.description)
    z, label = drawn(10, config)
    codes = generator(z, label)
    assert critic(codes, label)[0].shape == (10,)

    one = [Column(name="class", type="string", categories=["low"]), COLUMNS[0]]
    rows = np.stack([np.zeros(50), np.arange(50)], axis=1).astype(np.float32)
    single = Dataset("one", rows, np.zeros(50, np.int64), ["low"], kind="table", columns=one)
    generator, _ = networks.build(config, single.description)
    assert torch.isfinite(generator(z, torch.zeros(10, dtype=torch.int64))).all()


def test_a_table_without_labels_and_one_of_numbers_or_of_categories_alone(config: Config) -> None:
    config = config.model_copy(update={"label": None})
    rows = people().samples
    for chosen in ([0, 2], [1], [3], [0, 1, 2, 3]):
        columns = [COLUMNS[at] for at in chosen]
        labels = np.zeros(len(rows), np.int64)
        dataset = Dataset("any", rows[:, chosen], labels, [], kind="table", columns=columns)
        generator, critic = networks.build(config, dataset.description)
        codes = generator(torch.randn(5, config.latent))
        encode, decode = networks.coding(dataset.description)
        made = decode(codes.detach())
        assert made.shape == (5, len(chosen))
        assert torch.isfinite(made).all()
        assert critic(encode(made))[0].shape == (5,)


def test_a_latent_too_small_for_the_table_is_named(config: Config) -> None:
    with pytest.raises(
        ConfigError, match=r"`latent`: this table has \d+ categories and modes and 2 columns.* 20 are too few"
    ):
        networks.build(config.model_copy(update={"latent": 20}), people().description)


def test_a_latent_is_made_large_enough_unless_it_is_stated(config: Config) -> None:
    small, data = config.model_copy(update={"latent": 10}), people().description
    larger, said = networks.with_room(small, data)
    assert larger.latent == 64
    assert (said or "").startswith("64 instead of 10: this table has ")
    networks.require_fit(larger, data)
    assert networks.with_room(small, data, ["latent=10"]) == (small, None)
    assert networks.with_room(config, data) == (config, None)


def test_packs_of_rows_are_judged(config: Config) -> None:
    config = config.model_copy(update={"packing": 2})
    generator, critic = networks.build(config, people().description)
    z, label = drawn(6, config)
    assert critic(generator(z, label), label)[0].shape == (3,)
