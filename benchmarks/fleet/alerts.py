"""Alerts measured on a fleet: a healthy day, every fault on one of four replicas, and traffic split over eight.

    python -m benchmarks fleet BUNDLE [--parts day faults split] [--faster 60] [--repetitions 4]

Servers, Prometheus and Alertmanager are processes on this machine, with the rules of `deploy`, all of whose times are
divided by `faster`; alerts count when the webhook is told. BUNDLE needs labels: `make demo` exports such a one to
demo/bundle. Parts that are not measured stay as they were.
"""

from __future__ import annotations

import argparse
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
from benchmarks.runner import Results

__all__ = ["RESUMES", "TITLE", "measure", "options", "report"]

TITLE = "Alerts on a fleet"
RESUMES = True

_PARTS = ("day", "faults", "split")
# `rate`: requests a second to a replica, and of the split to all of them; `rows`: of one request.
_FLEET: dict[str, Any] = {"replicas": 4, "workers": 2, "rate": 4.0, "rows": 100}
_SPLIT: dict[str, Any] = {"replicas": 8, "workers": 1, "rate": 16.0, "rows": 50}
_PATIENCE = 180.0


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=_PARTS)
    parser.add_argument("--faster", type=float, default=60.0, help="of the healthy day")
    parser.add_argument("--faults-faster", type=float, default=15.0, help="of faults and the split")
    parser.add_argument("--days", type=float, default=1.0)
    parser.add_argument("--repetitions", type=int, default=4, help="of each fault; twice as many of the split")


def measure(given: argparse.Namespace, results: Results) -> None:
    """The parts that are asked for."""
    for part in given.parts:
        with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
            results[part] = _measure(part, Path(folder), given)
        results.save()


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
