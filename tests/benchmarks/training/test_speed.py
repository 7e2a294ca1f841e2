import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs latentserve[training]")

from benchmarks.training import speed


@pytest.mark.parametrize(
    "recipe", [pytest.param(name, marks=pytest.mark.full if name == "mnist" else []) for name in speed.RECIPES]
)
def test_both_loops_take_turns_over_as_many_images(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "TURN", 0.01)
    monkeypatch.setattr(speed, "WARM", 2)
    record = speed.take_turns(recipe, None, ("batch=16", "width=8", "threads=1", "tick=64"), 160)
    assert record["images"] == 160
    assert record["turns"] == len(record["turn_ratios"]) > 0
    assert 0 < record["watching"] < 1
    assert all(record[clock]["ratio"] > 0 for clock in ("wall", "processor"))


def test_the_bare_loop_moves_the_weights_that_ours_does() -> None:
    config = speed.load_config("digits", ("width=8", "threads=1"))
    bare = speed.Bare(config, speed.load("digits", None))
    networks = (bare.generator, bare.critic, bare.average)
    before = [[weight.clone() for weight in network.parameters()] for network in networks]
    bare.step()
    for network, weights in zip(networks, before, strict=True):
        moved = [not (one == other).all() for one, other in zip(network.parameters(), weights, strict=True)]
        assert all(moved[:-1]) or network is bare.critic


def test_a_report_says_the_ratio_and_its_range(tmp_path: Path) -> None:
    clock = {"ours_images_per_second": 950.0, "bare_images_per_second": 1000.0, "ratio": 0.95}
    record = {"recipe": "digits", "threads": 1, "images": 100, "wall": clock, "processor": clock, "watching": 0.99}
    line = list(speed.report({"records": [record | {"turn_ratios": [0.9, 0.94, 0.97]}]}))[-1]
    assert "| 950 | 1,000 | **0.950** | 0.950 | 0.940 (0.900 to 0.970, 3 turns) | 0.990 |" in line


@pytest.mark.full
def test_another_checkout_takes_turns_with_this_one(tmp_path: Path) -> None:
    """The other one is this one, by another way in."""
    command = tmp_path / ".venv" / "bin" / "latentserve"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m latentserve "$@"\n')
    command.chmod(0o755)
    words = ("batch=16", "width=8", "threads=1", "tick=64")
    found = speed.before_and_after("digits", 256, None, words, tmp_path)
    assert len(found["before"]) == len(found["after"]) == speed.TIMES
    assert min(found["before"] + found["after"]) > 0
    assert "checkout before" in "\n".join(speed.report({"records": [], "before": [found]}))
