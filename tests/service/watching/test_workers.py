"""The workers' starts: each has a number of its own, whoever else starts at the same time."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from latentserve.service.watching.workers import count_start


def test_starts_are_counted_once_each(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(count_start, [tmp_path] * 200))
    assert sorted(found) == list(range(1, 201))
    assert count_start(tmp_path) == 201


def test_another_folder_is_another_server(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert [count_start(tmp_path), count_start(tmp_path), count_start(tmp_path / "other")] == [1, 2, 1]
