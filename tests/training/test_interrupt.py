import os
import signal
import subprocess
import sys

import pytest

from latentserve.training import launching
from latentserve.training.commands import interruptible


@pytest.mark.parametrize("number", launching.STOPS)
def test_signals_are_noted_within_the_block_and_as_before_after_it(number: int) -> None:
    outside = signal.signal(number, signal.SIG_DFL)  # the tests themselves may be run under `nohup`
    try:
        with interruptible() as interrupted:
            assert not interrupted()
            signal.raise_signal(number)
            assert interrupted()
            signal.raise_signal(number)  # a second one changes nothing
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, outside)


def test_a_terminal_that_is_gone_is_nothing_to_one_that_ignores_it() -> None:
    """As under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible() as interrupted:
            signal.raise_signal(signal.SIGHUP)
            assert not interrupted()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_terminal_that_is_gone_is_not_written_to() -> None:
    program = """
import os, signal, sys
from latentserve.training.commands import interruptible
signal.signal(signal.SIGHUP, signal.SIG_DFL)
with interruptible() as interrupted:
    os.close(int(sys.argv[1]))  # the other end of this one's terminal
    signal.raise_signal(signal.SIGHUP)
    print("saving", flush=True)
    sys.exit(7 if interrupted() else 8)
"""
    ours, theirs = os.openpty()
    command = [sys.executable, "-c", program, str(ours)]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, pass_fds=[ours]) as process:
        os.close(theirs)
        os.close(ours)
        assert process.wait(60) == 7
