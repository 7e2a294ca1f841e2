"""Ranks that one command starts: however one of them ends, it is told in one line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from latentserve.training import launching
from latentserve.training.errors import ConfigError, LostRankError
from tests.training.test_distributed import lines

WHO = "import os, signal, sys, time; rank = int(os.environ['RANK']); "


def run(program: str, count: int = 2) -> int:
    return launching.run(count, [sys.executable, "-c", WHO + program])


def test_each_knows_its_place_and_the_first_has_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    told = "print(rank, *(os.environ[name] for name in ('LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR')))"
    assert run(told, count=3) == 0
    assert capfd.readouterr().out == "0 0 3 127.0.0.1\n"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, (0, 1, 0)),
        ({"WORLD_SIZE": "1", "RANK": "7"}, (0, 1, 0)),
        ({"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}, (3, 4, 1)),
        ({"WORLD_SIZE": "4"}, "RANK is not set, and WORLD_SIZE 4: start ranks by --ranks N or by torchrun"),
        ({"WORLD_SIZE": "4", "RANK": "0"}, "LOCAL_RANK is not set"),
        ({"WORLD_SIZE": "all", "RANK": "0", "LOCAL_RANK": "0"}, "WORLD_SIZE is all"),
    ],
)
def test_what_others_set_for_ranks_of_their_own_is_named(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, str], expected: tuple[int, int, int] | str
) -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    if isinstance(expected, str):
        with pytest.raises(ConfigError, match=expected):
            launching.place()
    else:
        assert launching.place() == expected


@pytest.mark.parametrize("killed", [0, 1])
def test_a_rank_that_is_killed_is_named(killed: int, capfd: pytest.CaptureFixture[str]) -> None:
    lost = (
        f"os.kill(os.getpid(), signal.SIGKILL) if rank == {killed} else (time.sleep(0.3), sys.exit({launching.LOST}))"
    )
    with pytest.raises(LostRankError, match=rf"^rank {killed} was killed \(Killed\), and all 2 have ended"):
        run(lost)
    assert capfd.readouterr() == ("", "")


def test_an_error_is_told_once_whoever_met_it(capfd: pytest.CaptureFixture[str]) -> None:
    met = "print('latentserve: rank 1: the disk is full', file=sys.stderr) or sys.exit(1)"
    assert run(f"{met} if rank else (time.sleep(0.3), sys.exit({launching.LOST}))") == 1
    assert capfd.readouterr().err == "latentserve: rank 1: the disk is full\n"
    assert run("rank or print('latentserve: `batch`: is wrong', file=sys.stderr); sys.exit(1)") == 1
    assert capfd.readouterr().err == "latentserve: `batch`: is wrong\n"


def test_ranks_that_lose_one_another_are_one_line() -> None:
    with pytest.raises(LostRankError, match=r"^the ranks lost one another, and all 2 have ended"):
        run(f"sys.exit({launching.LOST})")


def test_one_that_waits_for_a_dead_one_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "_PATIENCE", 0.3)
    with pytest.raises(LostRankError, match=r"^rank 1 was killed"):
        run("os.kill(os.getpid(), signal.SIGKILL) if rank else time.sleep(600)")


@pytest.mark.full
@pytest.mark.parametrize("killed", [0, 1])
def test_a_run_whose_rank_is_killed_ends_with_one_line_and_can_be_resumed(
    tiny_file: Path, tmp_path: Path, killed: int
) -> None:
    words = ["train", str(tiny_file), "--set", "images=50000000", "--ranks", "2", "--out", str(tmp_path / "run")]
    command = [sys.executable, "-P", "-m", "latentserve", *words]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            deadline = time.monotonic() + 120
            while not (tmp_path / "run" / "checkpoint.safetensors").exists():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
            children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
            ranks = [int(child) for child in children.stdout.split()]
            (chosen,) = (one for one in ranks if f"\0RANK={killed}\0" in Path(f"/proc/{one}/environ").read_text())
            os.kill(chosen, signal.SIGKILL)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 1
    told = [line for line in err.splitlines() if line.startswith("latentserve:")]
    assert told == [
        f"latentserve: rank {killed} was killed (Killed), and all 2 have ended; what was saved stays, and the same "
        "command resumes"
    ]
    assert "Traceback" not in err
    assert lines(tmp_path / "run")
