"""The evidence of the last hour: steps of a quarter of a minute, of whichever worker judges."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentserve.service.watching import history
from latentserve.service.watching.history import STEP_SECONDS, History


def test_steps_of_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(history.time, "monotonic", lambda: now)
    seen, judging = History(tmp_path / "history"), History(tmp_path / "history")
    assert seen.told() == {"seconds_ago": [], "log_evidence": {}}
    for second in range(4 * 3600):
        now = 1000.0 + second
        if second % 2 == 0:  # as the judge weighs
            judging.note({"generated": second, "labels": 0.5})
        if second == 3600:
            judging = History(tmp_path / "history")  # another worker goes on
    told = seen.told()
    assert len(told["seconds_ago"]) == 240
    assert told["seconds_ago"] == sorted(told["seconds_ago"], reverse=True)
    assert 3600 - 2 * STEP_SECONDS <= told["seconds_ago"][0] <= 3600 + 240
    assert told["seconds_ago"][-1] <= STEP_SECONDS + 1
    assert told["log_evidence"]["labels"] == [0.5] * 240
    assert told["log_evidence"]["generated"] == sorted(told["log_evidence"]["generated"])


@pytest.mark.parametrize("content", ["", "{", "[[1]]", '[["x", {}]]', "[[9e99, {}]]"])
def test_what_cannot_be_read_is_no_history(tmp_path: Path, content: str) -> None:
    """Damaged, or of before the machine started."""
    (tmp_path / "history").write_text(content)
    found = History(tmp_path / "history")
    assert found.told()["seconds_ago"] == []
    found.note({"generated": 1.0})
    assert found.told()["log_evidence"] == {"generated": [1.0]}
