"""The watch: its rounds go on whatever a task does and whatever the clock shows, and end when it is stopped."""

from __future__ import annotations

import itertools
import logging
import threading
import time

import pytest

from latentserve.service.watching.periodic import PeriodicTasks

OFTEN, NEVER = 0.005, 3600.0
PATIENCE = 20.0


class Task:
    """Counts its calls; `done` is set at the fifth."""

    def __init__(self, *, raises: bool = False) -> None:
        self.calls = 0
        self.done = threading.Event()
        self.threads: set[str] = set()
        self._raises = raises

    def __call__(self) -> None:
        self.calls += 1
        self.threads.add(threading.current_thread().name)
        if self.calls >= 5:
            self.done.set()
        if self._raises:
            raise RuntimeError(f"failure {self.calls}")


def test_each_task_has_its_time() -> None:
    often, never = Task(), Task()
    watch = PeriodicTasks([(NEVER, never), (OFTEN, often)])
    watch.start()
    assert often.done.wait(PATIENCE)
    watch.stop()
    assert never.calls == 0
    assert often.threads == {"periodic"}


def test_a_task_that_raises_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    broken, sound = Task(raises=True), Task()
    watch = PeriodicTasks([(OFTEN, broken), (OFTEN, sound)])
    with caplog.at_level(logging.ERROR):
        watch.start()
        assert broken.done.wait(PATIENCE)
        assert sound.done.wait(PATIENCE)
        watch.stop()
    assert "failure 1" in caplog.text
    assert "a round of the watch failed" in caplog.text


def test_it_stops_though_nothing_is_due() -> None:
    task = Task()
    watch = PeriodicTasks([(NEVER, task)])
    watch.start()
    watch.stop()
    assert not watch._thread.is_alive()
    assert task.calls == 0


def test_it_stops_after_what_it_is_at() -> None:
    began, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def task() -> None:
        began.set()
        may_end.wait(PATIENCE)
        ended.set()

    watch = PeriodicTasks([(OFTEN, task)])
    watch.start()
    assert began.wait(PATIENCE)
    stopping = threading.Thread(target=watch.stop)
    stopping.start()
    may_end.set()
    stopping.join(PATIENCE)
    assert ended.is_set()
    assert not watch._thread.is_alive()


def test_it_can_be_stopped_without_a_start() -> None:
    PeriodicTasks([(OFTEN, Task())]).stop()


def test_a_clock_that_jumps_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set back and forward by decades, and once to before all clocks."""
    times = itertools.cycle([0.0, 2e9, -1.0, 1e18])
    monkeypatch.setattr(time, "time", lambda: next(times))
    monkeypatch.setattr(time, "time_ns", lambda: int(next(times)))
    often, never = Task(), Task()
    watch = PeriodicTasks([(OFTEN, often), (NEVER, never)])
    watch.start()
    assert often.done.wait(PATIENCE)
    watch.stop()
    assert never.calls == 0


def test_a_task_waits_its_time_after_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds that were missed meanwhile are not made up for, all at once."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    called: list[float] = []

    def task() -> None:
        nonlocal now
        called.append(now)
        now += 1000.0
        if len(called) == 3:
            watch._stopping.set()

    class Stopping(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            nonlocal now
            now += timeout or 0.0
            return self.is_set()

    watch = PeriodicTasks([(60.0, task)])
    watch._stopping = Stopping()
    watch._due = [60.0]
    watch._loop()
    assert called == [60.0, 1120.0, 2180.0]
