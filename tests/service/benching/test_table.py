"""The table of measurements, and their records."""

from __future__ import annotations

import json
import math

from latentserve.service.benching.load import Load
from latentserve.service.benching.measure import Case, Measurement
from latentserve.service.benching.table import record, table

LOAD = Load(answers=2469, failed=1, seconds=2.0, p50_ms=0.456, p99_ms=12.34, megabytes=1.0, client_cpu=0.5)
NOTHING = Load(answers=0, failed=3, seconds=0.0, p50_ms=math.nan, p99_ms=math.nan, megabytes=0.0, client_cpu=0.0)


def test_a_table() -> None:
    measured = [
        Measurement(Case(1, 32), LOAD, engine=2000.0),
        Measurement(Case(64, 4), NOTHING, engine=2000.0),
        Measurement(Case(1, None), LOAD, rate=2.5, engine=1e6),
    ]
    assert table(measured).splitlines() == [
        "requests              connections  requests/s  samples/s  over the engine  p50 ms  p99 ms  failed",
        "1 row                          32       1,234      1,234             0.62    0.46    12.3       1",
        "64 rows                         4           0          0                0       -       -       3",
        "1 row, 2.5/s offered          any       1,234      1,234           0.0012    0.46    12.3       1",
    ]


def test_without_an_engine_there_is_no_column_of_it() -> None:
    lines = table([Measurement(Case(64, 4), LOAD)]).splitlines()
    assert lines[0].split("  ") == ["requests", "connections", "requests/s", "samples/s", "p50 ms", "p99 ms", "failed"]
    assert lines[1].split() == ["64", "rows", "4", "1,234", "79,008", "0.46", "12.3", "1"]


def test_a_record_is_json() -> None:
    figures = record(Measurement(Case(64, 4), LOAD, engine=50.0))
    assert figures["loop"] == "closed"
    assert figures["rows"] == 64
    assert figures["samples_per_second"] == 64 * 1234.5
    assert figures["over_engine"] == 64 * 1234.5 / 50
    empty = record(Measurement(Case(1, None), NOTHING, rate=10.0))
    assert (empty["loop"], empty["offered_per_second"], empty["p50_ms"]) == ("open", 10.0, None)
    json.dumps([figures, empty], allow_nan=False)
