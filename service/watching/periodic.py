"""Periodic tasks, on a thread of their own: none ever holds a request up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from latentserve.service.errors import is_shortage, one_line

log = logging.getLogger(__name__)


Task = tuple[str, float, Callable[[], object]]


class PeriodicTasks:
    """What is to be done for a model again and again while it serves, in each worker.

    Args:
        tasks: what is done, by name, and after how many seconds again.
        failed: told the name of a task that failed, each time. The log is told once, until it fails in another way or
            is done again.
    """

    def __init__(self, tasks: Sequence[Task], failed: Callable[[str], object]) -> None:
        self._tasks = tasks
        self._failed = failed
        self._faults: dict[str, str] = {}
        self._due: list[float] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="periodic", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread; the first round of each task comes after its time."""
        now = time.monotonic()  # a clock that is set, or jumps, changes nothing
        self._due = [now + seconds for _, seconds, _ in self._tasks]
        self._thread.start()

    def stop(self) -> None:
        """End the thread, after what it is at."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _loop(self) -> None:
        while not self._stopping.wait(max(0.0, min(self._due) - time.monotonic())):
            for index, (name, seconds, task) in enumerate(self._tasks):
                if time.monotonic() >= self._due[index]:
                    self._attempt(name, task)
                    self._due[index] = time.monotonic() + seconds

    def _attempt(self, name: str, task: Callable[[], object]) -> None:
        try:
            task()
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
            if fault != self._faults.get(name):
                said = "a round of %s failed (%s); the server goes on, and tries again"
                log.error(said, name, one_line(error), exc_info=not is_shortage(error))
            self._faults[name] = fault
            self._failed(name)
        else:
            if self._faults.pop(name, None):
                log.warning("a round of %s succeeded again", name)
