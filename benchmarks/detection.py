"""How long until a detector sees that samples changed, at equal rates of false alarms.

    python -m benchmarks.detection [--quick] [--bundle BUNDLE]

Four comparisons: the run length our evidence promises and keeps; one signal's delay over the CUSUM that is told the
size of the shift; joint features' delay over alibi-detect's online MMD; one signal's delay over river's detectors. Ours
runs as it ships, with a reference of its own for each stream; the others are calibrated on streams without drift. The
bundle is of a labelled generator with a critic (default: the digits recipe, trained for the run). alibi-detect and
river get environments of their own in benchmarks/.venvs. Written to benchmarks/results: detection.json, detection.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from benchmarks.detection_tables import report
from benchmarks.detectors.joint_features import beside_mmd
from benchmarks.detectors.one_signal import beside_cusum, beside_river, run_lengths
from benchmarks.detectors.records import Plan, Record
from benchmarks.environments import AbsentError, versions
from benchmarks.machine import describe_machine
from service import __version__

_RESULTS = Path(__file__).parent / "results"
_PEERS = {"river": "river", "alibi": "alibi-detect"}  # environments, and the parts that need them
QUICK = Plan(streams=100, beside=40, long=False, windows=(50,), mmd_rows=500, bootstraps=2000)


def main() -> None:
    """Measure, and write JSON and tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer streams; for development")
    parser.add_argument("--bundle", type=Path, help="of a generator with ten labels and a critic")
    given = parser.parse_args()
    plan = QUICK if given.quick else Plan()
    began = time.monotonic()
    records: list[Record] = []
    absent: dict[str, str] = {}
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix="detection-") as scratch:
        parts: dict[str, Callable[[], Iterator[Record]]] = {
            "run lengths": lambda: run_lengths(plan),
            "CUSUM": lambda: beside_cusum(plan),
            "river": lambda: beside_river(plan, Path(scratch)),
            "alibi-detect": lambda: beside_mmd(plan, given.bundle or _trained(Path(scratch)), Path(scratch)),
        }
        for name, part in parts.items():
            try:
                for record in part():
                    records.append(record)
                    print(record, flush=True)
            except AbsentError as error:
                absent[name] = str(error)
    results = {
        "machine": machine,
        "versions": {
            "latentserve": __version__,
            **{p: versions(p) for p, part in _PEERS.items() if part not in absent},
        },
        "plan": asdict(plan),
        "minutes": round((time.monotonic() - began) / 60, 1),
        "absent": absent,
        "records": records,
    }
    out = _RESULTS / ("detection-quick" if given.quick else "detection")
    out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    out.with_suffix(".md").write_text(report(results))
    print(report(results))


def _trained(scratch: Path) -> Path:
    """A bundle of the digits recipe."""
    run, bundle = scratch / "run", scratch / "bundle"
    for command in (
        ["train", "digits", "--out", str(run)],
        ["export", str(run), "--name", "digits", "--out", str(bundle)],
    ):
        subprocess.run([sys.executable, "-m", "service", *command], check=True, stdout=subprocess.DEVNULL)
    return bundle


if __name__ == "__main__":
    main()
