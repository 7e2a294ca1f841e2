"""Files of workers that add up: whoever ends, folds, reads or is killed at it in whatever order, nothing is lost,
nothing counts twice, and no sum goes back."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from latentserve.service.watching.worker_files import WorkerFiles
from tests.conftest import examples


def add(files: Sequence[Path], target: Path) -> None:
    target.write_text(str(total(files)))


def total(files: Sequence[Path]) -> int:
    return sum(int(file.read_text()) for file in files)


class Killed(BaseException):
    """Stands for SIGKILL."""


class Folding(RuleBasedStateMachine):
    """Workers that count, end, and fold what others left; a folding that is killed after so many steps on the disk."""

    workers: Bundle[str] = Bundle("workers")

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.alive: set[str] = set()
        self.files = WorkerFiles(Path(self.folder.name), "counter", ".db", self.alive.__contains__)
        self.names = (f"{number}-7" for number in itertools.count(100))
        self.counted = 0

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(target=workers, first=st.integers(0, 9))
    def start(self, first: int) -> str:
        name = next(self.names)
        self.alive.add(name)
        self.files.of(name).write_text(str(first))
        self.counted += first
        return name

    @rule(worker=workers, more=st.integers(1, 1000))
    def count(self, worker: str, more: int) -> None:
        file = self.files.of(worker)
        file.write_text(str(int(file.read_text()) + more))
        self.counted += more

    @rule(worker=consumes(workers))
    def end(self, worker: str) -> None:
        self.alive.discard(worker)

    @rule()
    def fold(self) -> None:
        self.files.fold(add)
        assert len(list(Path(self.folder.name).glob("*.db"))) <= len(self.alive) + 1

    @rule(steps=st.integers(0, 6))
    def fold_and_be_killed(self, steps: int) -> None:
        left = iter(range(steps))

        def then_killed(method: str) -> object:
            whole = getattr(Path, method)

            def step(*arguments: object, **named: object) -> object:
                if next(left, None) is None:
                    raise Killed
                return whole(*arguments, **named)

            return step

        with pytest.MonkeyPatch.context() as patch:
            for method in ("write_text", "rename", "unlink"):
                patch.setattr(Path, method, then_killed(method))
            with suppress(Killed):
                self.files.fold(add)

    @invariant()
    def every_count_is_there_once(self) -> None:
        assert self.files.read(total) == self.counted


TestFolding = Folding.TestCase
TestFolding.settings = settings(max_examples=examples(25), stateful_step_count=30, deadline=None)


def test_a_full_disk_leaves_all_as_it_was(tmp_path: Path) -> None:
    files = WorkerFiles(tmp_path, "counter", ".db", lambda _: False)
    files.of("1-2").write_text("3")

    def full(_: Sequence[Path], target: Path) -> None:
        target.write_text("")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        files.fold(full)
    assert list(tmp_path.glob("*.*[bt]")) == [files.of("1-2")]
    assert files.read(total) == 3
    files.fold(add)
    assert files.read(total) == 3


_COUNTS = """
import sys
from pathlib import Path
def total(files):
    return sum(int(file.read_text()) for file in files)
def add(files, target):
    target.write_text(str(total(files)))
from latentserve.service.watching.worker_files import WorkerFiles
from latentserve.service.watching.workers import own_name
files = WorkerFiles(Path(sys.argv[1]), "counter", ".db")
own = files.of(own_name())
number = 0
while True:
    number += 1
    part = own.with_suffix(".new")
    part.write_text(str(number))
    part.rename(own)
    if number % 5 == 0:
        files.fold(add)
"""


@pytest.mark.parametrize("kills", [1, pytest.param(60, marks=pytest.mark.full)])
def test_processes_that_are_killed_while_they_count_and_fold(tmp_path: Path, kills: int) -> None:
    """Nobody who reads meanwhile sees less than before."""
    files = WorkerFiles(tmp_path, "counter", ".db")
    workers = []
    last = 0
    try:
        for _ in range(kills):
            while len(workers) < 2:
                workers.append(subprocess.Popen([sys.executable, "-c", _COUNTS, tmp_path]))
            until = time.monotonic() + 0.3
            while time.monotonic() < until or not last:
                now = files.read(total)
                assert now >= last
                last = now
            killed = workers.pop(0)
            killed.send_signal(signal.SIGKILL)
            killed.wait()
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    files.fold(add)
    assert files.read(total) >= last
    assert len(list(tmp_path.glob("*.db"))) == 1
