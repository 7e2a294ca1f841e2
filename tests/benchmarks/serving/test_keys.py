"""The benchmarks of keys and of the account, in their shortest form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.runner import main
from benchmarks.serving import audit


@pytest.mark.full
def test_what_keys_cost_and_let_through(tmp_path: Path) -> None:
    out = tmp_path / "keys"
    main(["keys", "--short", "--out", str(out)])
    found = json.loads(out.with_suffix(".json").read_text())
    assert len(found["cost"]) == 6
    assert all(record["microseconds"] > 0 and not record["failed"] for record in found["cost"])
    assert len(found["tries"]) == 6
    assert not any("200" in statuses for statuses in found["tries"].values())
    quota = found["quota"]
    assert 0 < quota["rows"] <= quota["rows_per_second"] * (quota["seconds"] + 2)
    assert "let through" in out.with_suffix(".md").read_text()


@pytest.mark.parametrize("places", [("middle",), pytest.param(audit._PLACES, marks=pytest.mark.full)])
def test_an_account_is_written_and_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, places: tuple[str, ...]
) -> None:
    monkeypatch.setattr(audit, "_PLACES", places)
    out = tmp_path / "audit"
    main(["audit", "--lines", "3000", "--out", str(out)])
    found = json.loads(out.with_suffix(".json").read_text())
    assert len(found["found"]) == 4 * len(places)
    assert "3,000 lines" in out.with_suffix(".md").read_text()
