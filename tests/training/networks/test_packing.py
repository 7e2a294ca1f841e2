from pathlib import Path

import pytest
import torch
from torch import nn

from latentserve.service.bundle import read_bundle
from latentserve.training import networks
from latentserve.training.data import Dataset
from latentserve.training.export import export_run
from latentserve.training.networks.family import PackedCritic
from latentserve.training.recipe import load_config
from latentserve.training.run import loop, prepare


class Sum(nn.Module):
    """A critic whose score and features can be told by hand."""

    def forward(self, sample: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        flat = sample.flatten(1)
        return flat.sum(1), flat


def test_rows_on_end_are_judged_together() -> None:
    critic = PackedCritic(Sum(), [2], labels=0, packing=3)
    score, features = critic(torch.arange(12.0).reshape(6, 2))
    assert score.tolist() == [15, 51]
    assert features.tolist() == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]


def test_each_place_of_a_pack_has_its_labels() -> None:
    critic = PackedCritic(Sum(), [1], labels=2, packing=2)
    nn.init.zeros_(critic.embedding.weight)
    with torch.no_grad():
        critic.embedding.weight[1] = torch.tensor([10.0, 0.0])  # label 1 in the first place
        critic.embedding.weight[2] = torch.tensor([0.0, 100.0])  # label 0 in the second
    samples = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    assert critic(samples, torch.tensor([1, 0, 0, 1]))[0].tolist() == [3 + 10 + 200, 7]
    assert critic(samples, torch.tensor([0, 1, 1, 0]))[0].tolist() == [3, 7 + 30 + 400]


@pytest.mark.parametrize("network", ["dense", "convolutional"])
def test_a_packed_critic_sees_what_one_of_more_channels_would(network: str, tiny_file: Path, digits: Dataset) -> None:
    config = load_config(str(tiny_file), ("packing=2", f"network={network}"))
    _, critic = networks.build(config, digits.description)
    samples, label = torch.randn(8, 1, 8, 8), torch.arange(8)
    score, features = critic(samples, label)
    assert score.shape == (4,)
    assert torch.equal(features, critic.critic(torch.cat([samples[::2], samples[1::2]], dim=1))[1])


def test_a_packed_run_is_exported_without_its_critic(
    tiny_file: Path, digits: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It cannot score a row by itself."""
    config = load_config(str(tiny_file), ("packing=2", "images=64"))
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    prepare(run, config)
    loop.train(config, digits, run)
    export_run(run, bundle, reference_samples=200)
    assert not (bundle / "critic.onnx").exists()
    assert read_bundle(bundle).manifest.sample.shape == [1, 8, 8]
    assert [record.getMessage() for record in caplog.records if "without its critic" in record.getMessage()] == [
        f"{run}: exported without its critic, which judges 2 samples together"
    ]
