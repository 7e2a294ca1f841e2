"""What is kept for clients: a limit, and room in it for small answers whatever large ones wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentserve.service.errors import QueueFullError
from latentserve.service.sampling.unsent import Share, Unsent

LIMIT = 1 << 20


def test_large_ones_leave_room_for_small_ones() -> None:
    unsent = Unsent(LIMIT)
    unsent.take(LIMIT // 2)
    unsent.take(LIMIT // 4)
    with pytest.raises(QueueFullError, match="786432 bytes wait") as caught:
        unsent.take(LIMIT // 100)
    assert caught.value.retry_after == 1
    for _ in range(64):
        unsent.take(LIMIT // 256)
    with pytest.raises(QueueFullError):
        unsent.take(1)


def test_what_is_ahead_of_its_reader_leaves_half() -> None:
    unsent = Unsent(LIMIT)
    unsent.take(LIMIT // 2)
    with pytest.raises(QueueFullError):
        unsent.take(1, ahead=True)
    unsent.take(1)


def test_who_is_alone_may_take_any_number() -> None:
    unsent = Unsent(LIMIT)
    share = Share(unsent)
    for _ in range(3):
        share.take(LIMIT)
    with pytest.raises(QueueFullError):
        unsent.take(1)
    share.give()
    assert (share.held, unsent.used) == (0, 0)


@given(takes=st.lists(st.tuples(st.integers(0, 4), st.integers(0, LIMIT // 4)), max_size=60))
def test_it_never_holds_more_than_the_limit_and_gives_all_back(takes: list[tuple[int, int]]) -> None:
    unsent = Unsent(LIMIT)
    shares = [Share(unsent) for _ in range(5)]
    for place, size in takes:
        try:
            shares[place].take(size)
        except QueueFullError:
            shares[place].give()
        assert unsent.used == sum(share.held for share in shares)
        alone = sum(share.held > 0 for share in shares) <= 1
        assert alone or unsent.used <= LIMIT + max(share.held for share in shares)
    for share in shares:
        share.give()
    assert unsent.used == 0
