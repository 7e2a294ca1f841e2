"""Connections are balanced, once, and what is balanced is left alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from latentserve.service.host.balance import fewest, surplus

LOADS = st.lists(st.integers(0, 20_000), min_size=1, max_size=8).map(lambda loads: dict(enumerate(loads)))


@given(LOADS)
def test_what_was_moved_once_is_not_moved_again(loads: dict[int, int]) -> None:
    given_up = surplus(loads)
    after = {worker: load - given_up.get(worker, 0) for worker, load in loads.items()}
    for _ in range(sum(given_up.values())):
        least = fewest(after)
        assert least is not None
        after[least] += 1
    assert sum(after.values()) == sum(loads.values())
    assert surplus(after) == {}
    assert not given_up or max(after.values()) - min(after.values()) <= 1


def test_sixteen_connections_are_shared_to_the_last_one() -> None:
    assert surplus({"a": 16, "b": 0}) == {"a": 8}
    assert surplus({"a": 9, "b": 7}) == {"a": 1}
    assert surplus({"a": 8, "b": 9}) == {}


def test_without_workers_there_is_nothing_to_do() -> None:
    assert surplus({}) == {}
    assert fewest({}) is None
