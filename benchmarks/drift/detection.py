"""How long until a detector sees that samples changed, at equal rates of false alarms.

    python -m benchmarks detection [--short] [--bundle BUNDLE] [--only PART ...]

Four comparisons: the run length our evidence promises and keeps; one signal's delay over the CUSUM that is told the
size of the shift; joint features' delay over alibi-detect's online MMD; one signal's delay over river's detectors. Ours
runs as it ships, with a reference of its own for each stream; the others are calibrated on streams without drift. The
bundle is of a labelled generator with a critic (default: the digits recipe, trained for the run). alibi-detect and
river get environments of their own in benchmarks/.venvs. With --only the other parts stay as they were measured.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.commands import latentserve
from benchmarks.drift.detection_tables import report
from benchmarks.drift.detectors.joint_features import beside_mmd
from benchmarks.drift.detectors.one_signal import beside_cusum, beside_river, run_lengths
from benchmarks.drift.detectors.records import Plan, Record
from benchmarks.environments import AbsentError, versions
from benchmarks.runner import Results

__all__ = ["RESUMES", "SHORT", "TITLE", "measure", "options", "report"]

TITLE = "Detection benchmark"
SHORT = RESUMES = True

_PARTS = ("run lengths", "CUSUM", "river", "alibi-detect")
_ENVIRONMENTS = {"river": "river", "alibi-detect": "alibi"}
QUICK = Plan(streams=100, beside=40, long=False, windows=(50,), mmd_rows=500, bootstraps=2000)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, help="of a generator with ten labels and a critic")
    parser.add_argument("--only", nargs="+", choices=_PARTS, default=_PARTS, help="these parts only", metavar="PART")


def measure(given: argparse.Namespace, results: Results) -> None:
    """The parts that are asked for."""
    plan = QUICK if given.short else Plan()
    results["plan"] = asdict(plan)
    with tempfile.TemporaryDirectory(prefix="detection-") as scratch:
        for name in given.only:
            results.setdefault("parts", {})[name] = _part(name, plan, given.bundle, Path(scratch))
            results.save()


def _part(name: str, plan: Plan, bundle: Path | None, scratch: Path) -> dict[str, Any]:
    """One comparison: its records, and how it was made."""
    began = time.monotonic()
    records: list[Record] = []
    found: dict[str, Any] = {"records": records}
    try:
        for record in _records(name, plan, bundle, scratch):
            records.append(record)
            print(record, flush=True)
        if name in _ENVIRONMENTS:
            found["versions"] = versions(_ENVIRONMENTS[name])
    except AbsentError as error:
        found["absent"] = str(error)
    return found | {"minutes": round((time.monotonic() - began) / 60, 1)}


def _records(name: str, plan: Plan, bundle: Path | None, scratch: Path) -> Iterator[Record]:
    if name == "run lengths":
        return run_lengths(plan)
    if name == "CUSUM":
        return beside_cusum(plan)
    if name == "river":
        return beside_river(plan, scratch)
    return beside_mmd(plan, bundle or _trained(scratch), scratch)


def _trained(scratch: Path) -> Path:
    """A bundle of the digits recipe."""
    run, bundle = scratch / "run", scratch / "bundle"
    latentserve("train", "digits", "--out", run)
    latentserve("export", run, "--name", "digits", "--out", bundle)
    return bundle
