"""The benchmark of watching, in its shortest form: both sides are measured, and the one that watches has series."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.serving import monitoring


def test_both_sides_are_measured(bundle: Path) -> None:
    results = monitoring.compare(bundle, rounds=1, seconds=0.3)
    records = results["records"]
    assert isinstance(records, list)
    assert len(records) == 4
    assert all(record["rows_per_second"] > 0 for record in records)
    assert "ratio" in monitoring.report(results)
    json.dumps(results)
