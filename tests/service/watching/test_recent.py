"""Counters of late: a span at least, and no older than it must be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentserve.service.watching.recent import RecentCounts

SPAN = 100
Steps = st.lists(st.tuples(st.integers(0, 300), st.floats(0, 1)), max_size=20)


@given(steps=Steps, stop=st.integers(0, 20))
def test_it_is_a_span_at_least_and_no_older_than_it_must_be(steps: list[tuple[int, float]], stop: int) -> None:
    recent = RecentCounts(SPAN)
    seen = [(0, 0)]
    for step, (new, share) in enumerate(steps):
        if step == stop:
            text, recent = recent.to_json(), RecentCounts(SPAN)
            assert recent.restore(text)
        rows, hits = seen[-1]
        seen.append((rows + new, hits + int(share * new)))
        recent.note(*seen[-1])
        found = recent.since(*seen[-1])
        assert found in [(seen[-1][0] - then, seen[-1][1] - again) for then, again in seen]
        assert found[0] >= min(SPAN, seen[-1][0])
        assert found[0] <= 2 * SPAN + 2 * max(new for new, _ in steps[: step + 1])


def test_it_begins_anew_where_counters_fell() -> None:
    recent = RecentCounts(SPAN)
    recent.note(500, 400)
    recent.note(20, 3)
    assert recent.since(30, 3) == (10, 0)


@pytest.mark.parametrize("text", ["", "{", "null", "3", "[]", "[[1, 2]]", "[[1], [2]]", '[["a", 1], [2, 3]]'])
def test_a_damaged_state_changes_nothing(text: str) -> None:
    recent = RecentCounts(SPAN)
    recent.note(500, 400)
    assert not recent.restore(text)
    assert recent.since(600, 400) == (600, 400)


@pytest.mark.parametrize("step", [1, 7, 99, 100])
def test_it_says_when_it_forgets(step: int) -> None:
    recent = RecentCounts(SPAN)
    rows = 0
    while rows < 250:
        rows += step
        recent.note(rows, 0)
    recent.note(rows, 3)
    while recent.since(rows, 3)[1]:
        forgotten = recent.forgotten_at(3)
        assert rows < forgotten
        rows += step
        recent.note(rows, 3)
    assert forgotten <= rows < forgotten + step
