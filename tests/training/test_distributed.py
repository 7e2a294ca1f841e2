"""Real processes that train together, on the CPU with gloo."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from latentserve.service.cli import main
from latentserve.training.data import Dataset
from latentserve.training.distributed import Ranks
from latentserve.training.recipe import load_config
from latentserve.training.recipe.config import Config
from latentserve.training.run import loop
from latentserve.training.run.loop import batch_rows
from tests.server import free_port
from tests.training.conftest import TINY, lose
from tests.training.one_rank import DONE

TOP = Path(__file__).parents[2]
SCRIPTS = Path(sys.executable).parent
ALTERED = ("augment=[flip, translate, brightness, contrast]", "noise={start: 0.3, end: 0}")
PARTS = ("n_critic=2", "packing=2", "clip=1.0")
PENALTY = ("loss=wasserstein-gp", "gradient_penalty=10", "gamma.start=0", "gamma.end=0")
CASES = {
    "plain": (),
    "normalised": ("network=convolutional", "loss=non-saturating", "gamma.start=0", "gamma.end=0"),
    "options": (*ALTERED, *PARTS, *PENALTY),
}
TORCHRUN = [SCRIPTS / "torchrun", "--standalone", "--nproc-per-node", "2", "--no-python", SCRIPTS / "latentserve"]
STEPS = 10
BUDGET = f"images={32 * STEPS}"
LOST = batch_rows(898, 32, 0, 96)[20:22].tolist()  # of the fourth step, in the second rank's share


@contextmanager
def started(*commands: list[object], **places: list[object]) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are killed at the end, if they are still there; `places` is more of each one's environment."""
    processes = []
    for at, command in enumerate(commands):
        environment = os.environ | {name: str(of[at]) for name, of in places.items()}
        words, pipe = list(map(str, command)), subprocess.PIPE
        processes.append(
            subprocess.Popen(words, env=environment, cwd=TOP, text=True, stdin=pipe, stdout=pipe, stderr=pipe)
        )
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def two_ranks(*words: object) -> AbstractContextManager[list[subprocess.Popen[str]]]:
    """As `torchrun` does it, without the seconds that it takes."""
    port = free_port()
    command = [sys.executable, *words]
    places = {"RANK": [0, 1], "LOCAL_RANK": [0, 1], "WORLD_SIZE": [2, 2]}
    return started(command, command, **places, MASTER_ADDR=["127.0.0.1"] * 2, MASTER_PORT=[port] * 2)


def run(out: str, *overrides: str, steps: int | None = None, asked: int = 0, lost: list[int] = []) -> dict[str, Any]:  # noqa: B006
    return {"out": out, "overrides": [BUDGET, *overrides], "steps": steps, "asked": asked, "lost": lost}


@dataclass(frozen=True)
class Together:
    """Two ranks: `folder` holds what they made, one run after the other. They wait for a line, to train on in `on`
    until they are ended."""

    folder: Path
    ranks: list[subprocess.Popen[str]]

    @property
    def on(self) -> Path:
        return self.folder / "on"


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Together]:
    folder = tmp_path_factory.mktemp("ranks")
    runs = [
        *[run(name, *overrides) for name, overrides in CASES.items()],
        run("whole", "optimizer=sgd", "beta2=null"),
        run("resumed", *CASES["options"], steps=3, asked=1),
        run("resumed", *CASES["options"]),
        run("lost", lost=LOST),
    ]
    for out in {one["out"] for one in runs}:
        (folder / out).mkdir()
    tiny = folder / "tiny.yaml"
    tiny.write_text(TINY)
    (folder / "runs.json").write_text(json.dumps(runs))
    on = ("train", tiny, "--set", "images=50000000", "--out", folder / "on")
    # One start for all: what they import takes longer than what they train.
    with two_ranks("-m", "tests.training.one_rank", folder, free_port(), *on) as ranks:
        for rank in ranks:
            out = list(takewhile(lambda line: line != f"{DONE}\n", rank.stdout))
            ended = [f"resumed: {4 * 32}\n", f"resumed: {STEPS * 32}\n", f"lost: {STEPS * 32}\n"]
            assert out[-3:] == ended, rank.communicate()[1]
        yield Together(folder, ranks)


@pytest.fixture
def made(together: Together) -> Path:
    return together.folder


@pytest.fixture
def alone(tiny_file: Path, digits: Dataset, tmp_path: Path) -> Callable[..., Path]:
    """Train in this process."""

    def train(*overrides: str, dataset: Dataset = digits) -> Path:
        loop.train(load_config(str(tiny_file), (BUDGET, *overrides)), dataset, tmp_path)
        return tmp_path

    return train


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoint.safetensors")


def lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


def assert_equal(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        # Batch normalisation has met the two parts one after the other, or both at once.
        if ".running_" not in name and not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, second[name]), name


def test_two_ranks_are_one_with_the_whole_batch(
    made: Path, alone: Callable[..., Path], tiny: Config, digits: Dataset
) -> None:
    one, two = weights(alone("optimizer=sgd", "beta2=null")), weights(made / "whole")
    torch.manual_seed(tiny.seed)
    start = loop.construct(tiny, digits.description, torch.device("cpu"))
    for player in ("generator", "critic"):
        for name, parameter in getattr(start, player).named_parameters():
            moved, too = (run[f"{player}.{name}"] - parameter.detach() for run in (one, two))
            assert moved.dim() < 2 or moved.abs().max() > 0
            torch.testing.assert_close(too, moved, rtol=1e-3, atol=1e-3 * float(moved.abs().max()))


TIMED = {"seconds", "timestamp", "images_per_second", "seconds_per_kimg", "memory", "data_seconds"}
SEEN = {"diversity", "frechet", "effective_rank"}  # in samples, which batch normalisation's memory makes others


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_are_bit_for_bit_one_that_accumulates_two_parts(
    made: Path, alone: Callable[..., Path], name: str
) -> None:
    one = alone(*CASES[name], "accumulate=2")
    assert_equal(one, made / name)
    for line, other in zip(lines(one), lines(made / name), strict=True):
        assert line.keys() == other.keys()
        for field in line.keys() - TIMED - SEEN:
            assert line[field] == pytest.approx(other[field], rel=1e-5), field


def test_a_resumed_run_ends_bit_for_bit_where_an_undisturbed_one_does(made: Path) -> None:
    one, other = weights(made / "options"), weights(made / "resumed")
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_what_is_not_finite_on_one_rank_is_left_out_by_all(
    made: Path, alone: Callable[..., Path], digits: Dataset
) -> None:
    assert_equal(alone("accumulate=2", dataset=lose(digits, LOST)), made / "lost")
    assert sum(line["nonfinite_steps"] for line in lines(made / "lost")) == 1


def test_only_the_first_rank_writes(made: Path) -> None:
    images = [line["images"] for line in lines(made / "plain")]
    assert images == sorted(set(images))
    assert not list((made / "plain").glob("*.partial"))


@pytest.mark.full
def test_torchrun_trains_and_one_of_them_tells(tiny_file: Path, alone: Callable[..., Path], tmp_path: Path) -> None:
    out = tmp_path / "run"
    with started([*TORCHRUN, "train", tiny_file, "--set", BUDGET, "--out", out]) as (process,):
        told, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert told.splitlines() == [f"{out}: finished after 320 images; next: latentserve export {out} --out BUNDLE"]
    assert err.count("320/320 images") == 1
    assert_equal(alone("accumulate=2"), out)


@pytest.mark.full
def test_torchrun_saves_when_it_is_asked_to_stop_and_resumes(tiny_file: Path, tmp_path: Path) -> None:
    outs = [tmp_path / name for name in ("whole", "parts")]
    for out in outs:
        for stop in (out.name == "parts", False):
            words = ["train", tiny_file, "--set", "images=20000", "--set", "snapshot=2000", "--supervise", "off"]
            with started([*TORCHRUN, *words, "--out", out]) as (process,):
                if stop:
                    wait_for_lines(out, process)
                    process.terminate()
                told, _ = process.communicate(timeout=120)
            assert ("images; the same command resumes" in told) == stop
    one, other = map(weights, outs)
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_a_rank_that_dies_ends_the_other_with_one_line(together: Together) -> None:
    first, second = together.ranks
    for rank in together.ranks:
        rank.stdin.write("\n")
        rank.stdin.flush()
    wait_for_lines(together.on, first)
    second.kill()
    _, err = first.communicate(timeout=60)
    assert not any("images" in told for told in second.communicate())  # the first rank tells, and it alone
    assert first.returncode == 1
    assert re.fullmatch("latentserve: another of the 2 ranks died, or did not answer for 0:10:00: .+", last_line(err))
    assert "Traceback" not in err
    assert weights(together.on)


@pytest.mark.full
def test_a_rank_that_does_not_answer_is_not_waited_for_forever(tiny_file: Path, tmp_path: Path) -> None:
    impatient = "import datetime; from latentserve.training import distributed; "
    impatient += "distributed.TIMEOUT = datetime.timedelta(seconds=9); "
    impatient += "from latentserve.service.cli import main; main()"
    out = tmp_path / "run"
    with two_ranks("-c", impatient, "train", tiny_file, "--set", "images=50000000", "--out", out) as (first, second):
        wait_for_lines(out, first)
        second.send_signal(signal.SIGSTOP)
        _, err = first.communicate(timeout=60)
    assert first.returncode == 1
    assert last_line(err).startswith("latentserve: another of the 2 ranks died, or did not answer for 0:00:09: ")


@pytest.mark.parametrize(
    ("overrides", "ranks", "words"),
    [
        ((), 3, "`batch`: 32 cannot be shared equally by 3 ranks"),
        (("accumulate=16",), 4, "`accumulate`: a rank's share of 8 cannot be cut into 16 equal parts"),
        (("packing=4",), 16, "`packing`: a part of 2 of the batch cannot be cut into packs of 4"),
    ],
)
@pytest.mark.parametrize("rank", [0, 1])
def test_a_batch_that_cannot_be_shared_is_told_once_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tiny_file: Path,
    tmp_path: Path,
    overrides: tuple[str, ...],
    ranks: int,
    words: str,
    rank: int,
) -> None:
    load_config(str(tiny_file), overrides)  # one process can do it
    for name, value in {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks}.items():
        monkeypatch.setenv(name, str(value))
    told = ["latentserve", "train", str(tiny_file), *(word for one in overrides for word in ("--set", one))]
    monkeypatch.setattr(sys, "argv", [*told, "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 1
    assert capsys.readouterr().err == ("" if rank else f"latentserve: {words}\n")
    assert not (tmp_path / "run").exists()


def test_one_process_is_all_there_is_where_nothing_says_otherwise() -> None:
    ranks = Ranks()
    assert ranks.leads
    batch = torch.arange(4)
    assert torch.equal(ranks.share(batch), batch)
    assert (ranks.mean(3.0), ranks.any(True), ranks.any(False)) == (3.0, True, False)


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def wait_for_lines(run: Path, process: subprocess.Popen[str]) -> None:
    """Until a checkpoint and two lines are there."""
    deadline = time.monotonic() + 200
    while not ((run / "checkpoint.safetensors").exists() and (run / "stats.jsonl").read_text().count("\n") >= 2):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
