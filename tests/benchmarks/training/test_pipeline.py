import argparse
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs latentserve[training]")

from benchmarks.machine import describe_machine
from benchmarks.runner import Results
from benchmarks.training import pipeline


@pytest.mark.full
@pytest.mark.timeout(900)
def test_each_part_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "IMAGES", 640)
    monkeypatch.setattr(pipeline, "FEW", 100)
    monkeypatch.setattr(pipeline, "CASES", {"3x32x32": (32, 3, 1_200)})
    results = Results(pipeline, tmp_path / "pipeline", {"machine": describe_machine()})
    given = argparse.Namespace(short=True, only=pipeline.PARTS)
    pipeline.measure(given, results)
    assert results["speed"]["images"] == 80
    assert results["start"]["kept_s"] > 0
    assert [one["task"] for one in results["memory"]] == list(pipeline.TASKS)
    assert all(one["peak_bytes"] > 1e8 for one in results["memory"])
    page = (tmp_path / "pipeline.md").read_text()
    assert "| 3x32x32 | 120 | watch | " in page
    del results["memory"][1]
    monkeypatch.setattr(pipeline, "speed_of", None)  # what is there is not done again
    monkeypatch.setattr(pipeline, "start_of", None)
    pipeline.measure(given, results)
    assert [one["task"] for one in results["memory"]] == ["watch", "export", "evaluate"]
