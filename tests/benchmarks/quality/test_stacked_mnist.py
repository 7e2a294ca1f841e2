import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs latentserve[training]")

import torch
from torch import nn

from benchmarks.quality import stacked_mnist, stacked_mnist_report
from benchmarks.runner import main
from latentserve.training.recipe import load_config
from tests.digits import write_idx


def test_draws_from_equal_shares_have_the_floor_and_what_is_missed_shows() -> None:
    rng, sure = np.random.default_rng(0), np.ones((26_000, 3))
    found = [stacked_mnist.score(rng.integers(10, size=(26_000, 3)), sure) for _ in range(20)]
    assert {one["modes"] for one in found} == {1000}
    assert np.mean([one["kl"] for one in found]) == pytest.approx(stacked_mnist_report.FLOOR, rel=0.03)
    half = rng.integers(10, size=(26_000, 3)) * [1, 1, 0]
    certainty = np.where(np.arange(3) < 2, 0.95, 0.85) * sure
    score = stacked_mnist.score(half, certainty)
    assert score["modes"] == 100
    assert score["kl"] == pytest.approx(np.log(10), rel=0.01)
    assert score["sure"] == pytest.approx(2 / 3)


def test_each_channel_is_judged_by_itself() -> None:
    class Brightness(nn.Module):
        """Takes an image for the digit that its brightness is, in tenths."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return -100 * (images.mean((1, 2, 3))[:, None] * 10 - torch.arange(10)).abs()

    images = torch.tensor([[0.1, 0.9, 0.3], [0.2, 0.0, 0.25]])[:, :, None, None].expand(2, 3, 28, 28)
    digits, certainty = stacked_mnist.judge_channels(Brightness(), images)
    assert digits[0].tolist() == [1, 9, 3]
    assert digits[1, :2].tolist() == [2, 0]
    assert certainty[0].min() > 0.99
    assert certainty[1, 2] == pytest.approx(0.5, abs=0.01)


def test_runs_are_measured_at_their_marks_and_go_on_where_they_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_idx(tmp_path / "mnist")
    short = ("images=256", "tick=128", "snapshot=256", "width=4", "threads=1")
    monkeypatch.setattr(stacked_mnist, "load_config", lambda name, more=(): load_config(name, (*short, *more)))
    for module in (stacked_mnist, stacked_mnist_report):
        monkeypatch.setattr(module, "MARKS", (128, 256))
    monkeypatch.setattr(stacked_mnist, "DRAWS", 100)
    monkeypatch.setattr(stacked_mnist, "JUDGE_EPOCHS", 1)
    out = tmp_path / "results" / "stacked"
    folders = ["--data", tmp_path / "mnist", "--runs", tmp_path / "runs", "--out", out]
    words = ["stacked-mnist", *map(str, folders)]
    main(words)
    results = json.loads(out.with_suffix(".json").read_text())
    assert [run["images"] for run in results["runs"]] == [128, 256]
    assert results["judge"]["accuracy"] > 0.2
    assert len(results["judge"]["sha256"]) == 64
    text = out.with_suffix(".md").read_text()
    assert text.count("recipe `stacked-mnist`, seed 0") == 2
    assert "after 256 images: missed modes" in text
    results["runs"].pop()
    out.with_suffix(".json").write_text(json.dumps(results))
    main(words)
    assert [run["images"] for run in json.loads(out.with_suffix(".json").read_text())["runs"]] == [128, 256]
