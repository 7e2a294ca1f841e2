"""Medians, ratios within repetitions, and the rows of the report."""

from __future__ import annotations

from benchmarks.figures import Figure, figure, ratio, select, values
from benchmarks.serving.tables import how_well

RECORDS = [
    {"repetition": repetition, "server": server, "requests_per_second": rate}
    for server, rates in {"ours": (100.0, 300.0, 220.0), "theirs": (50.0, 100.0)}.items()
    for repetition, rate in enumerate(rates)
]


def test_figures_are_medians_with_their_range() -> None:
    assert figure([3.0, 1.0, 2.0]) == Figure(2.0, 1.0, 3.0)
    assert figure([]) is None
    assert str(Figure(0.9512, 0.9, 1.0)) == "0.951 [0.9-1]"
    assert str(Figure(1234.5, 1000.0, 2000.0)) == "1,234 [1,000-2,000]"
    assert str(Figure(2.0, 2.0, 2.0)) == "2"


def test_ratios_are_within_a_repetition() -> None:
    ours, theirs = (values(select(RECORDS, server=name), "requests_per_second") for name in ("ours", "theirs"))
    assert ratio(ours, theirs) == Figure(2.5, 2.0, 3.0)  # the third repetition has one of them only
    assert ratio(ours, {}) is None


def test_the_promises() -> None:
    case = {"generator": "28x28", "loop": "closed", "answer": "float32", "rows": 1, "connections": 32}
    measured = {"requests_per_second": 900.0, "samples_per_second": 900.0, "engine_samples_per_second": 1000.0}
    rows = how_well([{"repetition": 0, "server": "latentserve", **case, **measured}])
    assert len(rows) == 9
    assert rows[0].split(" | ")[1:] == ["0.9", "0.80", "0.95 |"]
    assert rows[1].split(" | ")[1].count("not measured") == 5
