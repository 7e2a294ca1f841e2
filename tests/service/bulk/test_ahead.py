"""What is made on another thread comes in order, and so do its errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from latentserve.service.bulk.ahead import Ahead


def test_items_come_in_order_and_the_error_in_its_place():
    def items() -> Iterator[int]:
        yield from range(100)
        raise KeyError("after a hundred")

    seen = []

    def take(ahead: Ahead[int]) -> None:
        for item in ahead:
            seen.append(item)  # noqa: PERF402, what came before the error counts

    with closing(Ahead(items())) as ahead, pytest.raises(KeyError, match="after a hundred"):
        take(ahead)
    assert seen == list(range(100))
    with closing(Ahead(range(100))) as whole:
        assert list(whole) == list(range(100))


def test_a_thread_ends_when_nobody_wants_more():
    before = threading.active_count()
    with closing(Ahead(iter(int, 1))) as ahead:
        assert next(iter(ahead)) == 0
    assert threading.active_count() == before
