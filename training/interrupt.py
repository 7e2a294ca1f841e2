"""^C and SIGTERM as a question the loop asks between two steps, instead of an exception in the middle of one."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """Whether somebody asked the run to stop."""

    requested = False


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Within the block, the first ^C or SIGTERM sets `requested`; a second one acts as it always did."""
    interrupt = Interrupt()
    previous = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def request(number: int, frame: FrameType | None) -> None:
        interrupt.requested = True
        restore()

    for number in SIGNALS:
        signal.signal(number, request)
    try:
        yield interrupt
    finally:
        restore()
