"""How many rows one call may hold, by what calls are seen to take."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from latentserve.service.sampling import memory


@pytest.mark.parametrize(("row", "fixed", "rows"), [(1, 0, 256), (10, 0, 64), (10, 40, 64), (300, 0, 2), (5000, 0, 1)])
def test_as_many_rows_as_fit(monkeypatch: pytest.MonkeyPatch, row: int, fixed: int, rows: int) -> None:
    """Of an arena that keeps the largest batch, and something that is taken once."""
    held, called = 1000, []

    def run(size: int) -> None:
        nonlocal held
        called.append(size)
        held = max(held, 1000 + fixed + row * size)

    monkeypatch.setattr(memory, "held_bytes", lambda: held)
    assert memory.rows_that_fit(run, 256, within=1000) == rows
    assert max(called) <= rows
    assert rows == 1 or row * rows + fixed <= 1000 or rows == 256


@pytest.mark.parametrize(("each", "rows"), [(0.0, 256), (0.5, 4), (0.24, 8), (1.1, 1), (1.9, 1), (30.0, 1)])
def test_as_many_rows_as_there_is_time_for(monkeypatch: pytest.MonkeyPatch, each: float, rows: int) -> None:
    """Seconds of a call, by a clock that calls move."""
    now, called = 0.0, []

    def run(size: int) -> None:
        nonlocal now
        called.append(size)
        now += each * size

    monkeypatch.setattr(memory, "held_bytes", lambda: 1000)
    monkeypatch.setattr(memory.time, "perf_counter", lambda: now)
    assert memory.rows_that_fit(run, 256, within=1 << 30, seconds=2) == rows
    assert each * max(called) <= max(2, each)


def test_memory_is_counted() -> None:
    """What the tests before left behind may be given back in between."""
    gc.collect()
    before = memory.held_bytes()
    block = np.ones(256 << 20, np.uint8)
    assert memory.held_bytes() - before > 128 << 20
    del block


@pytest.mark.parametrize("limit", [None, 1, 3, 7, 8])
def test_in_turns(limit: int | None) -> None:
    sizes = []

    def run(feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        sizes.append(len(feed["a"]))
        return [feed["a"] + feed["b"], feed["b"]]

    a, b = np.arange(7), np.arange(7) * 10
    made = memory.in_turns(run, {"a": a, "b": b}, limit)
    assert np.array_equal(made[0], a + b)
    assert np.array_equal(made[1], b)
    assert max(sizes) <= (limit or 7)
