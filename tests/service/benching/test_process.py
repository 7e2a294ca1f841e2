"""A process group: nothing of it is left, and its last words can be read."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from latentserve.service.benching.process import last_line, process_group


def lives(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left(tmp_path: Path, fails: bool) -> None:
    log = tmp_path / "log"
    # The child does not end when it is told to.
    script = "(trap '' TERM; exec sleep 600) & echo first; echo $!; wait"
    pids: list[int] = []
    try:
        with process_group(["bash", "-c", script], log, os.environ) as process:
            while log.read_text().count("\n") < 2:
                time.sleep(0.01)
            pids += [process.pid, int(last_line(log))]
            assert all(map(lives, pids))
            if fails:
                raise ArithmeticError
    except ArithmeticError:
        assert fails
    for _ in range(500):
        if not any(map(lives, pids)):
            return
        time.sleep(0.01)
    raise AssertionError("something is left")


def test_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"")
    assert last_line(log) == "no message"
    log.write_bytes(b"one\n" + b"x" * 1000 + b"\xff\n\n")
    assert last_line(log) == "x" * 300
