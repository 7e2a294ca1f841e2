"""Lines to a file descriptor that may be a pipe which nobody reads: whoever writes one does not wait for it."""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable

_MOST_BYTES = 1 << 20  # that wait; lines beyond are counted
_WHOLE_BYTES = 4096  # which a pipe takes in one piece (pipe(7), PIPE_BUF)


class LineWriter:
    """Writes on a thread of its own, in whole lines, so that those of several processes do not mix.

    Attributes:
        descriptor: where to.
    """

    def __init__(self, descriptor: int, lost: Callable[[int], None], most_bytes: int = _MOST_BYTES) -> None:
        """`lost` is told how many lines there was no room for, once there is; on the thread."""
        self.descriptor = descriptor
        self._tell_lost = lost
        self._most = most_bytes
        self._lines: deque[bytes] = deque()
        self._bytes = 0  # of lines that wait, and of those that are being written
        self._lost = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether there is somebody who writes; not in a process that was forked from the one that made this."""
        return self._thread.is_alive()

    def write(self, line: bytes) -> None:
        """Have it written, or counted."""
        with self._changed:
            if self._bytes and self._bytes + len(line) > self._most:
                self._lost += 1
                return
            self._lines.append(line)
            self._bytes += len(line)
            self._changed.notify_all()

    def flush(self, seconds: float) -> None:
        """Return when all is written, or after so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not self._bytes, seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines)
                lines = self._lines.popleft()
                while self._lines and len(lines) + len(self._lines[0]) <= _WHOLE_BYTES:
                    lines += self._lines.popleft()
            self._put(lines)
            with self._changed:
                self._bytes -= len(lines)
                lost = self._lost if self._bytes <= self._most // 2 else 0
                self._lost -= lost
                self._changed.notify_all()
            if lost:
                self._tell_lost(lost)

    def _put(self, lines: bytes) -> None:
        left = memoryview(lines)
        while left:
            try:
                left = left[os.write(self.descriptor, left) :]
            except BlockingIOError:  # somebody else has made it one that does not block
                select.select([], [self.descriptor], [])
            except OSError:  # nobody reads it any more, or the disk is full: serving goes on
                return
