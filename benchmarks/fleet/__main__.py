"""Alerts measured on a fleet: a healthy day, every fault on one of four replicas, and traffic split over eight.

    python -m benchmarks.fleet BUNDLE [--parts day faults split] [--faster 60] [--repetitions 4]

Servers, Prometheus and Alertmanager are processes on this machine, with the rules of `deploy`, all of whose times are
divided by `faster`; alerts count when the webhook is told. BUNDLE needs labels: `make demo` exports such a one to
demo/bundle. Written to benchmarks/results/fleet.json and .md; parts that are not measured stay as they are there.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.drift.faults import CASES
from benchmarks.fleet.day import healthy_day
from benchmarks.fleet.fleet import fleet
from benchmarks.fleet.prometheus import Rules, write_rules
from benchmarks.fleet.report import report
from benchmarks.fleet.split import SPLIT_CASES, detections
from benchmarks.fleet.trials import trials
from benchmarks.machine import describe_machine

_RESULTS = Path(__file__).parents[1] / "results"
_PARTS = ("day", "faults", "split")
# `rate`: requests a second to a replica, and of the split to all of them; `rows`: of one request.
_FLEET: dict[str, Any] = {"replicas": 4, "workers": 2, "rate": 4.0, "rows": 100}
_SPLIT: dict[str, Any] = {"replicas": 8, "workers": 1, "rate": 16.0, "rows": 50}
_PATIENCE = 180.0


def main() -> None:
    """Measure, and write JSON and a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=_PARTS)
    parser.add_argument("--faster", type=float, default=60.0, help="of the healthy day")
    parser.add_argument("--faults-faster", type=float, default=15.0, help="of faults and the split")
    parser.add_argument("--days", type=float, default=1.0)
    parser.add_argument("--repetitions", type=int, default=4, help="of each fault; twice as many of the split")
    parser.add_argument("--out", type=Path, default=_RESULTS / "fleet")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what runs is stopped like on ^C
    file = given.out.with_suffix(".json")
    results: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    for part in given.parts:
        with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
            results[part] = {"machine": describe_machine(), **_measure(part, Path(folder), given)}
        file.write_text(json.dumps(results, indent=1) + "\n")
        given.out.with_suffix(".md").write_text(report(results))
    print(report(results))


def _measure(part: str, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    faster = given.faster if part == "day" else given.faults_faster
    rules = write_rules(folder / "deploy", faster)
    bundle = given.bundle.resolve()
    if part == "split":
        return {"faster": faster, **_SPLIT, "found": _split(bundle, folder, rules, 2 * given.repetitions)}
    with fleet(folder / "fleet", bundle, **_FLEET) as running:
        if part == "day":
            found: Any = healthy_day(running, rules, faster, _FLEET["rate"], given.days)
        else:
            found = trials(running, rules, given.repetitions, _PATIENCE)
    return {"faster": faster, **_FLEET, "found": found}


def _split(bundle: Path, folder: Path, rules: Rules, repetitions: int) -> list[dict[str, Any]]:
    found = []
    for name in SPLIT_CASES:
        served, fault = bundle, CASES[name].fault
        if fault is not None:
            served = folder / "faulty"
            fault(bundle, served, np.random.default_rng(1))
        with fleet(folder / name, served, **{**_SPLIT, "rate": 0.0}) as running:
            found += detections(running, rules, name, _SPLIT["rate"], repetitions, _PATIENCE)
    return found


if __name__ == "__main__":
    main()
