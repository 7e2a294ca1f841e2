"""Periodic tasks: they go on whatever one of them does and whatever the clock shows, and end when they are stopped."""

from __future__ import annotations

import itertools
import logging
import threading
import time

import pytest

from latentserve.service.watching.periodic import PeriodicTasks

OFTEN, NEVER = 0.005, 3600.0
FAILED: list[str] = []
PATIENCE = 20.0


class Task:
    """Counts its calls; `done` is set at the fifth."""

    def __init__(self, *, raises: bool = False, number: int | None = None) -> None:
        self.calls = 0
        self.done = threading.Event()
        self.threads: set[str] = set()
        self._raises, self._number = raises, number

    def __call__(self) -> None:
        self.calls += 1
        self.threads.add(threading.current_thread().name)
        if self.calls >= 5:
            self.done.set()
        if self._raises:
            raise RuntimeError(f"failure {self._number or self.calls}")


def test_each_task_has_its_time() -> None:
    often, never = Task(), Task()
    watch = PeriodicTasks([("never", NEVER, never), ("often", OFTEN, often)], FAILED.append)
    watch.start()
    assert often.done.wait(PATIENCE)
    watch.stop()
    assert never.calls == 0
    assert often.threads == {"periodic"}


def test_a_task_that_raises_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It is counted each time, and logged where its reason is another."""
    broken, same, sound = Task(raises=True), Task(raises=True, number=1), Task()
    failed: list[str] = []
    tasks = PeriodicTasks([("broken", OFTEN, broken), ("same", OFTEN, same), ("sound", OFTEN, sound)], failed.append)
    with caplog.at_level(logging.ERROR):
        tasks.start()
        for task in (broken, same, sound):
            assert task.done.wait(PATIENCE)
        tasks.stop()
    assert failed.count("broken") == broken.calls
    assert failed.count("same") == same.calls
    assert "sound" not in failed
    messages = [record.getMessage() for record in caplog.records]
    assert sum("a round of broken failed" in message for message in messages) == broken.calls
    assert sum("a round of same failed" in message for message in messages) == 1
    assert "failure 1" in caplog.text


def test_what_succeeds_again_is_said(caplog: pytest.LogCaptureFixture) -> None:
    outcomes = itertools.chain([True, True, False, False, True], itertools.repeat(False))
    done = threading.Event()
    calls = itertools.count()

    def task() -> None:
        if next(calls) == 8:
            done.set()
        if next(outcomes):
            raise OSError("no space left")

    tasks = PeriodicTasks([("task", OFTEN, task)], FAILED.append)
    with caplog.at_level(logging.WARNING):
        tasks.start()
        assert done.wait(PATIENCE)
        tasks.stop()
    said = ["failed" in record.getMessage() for record in caplog.records]
    assert said == [True, False, True, False]


def test_it_stops_though_nothing_is_due() -> None:
    task = Task()
    watch = PeriodicTasks([("task", NEVER, task)], FAILED.append)
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

    watch = PeriodicTasks([("task", OFTEN, task)], FAILED.append)
    watch.start()
    assert began.wait(PATIENCE)
    stopping = threading.Thread(target=watch.stop)
    stopping.start()
    may_end.set()
    stopping.join(PATIENCE)
    assert ended.is_set()
    assert not watch._thread.is_alive()


def test_it_can_be_stopped_without_a_start() -> None:
    PeriodicTasks([("task", OFTEN, Task())], FAILED.append).stop()


def test_a_clock_that_jumps_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set back and forward by decades, and once to before all clocks."""
    times = itertools.cycle([0.0, 2e9, -1.0, 1e18])
    monkeypatch.setattr(time, "time", lambda: next(times))
    monkeypatch.setattr(time, "time_ns", lambda: int(next(times)))
    often, never = Task(), Task()
    watch = PeriodicTasks([("often", OFTEN, often), ("never", NEVER, never)], FAILED.append)
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

    watch = PeriodicTasks([("task", 60.0, task)], FAILED.append)
    watch._stopping = Stopping()
    watch._due = [60.0]
    watch._loop()
    assert called == [60.0, 1120.0, 2180.0]
