"""The benchmark of order: its yardstick, and, in the long form, its shortest run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.runner import main
from benchmarks.serving.order import over_best


def test_the_best_order_is_one_after_the_other() -> None:
    assert over_best([1.0, 2.0, 3.0, 4.0]) == pytest.approx(1.0)
    assert over_best([4.0, 4.0, 4.0, 4.0]) == pytest.approx(1.6)
    assert over_best([3.0]) == pytest.approx(1.0)


@pytest.mark.full
def test_order(tmp_path: Path) -> None:
    """Everything is answered, and in order."""
    out = tmp_path / "order"
    main(["order", "--short", "--out", str(out)])
    (found,) = json.loads(out.with_suffix(".json").read_text())["records"]
    assert found["equal_ended"] == {"200": 100}
    assert found["streams_ended"] == {"200": 70}
    assert set(found["small_ended"]) == {"200"}
    assert found["beside_ended"] == "200"
    assert "100 of 64 rows" in out.with_suffix(".md").read_text()
