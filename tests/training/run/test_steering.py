"""The supervisor in the loop: real faults, in runs of a second."""

import json
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from benchmarks.training.faults import SATURATING, Clock, saturated_critic, zeroed_gradients
from latentserve.training.data import Dataset
from latentserve.training.errors import DivergedError, RunError
from latentserve.training.recipe import load_config
from latentserve.training.recipe.config import Config
from latentserve.training.run import CHECKPOINT, checkpoint, is_over, prepare
from latentserve.training.run.loop import NONFINITE_LIMIT, batch_rows, train
from latentserve.training.supervising import Action, read_journal, replay
from tests.training.conftest import lose, stop_after
from tests.training.run.test_loop import assert_equal, folder, weights


def supervised(config: Config, mode: str, **other: object) -> Config:
    return config.model_copy(update={"supervise": mode, **other})


def lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


def treated(run: Path) -> list[Action]:
    return [action for action in read_journal(run) if action.action not in ("skip", "tell")]


@pytest.fixture
def short(tiny: Config) -> Config:
    return tiny.model_copy(update={"images": 3_200, "tick": 160, "snapshot": 1_600})


@pytest.mark.parametrize("network", ["dense", pytest.param("convolutional", marks=pytest.mark.full)])
def test_a_healthy_run_is_bit_for_bit_what_it_is_without(
    short: Config, digits: Dataset, tmp_path: Path, network: str
) -> None:
    act, off = folder(tmp_path, "act"), folder(tmp_path, "off")
    for run in (act, off):
        images = 960 if network == "dense" else 480
        train(supervised(short, run.name, network=network, images=images), digits, run, held_out=digits)
    assert treated(act) == []
    kept, plain = weights(act), weights(off)
    assert {name for name in kept if not name.startswith("best.")} == plain.keys()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in plain.items())


def test_learning_rates_thirty_times_too_high_are_brought_down(short: Config, digits: Dataset, tmp_path: Path) -> None:
    config = short.model_copy(
        update={"lr": short.lr.model_copy(update={"start": 0.3, "end": 0.3}), "images": 4_800, "tick": 240}
    )
    act, off = folder(tmp_path, "act"), folder(tmp_path, "off")
    for run in (act, off):
        train(supervised(config, run.name), digits, run)
    journal = treated(act)
    assert journal[0].fault in {"divergence", "worse quality", "mode collapse"}
    # What is found first hangs on the processor's rounding, and what is done on what is found.
    done = {action.action for action in journal}
    assert "rollback" in done
    assert done & {"lr", "gamma"}
    assert lines(act)[-1]["frechet"] < lines(off)[-1]["frechet"]
    assert replay(supervised(config, "act"), "image", lines(act)) == read_journal(act)


@pytest.fixture
def bad(short: Config, digits: Dataset) -> Dataset:
    """A stretch of batches that was lost in memory: more than the loop stands."""
    rows = [batch_rows(len(digits), 32, short.seed, seen) for seen in range(640, 640 + 32 * NONFINITE_LIMIT, 32)]
    return lose(digits, torch.cat(rows).numpy())


def test_batches_of_nan_end_a_run_and_a_supervised_one_goes_on(
    short: Config, digits: Dataset, bad: Dataset, tmp_path: Path
) -> None:
    off, observe, act = (folder(tmp_path, name) for name in ("off", "observe", "act"))
    for run in (off, observe):
        with pytest.raises(DivergedError):
            train(supervised(short, run.name, snapshot=160), bad, run)
    assert_equal(off, observe)
    assert not any(action.applied for action in treated(observe))
    seen = train(supervised(short, "act"), bad, act, stop_after(2 + 20 + NONFINITE_LIMIT))
    assert seen > 640 + 32 * NONFINITE_LIMIT
    assert treated(act)[0].fault == "non-finite values"
    assert treated(act)[0].action == "rollback"


def test_gradients_that_are_gone_are_called_that(short: Config, digits: Dataset, tmp_path: Path) -> None:
    with zeroed_gradients(short, digits, Clock()):
        train(supervised(short, "observe"), digits, tmp_path)
    assert read_journal(tmp_path)[0].fault == "vanishing gradients"
    assert 1_066 < read_journal(tmp_path)[0].images < 1_066 + 4 * 160


def test_a_critic_that_is_sure_of_everything_is_begun_anew(tiny_file: Path, digits: Dataset, tmp_path: Path) -> None:
    """And a run that is stopped right after that is what it would have been."""
    config = load_config(str(tiny_file), (*SATURATING, "images=1600", "tick=160", "supervise='act'"))
    whole, parts = folder(tmp_path, "whole"), folder(tmp_path, "parts")
    with saturated_critic(config, digits, Clock()):
        train(config, digits, whole)
        train(config, digits, parts, stop_after(13))
        assert treated(parts)[0].fault == "vanishing gradients"
        train(config, digits, parts)
    assert {"loss", "gamma", "critic"} <= {action.action for action in treated(whole)}
    assert lines(whole)[1]["generator_gradient_norm"] < 1e-3 < lines(whole)[-1]["generator_gradient_norm"]
    assert_equal(whole, parts)


def test_a_run_that_was_changed_resumes_bit_for_bit(short: Config, digits: Dataset, tmp_path: Path) -> None:
    """Whatever the lines say: here a distance that jumps, and the run goes back, slower, and in another stream."""
    from latentserve.training.watching import Watch

    look = Watch.look

    def worse(self: Watch, *given: object) -> dict[str, float]:
        calls = worse.lines = getattr(worse, "lines", 0) + 1
        fine = {"diversity": 0.9, "effective_rank": 0.9}
        return look(self, *given) | fine | {"frechet": 9.0 if calls >= 9 else 1.0 - calls / 20}

    config = supervised(short, "act", images=4_800, snapshot=100_000)
    whole, parts = folder(tmp_path, "whole"), folder(tmp_path, "parts")
    with patch.object(Watch, "look", worse):
        train(config, digits, whole)
        worse.lines = 0
        for steps in (17, 31, 8):  # in the middle of a tick, in the cool-down, and soon after it
            train(config, digits, parts, stop_after(steps))
            torch.rand(7)
        train(config, digits, parts)
    assert {action.action for action in treated(whole)} >= {"rollback", "lr", "critic_lr", "stop"}
    assert treated(whole) == treated(parts)  # whether a stall was told is the machine's business
    assert_equal(whole, parts)
    same = ("images", "critic_loss", "generator_loss", "real_accuracy", "lr", "actions", "nonfinite_steps")
    assert [[line[name] for name in same] for line in lines(whole)] == [
        [line[name] for name in same] for line in lines(parts)
    ]
    assert is_over(whole, config)
    assert lines(whole)[-1]["images"] < config.images


def test_what_the_supervisor_changed_is_in_the_checkpoint(short: Config, digits: Dataset, tmp_path: Path) -> None:
    train(supervised(short, "act", images=320), digits, tmp_path)
    header = checkpoint.read_header(tmp_path / CHECKPOINT)
    assert header["changes"]["lr"] == 1.0
    assert any(name.startswith("best.average.") for name in weights(tmp_path))


def test_a_journal_of_another_version_stops_a_resume_in_one_line(
    short: Config, digits: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "journal.jsonl").write_text('{"format": 7}\n')
    with pytest.raises(RunError, match="a journal of version 7"):
        train(short, digits, tmp_path)


def test_the_mode_is_a_word_in_yaml_and_may_change(tiny_file: Path, tmp_path: Path) -> None:
    assert load_config(str(tiny_file)).supervise == "observe"
    off = load_config(str(tiny_file), ("supervise=off",))
    assert off.supervise == "off"
    prepare(tmp_path / "run", off)
    prepare(tmp_path / "run", load_config(str(tiny_file), ("supervise=act",)))
