"""The benchmark of the page, at its shortest, and its pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.runner import main
from tests.browser import find_chromium


@pytest.mark.full
def test_page(tmp_path: Path) -> None:
    try:
        find_chromium()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    out = tmp_path / "page"
    main(["page", "--short", "--pictures", str(tmp_path / "pictures"), "--out", str(out)])
    records = json.loads(out.with_suffix(".json").read_text())["records"]
    assert [record["of"] for record in records] == ["first", "frames", "idle", "tabs"]
    assert records[0]["seconds"] > 0
    assert records[1]["median_ms"] > 1
    assert "first sample after navigation" in out.with_suffix(".md").read_text()
    assert {file.name for file in (tmp_path / "pictures").iterdir()} == {
        *(f"{page}-{scheme}.png" for page in ("playground", "model", "health") for scheme in ("light", "dark")),
        "interpolation-light.png",
        "phone-light.png",
    }
