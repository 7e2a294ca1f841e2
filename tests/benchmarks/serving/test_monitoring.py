"""The benchmark of watching, in its shortest form: both sides are measured, and the one that watches has series."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.runner import main


def test_both_sides_are_measured(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "monitoring"
    main(["monitoring", str(bundle), "--rounds", "1", "--seconds", "0.3", "--out", str(out)])
    records = json.loads(out.with_suffix(".json").read_text())["records"]
    assert len(records) == 4
    assert all(record["rows_per_second"] > 0 for record in records)
    assert "ratio" in out.with_suffix(".md").read_text()
