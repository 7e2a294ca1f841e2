"""The workers: each start has a number of its own, and what one says counts as long as it lives."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from latentserve.service.watching.workers import Notes, count_start


def test_starts_are_counted_once_each(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(count_start, [tmp_path] * 200))
    assert sorted(found) == list(range(1, 201))
    assert count_start(tmp_path) == 201


def test_another_folder_is_another_server(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert [count_start(tmp_path), count_start(tmp_path), count_start(tmp_path / "other")] == [1, 2, 1]


def test_notes_are_of_workers_that_live(tmp_path: Path) -> None:
    notes, others = Notes(tmp_path, "probes"), Notes(tmp_path, "files")
    assert notes.read() == []
    notes.write("something is off")
    assert notes.read() == ["something is off"]
    assert others.read() == []
    # One that has ended; and one whose number another process, this one, has by now.
    for left in ("probes-4194400-77", f"probes-{os.getpid()}-1", f"probes-{os.getpid()}-1.99"):
        (tmp_path / left).write_text("long ago")
    assert notes.read() == ["something is off"]
    notes.write(None)
    assert list(tmp_path.iterdir()) == []
