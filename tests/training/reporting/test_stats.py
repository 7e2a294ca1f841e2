import json
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import nn

from latentserve.training import networks
from latentserve.training.data import Dataset
from latentserve.training.recipe.config import Config
from latentserve.training.reporting.pictures import save_losses
from latentserve.training.reporting.progress import note
from latentserve.training.reporting.stats import FOLD, Means, Stats, as_line, collecting, report
from latentserve.training.run import loop


def test_means_are_of_what_came_since_they_were_collected() -> None:
    means = Means()
    weight = torch.ones((), requires_grad=True)
    means.add(loss=weight * 1, right=torch.tensor([True, False, True, True]))
    means.add(loss=weight * 2)
    assert means.collect() == {"loss": 1.5, "right": 0.75}
    means.add(score=torch.tensor(7.0))
    assert means.collect() == {"score": 7.0}


@pytest.mark.parametrize("steps", [FOLD - 1, FOLD, 2 * FOLD, 2 * FOLD + 3])
def test_means_of_many_steps(steps: int) -> None:
    means = Means()
    scores = torch.randn(steps, 5)
    for row in scores:
        means.add(score=row)
    assert means.collect()["score"] == pytest.approx(scores.double().mean().item(), rel=1e-6, abs=1e-9)


def test_a_line_keeps_whole_numbers_and_leaves_out_what_is_not_finite(tmp_path: Path) -> None:
    shown: list[dict[str, float]] = []
    stats = Stats(tmp_path / "stats.jsonl", 0, [shown.append])
    stats.append(as_line(200, timestamp=1_700_000_001, loss=0.123456789, diversity=float("nan"), score=float("inf")))
    assert shown == [{"images": 200, "timestamp": 1_700_000_001, "loss": 0.123457}]
    assert stats.read() == shown


def test_a_line_cut_in_the_middle_is_dropped_and_sinks_are_shown_the_others(tmp_path: Path) -> None:
    path = tmp_path / "stats.jsonl"
    path.write_text('{"images": 200, "loss": 1.0}\n{"images": 400, "lo')
    shown: list[dict[str, float]] = []
    Stats(path, 1000, [shown.append]).append({"images": 600, "loss": 2.0})
    assert [line["images"] for line in shown] == [200, 600]
    assert [json.loads(line) for line in path.read_text().splitlines()] == shown


def test_a_tick_without_a_finite_step_can_still_be_noted_and_drawn(tmp_path: Path) -> None:
    assert note({"critic_loss": 0.5, "generator_loss": 0.25}, 0) == "critic 0.500 generator 0.250"
    good = {"critic_loss": 0.5, "generator_loss": 0.25, "frechet": 0.3134, "frechet_floor": 0.05, "actions": 2}
    said = "frechet 0.313 (floor 0.05), critic 0.500 generator 0.250, 2 changes by the supervisor"
    assert note(good, 0) == said
    assert note({}, 7) == "critic nan generator nan, 7 steps not finite"
    whole = {"images": 200, "critic_loss": 1.0, "generator_loss": 1.0, "real_score": 0.1, "fake_score": 0.1}
    save_losses([whole, {"images": 400}], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


@pytest.mark.parametrize("images_seen", [0, 300])
def test_lines_after_what_was_saved_are_shown_to_nobody(tmp_path: Path, images_seen: int) -> None:
    path = tmp_path / "stats.jsonl"
    path.write_text('{"images": 200}\n{"images": 400}\n')
    shown: list[dict[str, float]] = []
    Stats(path, images_seen, [shown.append])
    assert shown == ([{"images": 200}] if images_seen else [])


def test_what_is_reported_outside_a_step_is_lost_and_within_becomes_a_mean() -> None:
    report("depth", torch.ones(3))
    with collecting() as reported:
        report("depth", torch.tensor([1.0, 3.0], requires_grad=True))
        report("depth", torch.tensor(True))
        assert reported == {}
    assert {name: value.item() for name, value in reported.items()} == {"depth": 1.5}
    assert not reported["depth"].requires_grad


class Reporting(nn.Module):
    def __init__(self, critic: nn.Module) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, sample: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        score, features = self.critic(sample, label)
        report("width", features.shape[1] * torch.ones(5))
        return score, features


def test_a_layer_reports_into_a_line_of_stats(tiny: Config, digits: Dataset, tmp_path: Path) -> None:
    build = networks.build

    def reporting(*given: object) -> tuple[nn.Module, nn.Module]:
        generator, critic = build(*given)
        return generator, Reporting(critic)

    with patch.object(networks, "build", reporting):
        loop.train(tiny.model_copy(update={"images": 200}), digits, tmp_path)
    assert json.loads((tmp_path / "stats.jsonl").read_text().splitlines()[-1])["width"] == pytest.approx(16)
