"""Alarms: the first start and the first signal stay until the alarm clears, whatever comes in between."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from latentserve.service.watching.alarm import CALM, Alarm, kept, raised

Block = tuple[int, int | None]  # its rows; how many rows ago the drift began, where the threshold is reached


@given(st.lists(st.tuples(st.integers(1, 500), st.one_of(st.none(), st.integers(1, 3000))), max_size=60))
def test_an_alarm_keeps_its_start_until_it_clears(blocks: list[Block]) -> None:
    alarm: Alarm | None = None
    rows = 0
    for index, (size, took) in enumerate(blocks):
        rows += size
        before = alarm
        if took is None:
            alarm = kept(before, rows)
            assert (alarm is None) == (before is None or rows >= before.clears)
            assert alarm in (None, before)
            continue
        began = max(0, rows - took)
        alarm = raised(before, rows, began, arm=index % 3, signal=index)
        assert alarm.rows == rows
        assert alarm.clears >= rows + CALM * (rows - began)
        if before is None:
            assert (alarm.began, alarm.arm, alarm.signal, alarm.again) == (began, index % 3, index, 0)
        else:
            assert (alarm.began, alarm.arm, alarm.signal) == (before.began, before.arm, before.signal)
            assert alarm.again == before.again + 1
            assert alarm.clears >= before.clears
