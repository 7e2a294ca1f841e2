"""The page docs/runs.md: its commands, and what it shows of what they say."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from latentserve.service.bundle import read_bundle
from latentserve.service.cli import cli

PAGE = (Path(__file__).parents[2] / "docs" / "runs.md").read_text()
COMMANDS = "".join(re.findall(r"^```bash\n(.*?)^```$", PAGE, re.M | re.S)).splitlines()
LONGER = re.findall(r"^    (longer: .*)$", PAGE, re.M)
SHORT = {"400000": "2000", "200000": "1000", "000200064": "000001024"}
TRAIN = ["--set", "width=16", "--set", "tick=250", "--set", "snapshot=500", "--set", "threads=1"]


def invoked(command: str, *more: str) -> str:
    """What a command of the page says."""
    program, *words = shlex.split(command)
    assert program == "latentserve"
    done = CliRunner().invoke(cli, [*words, *more], catch_exceptions=False)
    assert done.exit_code == 0, f"{command}\n{done.output}"
    return done.output


def test_its_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand there, of a two-hundredth of the images; what takes longest is left to the long form."""
    monkeypatch.chdir(tmp_path)
    printed = {}
    for command in COMMANDS:
        here = command
        for there, short in SHORT.items():
            here = here.replace(there, short)
        if " train " in command:
            more = [*TRAIN, *([] if "images=" in here else ["--set", "images=1500"])]
            if "tensorboard" in command:
                pytest.importorskip("tensorboard")
            printed[command] = invoked(here, *more)
        elif " export " in command:
            printed[command] = invoked(here, "--reference-samples", "600")
    said = re.findall(r"^longer: .*$", printed[COMMANDS[1]], re.M)
    assert said == [
        line.replace("400,000", "2,000").replace("300,000", "1,500").replace("300,032", "1,536") for line in LONGER
    ]
    assert read_bundle(Path("bundles/earlier")).manifest.lineage.images_seen == 1024
    best = read_bundle(Path("bundles/best")).manifest.lineage
    assert f"the best: {best.images_seen:,} images: frechet " in "".join(printed.values())
    assert {path.name for path in Path("runs/kept/snapshots").iterdir()} >= {"000001024.safetensors"}
    assert list(Path("runs/tracked/tensorboard").glob("events.*"))


@pytest.mark.full
def test_its_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (evaluate,) = (command for command in COMMANDS if " evaluate " in command)
    train = next(command for command in COMMANDS if "--keep" in command)
    invoked(train, *TRAIN, "--set", "images=1500")
    said = invoked(evaluate.replace("200000", "1000"), "--samples", "200")
    assert "runs/kept after 1,024 images" in said
    assert Path("report/report.html").exists()


def test_mistakes_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words, complaint in (
        (["export", "absent", "--at", "best", "--out", "bundle"], "absent: not a run with a checkpoint"),
        (["evaluate", "a", "--at", "1", "--at", "2", "--out", "report"], "--at is given 2 times, for 1 runs and"),
        (["train", "digits", "--track", "wanda", "--set", "images=128", "--out", "run"], "--track wanda: no such"),
    ):
        done = CliRunner().invoke(cli, words)
        assert done.exit_code != 0
        assert complaint in str(done.exception)
    done = CliRunner().invoke(cli, ["export", "run", "--at", "soon", "--out", "bundle"])
    assert done.exit_code == 2
    assert "'soon' is neither a number of images nor `best`" in done.output
