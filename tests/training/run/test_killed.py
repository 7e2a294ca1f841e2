"""Runs whose process is killed, asked to stop in mid-save, or whose disk is full: what is saved is good."""

import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from latentserve.training.data import Dataset
from latentserve.training.errors import RunError
from latentserve.training.files import replaced
from latentserve.training.recipe.config import Config
from latentserve.training.run import held, loop, prepare
from tests.training.conftest import TINY, stop_after

TOP = Path(__file__).parents[3]
CHECKPOINT = "checkpoint.safetensors"
AUGMENTED = ("augment=[flip, translate, brightness, contrast]", "noise={start: 0.5, end: 0}")
PARTS = ("accumulate=2", "packing=2", "n_critic=3", "clip=1.0")
NORMALISED = ("network=convolutional", "loss=non-saturating", "gamma.start=0", "gamma.end=0")
OTHERS = {
    "plain": (),
    "rmsprop": ("optimizer=rmsprop", "beta1=0.5", "loss=hinge"),
    "wasserstein": ("loss=wasserstein-gp", "gradient_penalty=10", "gamma.start=0", "gamma.end=0", "n_critic=2"),
    "parts": PARTS,
    "augmented": AUGMENTED,
    "normalised": NORMALISED,
}


def assert_killed_runs_end_as_others(folder: Path, runs: dict[str, tuple[str, ...]], kills: int, images: int) -> None:
    (folder / "tiny.yaml").write_text(TINY)
    told = []
    for name, overrides in runs.items():
        words = ["tiny.yaml", *(word for one in (f"images={images}", *overrides) for word in ("--set", one))]
        told.append({"out": name, "words": words, "kills": kills})
    (folder / "runs.json").write_text(json.dumps(told))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.training.run.killed", str(folder)]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, env=environment)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    # How many of the others reach their end first is the machine's business.
    assert done.stdout.count(": killed after") > len(runs) * kills / 4
    assert done.stdout.count("s in mid-save") >= len(runs)
    assert done.stdout.count(": stopped in mid-save") == len(runs)
    assert (folder / "sittings.log").read_text().count("saved after") >= len(runs)
    for name in runs:
        one, other = (load_file(folder / how / name / CHECKPOINT) for how in ("whole", "killed"))
        assert one.keys() == other.keys()
        for tensor, value in one.items():
            assert torch.equal(value, other[tensor]), f"{name}: {tensor}"
        lines = [json.loads(line) for line in (folder / "killed" / name / "stats.jsonl").read_text().splitlines()]
        assert [line["images"] for line in lines] == sorted({line["images"] for line in lines})


def test_a_run_that_is_killed_anywhere_ends_bit_for_bit_as_an_undisturbed_one(tmp_path: Path) -> None:
    assert_killed_runs_end_as_others(tmp_path, {"all": (*AUGMENTED, *PARTS, *NORMALISED)}, kills=3, images=1000)


@pytest.mark.full
def test_every_kind_of_run_that_is_killed_ten_times_ends_bit_for_bit_as_an_undisturbed_one(tmp_path: Path) -> None:
    assert_killed_runs_end_as_others(tmp_path, OTHERS, kills=10, images=8000)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Stands for a disk that is full: the same calls fail."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("size", "begun", "file"),
    [
        (100, False, "config.yaml"),
        (2_000, False, "reals.png"),
        (200, True, "stats.jsonl"),
        (5_000, True, CHECKPOINT),
    ],
)
@pytest.mark.usefixtures("capsys")  # into memory
def test_a_full_disk_is_one_line_that_names_the_file_and_the_last_checkpoint_is_kept(
    tiny: Config, digits: Dataset, tmp_path: Path, size: int, begun: bool, file: str
) -> None:
    run = tmp_path / "run"
    if begun:
        prepare(run, tiny)
        loop.train(tiny, digits, run, stop_after(5))
        before = load_file(run / CHECKPOINT)
    with pytest.raises(RunError) as caught, files_of_at_most(size):  # noqa: PT012
        prepare(run, tiny)
        loop.train(tiny, digits, run)
    assert str(caught.value).startswith(f"{run / file}: cannot be written: ")
    assert "\n" not in str(caught.value)
    assert not list(run.glob("*.partial"))
    if begun:
        kept = load_file(run / CHECKPOINT)
        assert all(torch.equal(tensor, kept[name]) for name, tensor in before.items())
    assert loop.train(tiny, digits, run) == 1024


def test_two_do_not_train_into_one_folder(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "new"
    with held(run):
        assert run.is_dir()
        with pytest.raises(RunError, match=f"^{run}: another process trains into it"), held(run):
            pass
    with held(run):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="file: not a run, and not an empty folder"), held(tmp_path / "file"):
        pass


def test_a_file_system_that_cannot_flush_or_holds_what_is_open_is_borne_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(number: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refused)
    kept, tries = Path.replace, []

    def busy(partial: Path, path: Path) -> Path:
        tries.append(path)
        if len(tries) < 3:
            raise PermissionError(errno.EACCES, "Permission denied")
        return kept(partial, path)

    monkeypatch.setattr(Path, "replace", busy)
    monkeypatch.setattr("latentserve.training.files.time.sleep", lambda seconds: None)
    with replaced(tmp_path / "a.json") as partial:
        partial.write_text("{}")
    assert (tmp_path / "a.json").read_text() == "{}"
    assert len(tries) == 3
