"""The benchmark of causes, in its short form: what is right and what is wrong is told apart."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.drift.causes import report, right
from benchmarks.drift.faults import CASES
from benchmarks.runner import main
from tests.conftest import make_bundle

NAMES = ["clean, by seed", "zeroed channel", "one latent repeated", "another label mix"]


def test_each_kind_of_cause_is_named(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "toy", reference_samples=20_000)
    out = tmp_path / "causes"
    main(["causes", str(bundle), "--repetitions", "1", "--rows", "10000", "--out", str(out), "--cases", *NAMES])
    trials = json.loads(out.with_suffix(".json").read_text())["trials"]
    assert [one["case"] for one in trials] == NAMES
    for one in trials:
        assert right(one), one
        assert one["expected"] == CASES[one["case"]].cause
    assert trials[1]["rows"] == 0  # probes find it before the first request
    assert 0 < trials[3]["rows"] <= 10_000
    table = out.with_suffix(".md").read_text()
    assert "| clean, by seed | none | 100% |" in table
    assert "Overall 100.0 % of 4." in table


def test_another_cause_on_the_way_is_not_right() -> None:
    clean = {"expected": "none", "cause": "none", "named": ["none"]}
    assert right(clean)
    assert not right({**clean, "named": ["none", "label_mix"]})
    assert not right({**clean, "cause": "label_mix"})
    assert right({"expected": "unknown", "cause": "unknown", "named": ["none", "unknown"]})
    assert "| clean | none | 0% |  | label_mix |" in "\n".join(
        report(
            {
                "bundle": "toy",
                "repetitions": 1,
                "rows": 500,
                "minutes": 0.1,
                "trials": [{"case": "clean", **clean, "cause": "label_mix", "rows": None}],
            }
        )
    )
