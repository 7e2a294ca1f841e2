"""Sittings of `latentserve train` that are killed: `python -m tests.training.run.killed FOLDER`.

FOLDER holds `runs.json`, a list of `{"out": folder, "words": [...], "kills": n}`: what follows `train`, and how many of
its sittings get a SIGKILL, the first of them in the middle of a save; before these one is asked to stop in the middle
of a save, and after them one is left alone. Each sitting is a process of its own, forked from this one, which has
imported what takes long and computes nothing.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import matplotlib.figure  # noqa: F401
import torch._dynamo  # noqa: F401, the optimisers want it

from latentserve.service.cli import main
from latentserve.training.data import load
from latentserve.training.run import CHECKPOINT, loop  # noqa: F401

PARTIAL = "checkpoint.partial"


def slow(_file: int) -> None:
    """Stands for a disk that takes its time, so that a save is under way for a while."""
    time.sleep(0.3)


def sit(words: list[str], saving: bool = False) -> int:
    """Begin a sitting, whose saves may take long; its process id."""
    process = os.fork()
    if process == 0:
        if saving:
            os.fsync = slow  # type: ignore[assignment]
        log = os.open("sittings.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = ["latentserve", "train", *words]
        try:
            main()
        except SystemExit as left:
            os._exit(int(left.code or 0))
        os._exit(99)
    return process


def lasts(process: int) -> bool:
    return os.waitpid(process, os.WNOHANG) == (0, 0)


def ask_to_stop(out: Path, words: list[str]) -> None:
    """In the middle of a save, which is to be finished."""
    process = sit([*words, "--out", str(out)], saving=True)
    while not (out / PARTIAL).exists():
        if not lasts(process):
            sys.exit(f"{out}: ended before a save was seen\n{Path('sittings.log').read_text()}")
        time.sleep(0.0005)
    os.kill(process, signal.SIGTERM)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code or (out / PARTIAL).exists() or not (out / CHECKPOINT).exists():
        names = [path.name for path in out.iterdir()]
        sys.exit(f"{out}: asked to stop in mid-save: exit code {code}, and there are {names}")
    print(f"{out}: stopped in mid-save", flush=True)


def train(out: Path, words: list[str], kills: int, seconds: float) -> None:
    """Kill sittings, and say when; then leave one alone. `seconds` is what all of it takes undisturbed, of which each
    that is killed gets its part at the most: none is to reach the end."""
    if kills:
        ask_to_stop(out, words)
    for kill in range(kills):
        saving = kill == 0
        process = sit([*words, "--out", str(out)], saving)
        began, wait = time.monotonic(), 0.0 if saving else random.uniform(0, seconds / kills)
        alive = True
        while alive and not (time.monotonic() - began > wait and (not saving or (out / PARTIAL).exists())):
            time.sleep(0.0002 if saving else 0.002)
            alive = lasts(process)
        if alive:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
        what = "in mid-save" if (out / PARTIAL).exists() else ""
        print(f"{out}: {'killed' if alive else 'ended'} after {time.monotonic() - began:.3f} s {what}", flush=True)
    code = os.waitstatus_to_exitcode(os.waitpid(sit([*words, "--out", str(out)]), 0)[1])
    if code:
        sys.exit(f"{out}: exit code {code}\n{Path('sittings.log').read_text()}")


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    load("digits", None)
    for run in json.loads(Path("runs.json").read_text()):
        began = time.monotonic()
        train(Path("whole", run["out"]), run["words"], 0, 0)
        train(Path("killed", run["out"]), run["words"], run["kills"], time.monotonic() - began)
