"""^C and SIGTERM as a question the loop asks between two steps, instead of an exception in the middle of one."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Whether somebody asked the run to stop."""

    requested = False


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Within the block, ^C and SIGTERM only set `requested`.

    More of them change nothing: shells, wrappers and supervisors like to send two, and the second must not undo the
    save that the first asked for.
    """
    interrupt = Interrupt()

    def request(number: int, frame: FrameType | None) -> None:
        interrupt.requested = True

    previous = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
