import json
from pathlib import Path

import pytest
import torch

from latentserve.training.reporting.report import FOLD, Means, Stats, note, save_curves


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
    told: list[dict[str, float]] = []
    stats = Stats(tmp_path / "stats.jsonl", 0, [told.append])
    stats.append(200, timestamp=1_700_000_001, loss=0.123456789, diversity=float("nan"), score=float("inf"))
    assert told == [{"images": 200, "timestamp": 1_700_000_001, "loss": 0.123457}]
    assert stats.read() == told


def test_a_line_cut_in_the_middle_is_dropped_and_sinks_are_told_the_others(tmp_path: Path) -> None:
    path = tmp_path / "stats.jsonl"
    path.write_text('{"images": 200, "loss": 1.0}\n{"images": 400, "lo')
    told: list[dict[str, float]] = []
    Stats(path, 1000, [told.append]).append(600, loss=2.0)
    assert [line["images"] for line in told] == [200, 600]
    assert [json.loads(line) for line in path.read_text().splitlines()] == told


def test_a_tick_without_a_finite_step_can_still_be_noted_and_drawn(tmp_path: Path) -> None:
    assert note({"critic_loss": 0.5, "generator_loss": 0.25}, 0) == "critic 0.500 generator 0.250"
    assert note({}, 7) == "critic nan generator nan · 7 steps not finite"
    whole = {"images": 200, "critic_loss": 1.0, "generator_loss": 1.0, "real_score": 0.1, "fake_score": 0.1}
    save_curves([whole, {"images": 400}], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


@pytest.mark.parametrize("images_seen", [0, 300])
def test_lines_after_what_was_saved_are_told_to_nobody(tmp_path: Path, images_seen: int) -> None:
    path = tmp_path / "stats.jsonl"
    path.write_text('{"images": 200}\n{"images": 400}\n')
    told: list[dict[str, float]] = []
    Stats(path, images_seen, [told.append])
    assert told == ([{"images": 200}] if images_seen else [])
