"""The ranks of a run started on one machine, as `torchrun` would, but that a rank that dies ends all with one line."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from latentserve.training.errors import ConfigError, LostRankError

LAUNCHED = "_LATENTSERVE_LAUNCHED"  # is set where this started a process; no setting of anybody's
LOST = 75  # exit status of a rank that only says that another one is lost

# What asks a run to save and to end: a terminal, whoever stops processes, and what batch systems send ahead of time.
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

_PATIENCE = 20.0  # seconds that ranks are given to notice that one is lost, or to save
_LOOK = 0.1


def place() -> tuple[int, int, int]:
    """This process's rank, how many there are, and its place among those of this machine, as `torchrun` tells them to
    the processes that it starts; 0, 1 and 0 where nothing has. Raises ConfigError naming a variable."""
    named = ("WORLD_SIZE", "RANK", "LOCAL_RANK")
    told = [os.environ.get(name, "") for name in named]
    if told[0] in ("", "1"):
        return 0, 1, 0
    for name, value in zip(named, told, strict=True):
        if not value.isdecimal():
            raise ConfigError(
                f"{name} is {value or 'not set'}, and WORLD_SIZE {told[0]}: start ranks by --ranks N or by torchrun; "
                "elsewhere unset WORLD_SIZE"
            )
    return int(told[1]), int(told[0]), int(told[2])


@contextmanager
def heard(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Within the block the handler gets the signals that ask to stop; SIGHUP, and those of batch systems, only where
    they are not ignored, as under `nohup`."""
    always = (signal.SIGINT, signal.SIGTERM)
    own = [number for number in STOPS if number in always or signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, handler) for number in own}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


def run(count: int, command: Sequence[str]) -> int:
    """Run a command in so many processes, and give the status that they end with. The first of them has the
    terminal; of the others an error is told where it was the first. Signals that ask to stop are theirs.

    Raises LostRankError where a rank was killed.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, LAUNCHED: secrets.token_hex(4)}
    ranks: list[subprocess.Popen[str]] = []
    with _handed_on(ranks):
        for rank in range(count):
            own = {name: str(value) for name, value in (common | {"RANK": rank, "LOCAL_RANK": rank}).items()}
            told: dict[str, Any] = {} if rank == 0 else {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
            ranks.append(subprocess.Popen(command, env=os.environ | own, text=True, **told))
        try:
            first = _first_to_fail(ranks)
        finally:
            _end(ranks)
    if first is None:
        return 0
    status = ranks[first].returncode
    if status < 0 or status == LOST:
        how = f"rank {first} was killed ({signal.strsignal(-status)})" if status < 0 else "the ranks lost one another"
        raise LostRankError(f"{how}, and all {count} have ended; what was saved stays, and the same command resumes")
    if first > 0 and ranks[first].stderr is not None:
        said = ranks[first].stderr.read().strip().splitlines()  # type: ignore[union-attr]
        if said:
            print(said[-1], file=sys.stderr)
    return status or 1


def _first_to_fail(ranks: list[subprocess.Popen[str]]) -> int | None:
    """The rank that ended first otherwise than well, of those that did not merely lose another; None: all went well."""
    failed: list[int] = []
    deadline = None
    while True:
        for rank, process in enumerate(ranks):
            if process.poll() not in (None, 0) and rank not in failed:
                failed.append(rank)
        if failed and deadline is None:
            deadline = time.monotonic() + _PATIENCE
        over = all(process.poll() is not None for process in ranks)
        if over or (deadline is not None and time.monotonic() > deadline):
            own = [rank for rank in failed if ranks[rank].returncode != LOST]
            return next(iter(own or failed), None)
        time.sleep(_LOOK)


def _end(ranks: list[subprocess.Popen[str]]) -> None:
    """End those that are left, who wait for one that is gone."""
    for process in ranks:
        if process.poll() is None:
            process.kill()
        process.wait()


@contextmanager
def _handed_on(ranks: list[subprocess.Popen[str]]) -> Iterator[None]:
    """Within the block signals that ask to stop are the ranks' to hear; one of them is enough, and all have ^C of a
    terminal."""

    def hand_on(number: int, _frame: FrameType | None) -> None:
        for process in ranks:
            if process.poll() is None:
                process.send_signal(number)

    with heard(hand_on):
        yield
