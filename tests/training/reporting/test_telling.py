import json
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import nn

from latentserve.training import networks
from latentserve.training.data import Dataset
from latentserve.training.recipe.config import Config
from latentserve.training.reporting.telling import listening, report
from latentserve.training.run import loop


def test_what_is_said_outside_is_heard_by_nobody_and_within_as_a_mean() -> None:
    report("depth", torch.ones(3))
    with listening() as heard:
        report("depth", torch.tensor([1.0, 3.0], requires_grad=True))
        report("depth", torch.tensor(True))
        assert heard == {}
    assert {name: value.item() for name, value in heard.items()} == {"depth": 1.5}
    assert not heard["depth"].requires_grad


class Telling(nn.Module):
    def __init__(self, critic: nn.Module) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, sample: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        score, features = self.critic(sample, label)
        report("width", features.shape[1] * torch.ones(5))
        return score, features


def test_a_layer_tells_a_line_of_stats(tiny: Config, digits: Dataset, tmp_path: Path) -> None:
    build = networks.build

    def telling(*given: object) -> tuple[nn.Module, nn.Module]:
        generator, critic = build(*given)
        return generator, Telling(critic)

    with patch.object(networks, "build", telling):
        loop.train(tiny.model_copy(update={"images": 200}), digits, tmp_path)
    assert json.loads((tmp_path / "stats.jsonl").read_text().splitlines()[-1])["width"] == pytest.approx(16)
