"""A worker process as the supervisor sees it: started, passed connections, heard, and ended."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from latentserve.service.host.passing import Channel, Failed, Message, Received, Report, Take, Took, Work

# SIGALRM is of who gives a command so many seconds (`perl -e 'alarm 60; exec ...'`), SIGPWR of containers that are
# shut down. The worker hears of them when it is ready to: they go to a whole group, while it loads.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGALRM, signal.SIGPWR)


class WorkerProcess:
    """One worker.

    Attributes:
        work: what it was started for.
        report: how it is, as it last said; None until it has started.
        leaving: when it must have ended, on the monotonic clock; None while it is to stay.
        failure: why it could not start, as it said, or why it was ended.
        silent_seconds: how long it has said nothing.
    """

    def __init__(
        self, work: Work, environment: Mapping[str, str], folder: Path, descriptors: Sequence[int] = ()
    ) -> None:
        """Start it. It works in `folder`, imports nothing from there, and inherits `descriptors`. Raises OSError: there
        is no room for it."""
        self.work = work
        self.report: Report | None = None
        self.leaving: float | None = None
        self.failure: str | None = None
        self.silent_seconds = 0.0
        self.began = time.monotonic()
        self._handed = self._taken = 0
        self._passed: deque[socket.socket] = deque()  # and not taken yet, as far as is known
        self._channel, other = Channel.pair()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            with other:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "latentserve.service.host.worker", str(other.fileno())],
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[other.fileno(), *descriptors],
                )
        except OSError:
            self._channel.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.send(work)

    @property
    def index(self) -> int:
        """Its place among the workers."""
        return self.work.index

    @property
    def pid(self) -> int:
        """Its process's number."""
        return self._process.pid

    @property
    def ready(self) -> bool:
        """Whether it may be passed connections."""
        return self.report is not None and self.report.ready and self.leaving is None and self.failure is None

    @property
    def connections(self) -> int:
        """How many it has: as it said, and those that it was passed since."""
        counted, has = (self.report.taken, self.report.connections) if self.report else (0, 0)
        return has + self._handed - counted

    def fileno(self) -> int:
        """What can be read when it says something, or has ended."""
        return self._channel.fileno()

    def send(self, message: Message) -> bool:
        """Tell it something; whether it will hear of it."""
        return self._channel.send(message)

    def take(self, connection: socket.socket) -> bool:
        """Pass it a connection, which is its own when it has taken it; whether that was possible."""
        if self._channel.send(Take(), [connection]):
            self._handed += 1
            self._passed.append(connection)
            return True
        return False

    def untaken(self) -> list[socket.socket]:
        """Connections that it was passed and has not taken, once it has ended: they are the caller's."""
        left, self._passed = list(self._passed), deque()
        return left

    def hear(self) -> Iterator[Received]:
        """What it has said, its reports and failures already taken note of. Raises EOFError: it has ended, or will."""
        while (received := self._channel.receive()) is not None:
            self.silent_seconds = 0.0
            match received.message:
                case Took(taken):
                    for _ in range(taken - self._taken):
                        self._passed.popleft().close()
                    self._taken = taken
                case Report():
                    self.report = received.message
                case Failed():
                    self.failure = received.message.cause
            yield received

    def ended(self) -> bool:
        """Whether it has."""
        return self._process.poll() is not None

    def end(self) -> None:
        """End it at once; what is under way is lost."""
        self._process.kill()

    def close(self) -> None:
        """Let go of what it has here, once it has ended."""
        self._process.wait()
        self._channel.close()
        for connection in self.untaken():
            connection.close()

    @property
    def death(self) -> str:
        """Why it ended, for a sentence that begins with it."""
        if self.failure is not None:
            return self.failure
        status = self._process.returncode
        if status is not None and status < 0:
            return f"killed by {_signal_name(-status)}" + (" (out of memory?)" if status == -signal.SIGKILL else "")
        return f"ended with status {status}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
