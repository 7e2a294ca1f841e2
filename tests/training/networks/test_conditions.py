"""Conditions in networks of all families: they matter to both, each row by itself, and leave others as they were."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from latentserve.training import networks
from latentserve.training.data import Dataset, Description, load
from latentserve.training.data.conditions import Conditions, ranks
from latentserve.training.errors import ConfigError
from latentserve.training.networks.conditions import ConditionedCritic, Standard
from latentserve.training.recipe.config import Config
from tests.training.people import write_people

CONDITIONS = Conditions(
    np.stack([np.geomspace(1, 1000, 200), np.repeat([0.0, 1, 5, 5], 50)], axis=1).astype(np.float32),
    ["energy", "count"],
    ["GeV", None],
)


def described(*shape: int, labels: int = 0, kind: str = "image") -> Description:
    conditions = [condition.model_dump(mode="json") for condition in CONDITIONS.described()]
    names, entries = [str(at) for at in range(labels)], shape[0]
    moments = {} if kind == "image" else {"mean": [0.5] * entries, "std": [2.0] * entries}
    return Description("any", "", list(shape), names, [1] * labels, kind, conditions=conditions, **moments)  # type: ignore[arg-type]


KINDS = {
    "dense": described(1, 8, 8),
    "convolutional": described(1, 8, 8, labels=3),
    "residual": described(3, 8, 8, labels=2),
    "waveform": described(1, 64, kind="audio"),
    "dense ": described(5, kind="array", labels=2),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[1, 2])
def config(request: pytest.FixtureRequest, kind: str, tiny: Config) -> Config:
    return tiny.model_copy(update={"network": kind.strip(), "packing": request.param})


def asked(rows: int, labels: int) -> list[torch.Tensor]:
    """What both are asked for."""
    condition = torch.from_numpy(CONDITIONS.values[np.linspace(0, 199, rows).astype(int)])
    return [torch.arange(rows) % max(1, labels), condition]


def test_both_see_them_and_each_row_by_itself(kind: str, config: Config) -> None:
    torch.manual_seed(0)
    data = KINDS[kind]
    generator, critic = networks.build(config, data)
    generator.eval()
    z, (label, condition) = torch.randn(6, config.latent), asked(6, len(data.label_names))
    sample = generator(z, label, condition)
    assert list(sample.shape) == [6, *data.shape]
    score, features = critic(sample, label, condition)
    assert score.shape == (6 // config.packing,)
    assert len(features) == len(score)
    others = condition.roll(1, 0)
    assert (generator(z, label, others) - sample).abs().flatten(1).amax(1).min() > 0
    other_score, same_features = critic(sample, label, others)
    assert (other_score != score).all()
    assert torch.equal(same_features, features)
    two = slice(2, 4)
    torch.testing.assert_close(generator(z[two], label[two], condition[two]), sample[two])
    torch.testing.assert_close(
        critic(sample[two], label[two], condition[two])[0], score[2 // config.packing : 4 // config.packing]
    )


def test_without_any_nothing_is_changed(kind: str, config: Config) -> None:
    plain = KINDS[kind].to_json()
    del plain["conditions"]
    for bare, asking in zip(
        *(networks.build(config, data) for data in (Description(**plain), KINDS[kind])), strict=True
    ):
        names = {name.rpartition(".")[2] for name in bare.state_dict()}
        assert not {"below", "step"} & names
        assert {"below", "step"} <= {name.rpartition(".")[2] for name in asking.state_dict()}


class Sum(nn.Module):
    """A critic of packs whose features can be told by hand."""

    def forward(self, sample: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        packed = sample.reshape(-1, 2)
        return packed.sum(1), packed


def test_each_place_of_a_pack_has_its_conditions() -> None:
    critic = ConditionedCritic(Sum(), CONDITIONS.described(), [1], packing=2)
    seen: list[torch.Tensor] = []
    critic.standard.register_forward_hook(lambda module, given, made: seen.append(given[0]))
    critic(torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64), torch.arange(8.0).reshape(4, 2))
    assert seen[0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_numbers_are_standard_and_ranks_are_the_datas() -> None:
    conditions = CONDITIONS.described()
    made = Standard(conditions)(torch.from_numpy(CONDITIONS.values)).double()
    assert made.shape == (200, 4)
    place = (CONDITIONS.values - [1, 0]) / [999, 5]
    np.testing.assert_allclose(made[:, :2], (place - 0.5) * 12**0.5, atol=1e-5)
    # Where values repeat there is no step between quantiles, and the rank is that among the others.
    known = [conditions[0].quantiles or []]
    np.testing.assert_allclose(made[:, 2], (ranks(CONDITIONS.values[:, :1], known)[:, 0] - 0.5) * 12**0.5, atol=1e-4)
    assert made[:, 2].std() == pytest.approx(1, abs=0.02)
    assert (made[:, 3].diff() >= 0).all()
    assert (made[0, 3], made[-1, 3]) == (pytest.approx(-(3**0.5)), pytest.approx(3**0.5))


@pytest.mark.parametrize("kind", ["dense", pytest.param("residual", marks=pytest.mark.full)])
def test_what_is_exported_takes_them_raw_and_last(kind: str, tiny: Config, tmp_path: Path) -> None:
    data = KINDS[kind]
    config = tiny.model_copy(update={"network": kind})
    pair = networks.build(config, data)
    label, condition = asked(5, len(data.label_names))
    given = [torch.randn(5, config.latent), *([label] if data.label_names else []), condition]
    for network in networks.of_samples(*pair, data):
        network.eval()
        expected = network(*given)
        names = ["first", *(["label"] if data.label_names else []), "condition"]
        sizes = tuple({0: "batch"} for _ in given)
        program = torch.onnx.export(network, tuple(given), input_names=names, dynamic_shapes=sizes, dynamo=True)
        assert program is not None
        session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
        feed = {name: each.numpy() for name, each in zip(names, given, strict=True)}
        outputs = expected if isinstance(expected, tuple) else (expected,)
        for made, tensor in zip(session.run(None, feed), outputs, strict=True):
            np.testing.assert_allclose(made, tensor.detach(), atol=1e-5)
        given[0] = outputs[0].detach()


def people(folder: Path, **options: object) -> Dataset:
    write_people(folder / "people.csv", 300)
    year = "\n".join(str(2000 + at % 20) for at in range(300))
    (folder / "conditions.csv").write_text(f"year\n{year}\n")
    return load("files", folder, **options)


@pytest.mark.parametrize("label", [None, "rich"])
def test_tables(label: str | None, tiny: Config, tmp_path: Path) -> None:
    dataset = people(tmp_path, label=label)
    config = tiny.model_copy(update={"data": "files", "network": "tabular", "latent": 64, "label": label, "width": 32})
    networks.require_fit(config, dataset.description)
    generator, critic = networks.of_samples(*networks.build(config, dataset.description), dataset.description)
    generator.eval()
    year = torch.from_numpy(dataset.conditions_of(slice(0, 50)))
    given = [year] if label is None else [torch.arange(50) % 2, year]
    z = torch.randn(50, 64)
    rows = generator(z, *given)
    assert rows.shape == (50, 5)
    assert critic(rows, *given)[0].shape == (50,)
    assert not torch.equal(rows, generator(z, *given[:-1], year.flip(0)))


def test_what_is_joined_to_a_tables_z_does_not_make_it_large_enough(tiny: Config, tmp_path: Path) -> None:
    dataset = people(tmp_path)
    refused = []
    both = (dataset.description, dataset.without_conditions().description)
    for latent in (*range(16, 60, 2), 100):
        config = tiny.model_copy(update={"data": "files", "network": "tabular", "latent": latent})
        needed = []
        for description in both:
            try:
                networks.build(config, description)
            except ConfigError as error:
                needed.append(str(error))
        assert len(needed) in (0, 2)
        assert len(set(needed)) < 2
        refused.append(bool(needed))
    assert set(refused) == {True, False}


def test_a_family_that_has_no_place_for_them_says_so(tiny: Config) -> None:
    config = tiny.model_copy(update={"network": "mixture"})
    with pytest.raises(ConfigError, match="mixture is for data without conditions; conditions=false leaves them out"):
        networks.require_fit(config, described(2, kind="array"))
