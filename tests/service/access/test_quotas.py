"""Rows a second and rows in flight, of processes that count in one table."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from latentserve.service.access import quotas
from latentserve.service.access.keys import Key, new_key
from latentserve.service.access.quotas import Quota
from latentserve.service.access.usage_table import UsageTable, UsageTableError, open_table
from latentserve.service.errors import QuotaError, TooLargeError


class Clock:
    """A time that passes when it is told to."""

    now = 1000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(quotas, "time", clock)
    return clock


def key_of(**given: Any) -> Key:
    return new_key("one", ("sample",), **given)[1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.usage"


def test_a_second_of_rows_may_be_had_at_once_and_then_as_time_passes(path: Path, clock: Clock):
    key = key_of(rows_per_second=100)
    one, other = Quota(key, UsageTable(path)), Quota(key, UsageTable(path))
    assert one.begin(60) == 0
    with pytest.raises(QuotaError, match="100 rows a second") as caught:
        other.begin(60)
    assert caught.value.retry_after == 1
    assert other.begin(40) == 0
    assert (one.left, other.left) == (40, 0)
    clock.now += 0.25
    with pytest.raises(QuotaError):
        one.begin(26)
    assert one.begin(25) == 0
    clock.now -= 500  # a clock that is put back brings nothing, and takes nothing
    with pytest.raises(QuotaError):
        one.begin(1)
    clock.now += 0.1
    assert one.begin(10) == 0
    clock.now += 1e6
    assert other.begin(100) == 0
    with pytest.raises(QuotaError):
        one.begin(1)


def test_a_large_request_pays_as_it_goes(path: Path, clock: Clock):
    quota = Quota(key_of(rows_per_second=100), UsageTable(path))
    assert quota.begin(1000) == 1000
    assert quota._take(1000) == 100
    assert quota._take(900) == 0
    clock.now += 0.5
    assert quota._take(900) == 50
    with pytest.raises(QuotaError):
        quota.begin(1000)
    quota.end(1000)


def test_paying_waits(path: Path):
    quota = Quota(key_of(rows_per_second=200), UsageTable(path))
    began = time.monotonic()
    asyncio.run(quota.pay(240))
    assert time.monotonic() - began >= 0.19


def test_rows_in_flight_are_of_all_processes(path: Path):
    key = key_of(rows_in_flight=100)
    quota = Quota(key, UsageTable(path))
    quota.begin(70)
    script = """
import sys; from pathlib import Path
from latentserve.service.access.keys import Key
from latentserve.service.access.quotas import Quota
from latentserve.service.access.usage_table import UsageTable
quota = Quota(Key.model_validate_json(sys.argv[2]), UsageTable(Path(sys.argv[1])))
try:
    quota.begin(31)
except Exception as error:
    print(error, flush=True)
quota.begin(30)
print("begun", flush=True)
input()
"""
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(path), key.model_dump_json()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert "70 rows of this key are in flight; it may have 100" in other.stdout.readline()
    assert other.stdout.readline() == "begun\n"
    with pytest.raises(QuotaError, match="100 rows of this key are in flight"):
        quota.begin(1)
    other.kill()
    other.wait()
    other.communicate()
    quota.begin(30)  # what was under way in a process that was killed is not
    with pytest.raises(QuotaError):
        quota.begin(1)
    quota.end(70)
    quota.begin(70)
    with pytest.raises(TooLargeError, match="may have 100 in flight"):
        quota.begin(101)
    ((bucket, in_flight),) = UsageTable(path)
    assert in_flight == 100
    assert (bucket.requests, bucket.rows, bucket.refused) == (4, 200, 3)


def test_a_key_without_limits_is_counted(path: Path):
    quota = Quota(key_of(), UsageTable(path))
    assert quota.begin(10**6) == 0
    quota.end(10**6)
    assert quota.headers == []
    ((bucket, in_flight),) = UsageTable(path)
    assert (bucket.rows, in_flight) == (10**6, 0)


def test_there_is_room_for_many_keys_in_processes_that_find_each_others(path: Path):
    one, other = UsageTable(path), UsageTable(path)
    keys = [key_of(rows_per_second=10) for _ in range(300)]
    for number, key in enumerate(keys):
        Quota(key, one if number % 2 else other).begin(number % 10 + 1)
    counted = {bucket.id.rstrip(b"\0").decode(): bucket.rows for bucket, _ in one}
    assert counted == {key.id: number % 10 + 1 for number, key in enumerate(keys)}
    assert [bucket for bucket, _ in other] == [bucket for bucket, _ in one]


def test_what_is_no_table_is_left_alone_and_another_place_is_found(path: Path, tmp_path: Path):
    path.write_bytes(b"something else" * 1000)
    with pytest.raises(UsageTableError, match="no table"):
        UsageTable(path)
    table = open_table(tmp_path / "no" / "folder", tmp_path / "there")
    assert table.path == tmp_path / "there"
    assert (tmp_path / "there").stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageTableError, match="No such file"):
        open_table(tmp_path / "no" / "folder")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_two_processes_together_have_no_more_than_the_quota(path: Path):
    """Each tries as fast as it can."""
    key, rate, seconds = key_of(rows_per_second=200), 200, 2.0
    script = """
import sys, time; from pathlib import Path
from latentserve.service.access.keys import Key
from latentserve.service.access.quotas import Quota
from latentserve.service.access.usage_table import UsageTable
from latentserve.service.errors import QuotaError
quota = Quota(Key.model_validate_json(sys.argv[2]), UsageTable(Path(sys.argv[1])))
rows, end = 0, float(sys.argv[3])
while time.time() < end:
    try:
        quota.begin(3); rows += 3; quota.end(3)
    except QuotaError:
        pass
print(rows)
"""
    quota = Quota(key, UsageTable(path))
    quota.begin(rate)  # what may be had at once is had
    end = time.time() + seconds + 1
    began = time.time()
    command = [sys.executable, "-c", script, str(path), key.model_dump_json(), str(end)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    rows = sum(int(one.communicate()[0]) for one in both)
    assert rate * 0.5 < rows <= rate * (end - began) + 1
