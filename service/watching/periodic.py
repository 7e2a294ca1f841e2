"""Periodic tasks, on a thread of their own: none ever holds a request up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)


class PeriodicTasks:
    """What is to be done for a model again and again while it serves, in each worker.

    Args:
        every: what is done, and after how many seconds again.
    """

    def __init__(self, every: Sequence[tuple[float, Callable[[], object]]]) -> None:
        self._tasks = every
        self._due: list[float] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="periodic", daemon=True)

    def start(self) -> None:
        """Start the thread; the first round of each task comes after its time."""
        now = time.monotonic()  # a clock that is set, or jumps, changes nothing
        self._due = [now + seconds for seconds, _ in self._tasks]
        self._thread.start()

    def stop(self) -> None:
        """End the thread, after what it is at."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _loop(self) -> None:
        while not self._stopping.wait(max(0.0, min(self._due) - time.monotonic())):
            for index, (seconds, task) in enumerate(self._tasks):
                if time.monotonic() < self._due[index]:
                    continue
                try:
                    task()
                except Exception:
                    log.exception("a round of the watch failed; the server goes on")
                self._due[index] = time.monotonic() + seconds
