"""A batch that does not fit the memory of a GPU: networks that refuse to take many rows stand in for one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from latentserve.training.data import Dataset, load
from latentserve.training.errors import RunError
from latentserve.training.networks.dense import FAMILY as DENSE
from latentserve.training.networks.family import Family
from latentserve.training.recipe.config import Config
from latentserve.training.run import checkpoint, loop
from latentserve.training.run.loop import train
from tests.training.conftest import stop_after
from tests.training.run.test_loop import assert_equal, folder, weights

FITS = {"critic": 32, "generator": 32, "unseen": 32}  # rows of a player that do; of reals that are only looked at


def limited(player: str, network: type[nn.Module]) -> Any:
    class Limited(network):  # type: ignore[misc, valid-type]
        def forward(self, rows: torch.Tensor, *others: torch.Tensor) -> Any:
            # While it is trained: what is looked at without gradients takes less.
            looking = player == "critic" and self.training and not torch.is_grad_enabled()
            fits = FITS["unseen" if looking else player]
            if (looking or torch.is_grad_enabled()) and len(rows) > fits:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate more than there is")
            return super().forward(rows, *others)

    return Limited


FAMILY = Family(limited("generator", DENSE.generator), limited("critic", DENSE.critic), DENSE.makes)


@pytest.fixture
def config(tiny: Config, monkeypatch: pytest.MonkeyPatch) -> Config:
    for player in FITS:
        monkeypatch.setitem(FITS, player, 32)
    return tiny.model_copy(update={"network": f"{__name__}:FAMILY", "images": 160, "tick": 80, "snapshot": 160})


@pytest.mark.parametrize("lacking", ["critic", "generator"])
def test_the_batch_is_split_and_it_says_so(
    config: Config,
    digits: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    lacking: str,
) -> None:
    wanted, split = folder(tmp_path, "wanted"), folder(tmp_path, "split")
    train(config.model_copy(update={"accumulate": 4}), digits, wanted)
    monkeypatch.setitem(FITS, lacking, 8)
    train(config, digits, split)
    if lacking == "critic":
        assert_equal(wanted, split)
    else:  # its fakes of the first step were made in halves, with which the critic was content
        after = weights(split)
        for name, tensor in weights(wanted).items():
            torch.testing.assert_close(after[name], tensor, rtol=1e-3, atol=1e-4)
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("out of memory")]
    assert [line.split(" in ")[1].partition(" from")[0] for line in told] == ["2 parts", "4 parts"]
    lines = [json.loads(line) for line in (split / "stats.jsonl").read_text().splitlines()]
    assert [line["parts"] for line in lines] == [4, 4]


def test_it_is_split_where_reals_that_are_never_shown_do_not_fit(
    config: Config,
    digits: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = config.model_copy(update={"augment": ("translate",)})
    unseen, told = load("digits", None, "test"), []
    moved = loop.adapt_to_unseen

    def adapt(probability: float, *given: float) -> float:
        told.append(given)
        return moved(probability, *given)

    monkeypatch.setattr(loop, "adapt_to_unseen", adapt)
    wanted, split = folder(tmp_path, "wanted"), folder(tmp_path, "split")
    train(config.model_copy(update={"accumulate": 4}), digits, wanted, held_out=unseen)
    monkeypatch.setitem(FITS, "unseen", 8)
    train(config, digits, split, held_out=unseen)
    assert_equal(wanted, split)
    assert told[: len(told) // 2] == told[len(told) // 2 :]
    assert len(told) == 4  # every fourth step, the first of which was split
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("out of memory")]
    assert [line.split(" in ")[1].partition(" from")[0] for line in lines] == ["2 parts", "4 parts"]


def test_a_critic_that_has_moved_does_not_move_again_where_the_generator_lacks_memory(
    config: Config, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config.model_copy(update={"accumulate": 2})  # fakes are made anew in the generator's turn
    wanted, split = folder(tmp_path, "wanted"), folder(tmp_path, "split")
    train(config, digits, wanted, stop_after(0))
    monkeypatch.setitem(FITS, "generator", 8)
    train(config, digits, split, stop_after(0))
    one, other = weights(wanted), weights(split)
    for name, tensor in one.items():
        if name.startswith(("critic", "rng")):
            assert torch.equal(tensor, other[name]), name
        else:
            torch.testing.assert_close(tensor, other[name], rtol=1e-4, atol=1e-6)
    assert checkpoint.read_header(split / "checkpoint.safetensors")["parts"] == 4
    assert "parts" not in checkpoint.read_header(wanted / "checkpoint.safetensors")


def test_a_run_that_was_split_goes_on_exactly(
    config: Config, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FITS, "critic", 8)
    whole, parts = folder(tmp_path, "whole"), folder(tmp_path, "parts")
    train(config, digits, whole)
    train(config, digits, parts, stop_after(1))
    monkeypatch.setitem(FITS, "critic", 32)  # with more memory, too
    train(config, digits, parts)
    assert_equal(whole, parts)


def test_a_part_that_cannot_be_halved_is_one_line(
    config: Config, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FITS, "critic", 0)
    with pytest.raises(RunError, match="out of memory: 4 of a batch do not fit the GPU, and cannot be halved"):
        train(config.model_copy(update={"packing": 4}), digits, folder(tmp_path, "packed"))
    with pytest.raises(RunError, match="out of memory: 1 of a batch do not fit"):
        train(config, digits, folder(tmp_path, "one"))
