"""How long until a detector sees that samples changed, at equal rates of false alarms.

    python -m benchmarks.drift.detection [--quick] [--bundle BUNDLE] [--only PART ...]

Four comparisons: the run length our evidence promises and keeps; one signal's delay over the CUSUM that is told the
size of the shift; joint features' delay over alibi-detect's online MMD; one signal's delay over river's detectors. Ours
runs as it ships, with a reference of its own for each stream; the others are calibrated on streams without drift. The
bundle is of a labelled generator with a critic (default: the digits recipe, trained for the run). alibi-detect and
river get environments of their own in benchmarks/.venvs. Written to benchmarks/results: detection.json, detection.md,
after each part; with --only the other parts stay as they were measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.drift.detection_tables import report
from benchmarks.drift.detectors.joint_features import beside_mmd
from benchmarks.drift.detectors.one_signal import beside_cusum, beside_river, run_lengths
from benchmarks.drift.detectors.records import Plan, Record
from benchmarks.environments import AbsentError, versions
from benchmarks.machine import describe_machine
from latentserve import __version__

_RESULTS = Path(__file__).parents[1] / "results"
_PARTS = ("run lengths", "CUSUM", "river", "alibi-detect")
_ENVIRONMENTS = {"river": "river", "alibi-detect": "alibi"}
QUICK = Plan(streams=100, beside=40, long=False, windows=(50,), mmd_rows=500, bootstraps=2000)


def main() -> None:
    """Measure, and write JSON and tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer streams; for development")
    parser.add_argument("--bundle", type=Path, help="of a generator with ten labels and a critic")
    parser.add_argument("--only", nargs="+", choices=_PARTS, default=_PARTS, help="these parts only", metavar="PART")
    given = parser.parse_args()
    plan = QUICK if given.quick else Plan()
    out = _RESULTS / ("detection-quick" if given.quick else "detection")
    file = out.with_suffix(".json")
    parts: dict[str, Any] = json.loads(file.read_text())["parts"] if file.exists() else {}
    results = {"latentserve": __version__, "machine": describe_machine(), "plan": asdict(plan), "parts": parts}
    with tempfile.TemporaryDirectory(prefix="detection-") as scratch:
        for name in given.only:
            parts[name] = _part(name, plan, given.bundle, Path(scratch))
            file.write_text(json.dumps(results, indent=1) + "\n")
            out.with_suffix(".md").write_text(report(results))
    print(report(results))


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
    for command in (
        ["train", "digits", "--out", str(run)],
        ["export", str(run), "--name", "digits", "--out", str(bundle)],
    ):
        subprocess.run([sys.executable, "-m", "latentserve", *command], check=True, stdout=subprocess.DEVNULL)
    return bundle


if __name__ == "__main__":
    main()
