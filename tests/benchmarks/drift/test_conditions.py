"""The benchmark of conditions, in its short form: clean traffic of any mix is not unknown, and a fault under it is."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.drift.conditions import right
from benchmarks.drift.faults import CONDITION_CASES
from benchmarks.runner import main

NAMES = ["another mix, of some rows and some conditions", "mode dropped, whole, another mix"]


def test_what_is_asked_for_is_told_from_what_the_generator_does(tmp_path: Path) -> None:
    out = tmp_path / "conditions"
    given = ["--repetitions", "1", "--rows", "20000", "--reference", "60000", "--out", str(out), "--cases", *NAMES]
    main(["conditions", *given])
    trials = json.loads(out.with_suffix(".json").read_text())["trials"]
    assert [(one["labels"], one["case"]) for one in trials] == [(of, name) for of in (False, True) for name in NAMES]
    for one in trials:
        assert right(one), one
        assert one["expected"] == CONDITION_CASES[one["case"]].cause
    assert 0 < trials[1]["control"] <= 1000
    page = out.with_suffix(".md").read_text()
    assert "`unknown` in clean traffic: 0 of 2 trials" in page


def test_another_cause_on_the_way_is_not_right() -> None:
    clean = {"expected": "condition_mix", "cause": "condition_mix", "named": ["none", "condition_mix"]}
    assert right(clean)
    assert not right({**clean, "named": ["unknown", "condition_mix"]})
    assert right({"expected": "unknown", "cause": "unknown", "named": ["condition_mix", "unknown"]})
    assert not right({"expected": "none", "cause": "none", "named": ["none", "condition_mix", "none"]})
