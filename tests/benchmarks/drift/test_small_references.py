"""Untouched bundles with small references: neither `drift` nor a server's watch names a cause."""

from __future__ import annotations

import pytest

from benchmarks.drift.small_references import KINDS, report, run


@pytest.mark.parametrize(
    ("generators", "rows"),
    [(range(2, 5, 2), 5000), pytest.param(range(len(KINDS)), 20_000, marks=pytest.mark.full)],
    ids=["some", "all"],
)
def test_no_untouched_bundle_has_drifted(generators: range, rows: int) -> None:
    trials = list(run(generators, (300,), rows))
    assert [(one["judge"], one["named"]) for one in trials] == len(generators) * [("drift", []), ("server", [])]
    assert max(max(one["log_evidence"].values()) for one in trials) < 15
    assert list(report({"trials": trials}))[-1] == f"0 alarms of {len(trials)}."
