"""Whether the verdict names the right cause: every fault and every misuse, again and again, with the rows it took.

    python -m benchmarks.drift.causes BUNDLE [--repetitions 20] [--rows 100000]

Each trial is what a server does, in this process: requests as clients would send them, read by the server's own
parser, run by its engine, looked at by its monitor, whose clock says that 1,000 rows come in a second, and judged by
its judge, every 500 rows. A fault counts as named if its cause stands at the end of the rows; where nothing is wrong,
no other cause may ever be named. How many rows critic and features are computed of depends on how fast the machine is
while it runs. Written to benchmarks/results/causes.json and .md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.drift.faults import CASES, Case
from benchmarks.machine import describe_machine
from latentserve.service.bundle import read_bundle
from latentserve.service.http.body import parse_body
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.fields import rows_request
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.sampler import BatchDone
from latentserve.service.watching.judge import Judge
from latentserve.service.watching.metrics import ModelMetrics
from latentserve.service.watching.monitor import Monitor, metric_series
from latentserve.service.watching.reference import read_reference
from latentserve.service.watching.verdict import probe_fault

_RESULTS = Path(__file__).parents[1] / "results"
_ROWS_A_REQUEST = 50
_ROWS_A_ROUND = 500
_ROWS_PER_SECOND = 1000.0  # the setting's default


def main() -> None:
    """Measure, and write JSON and a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--rows", type=int, default=100_000, help="of a trial")
    parser.add_argument("--out", type=Path, default=_RESULTS / "causes")
    given = parser.parse_args()
    results = run(given.bundle, given.repetitions, given.rows)
    given.out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    given.out.with_suffix(".md").write_text(report(results))
    print(report(results))


def run(bundle: Path, repetitions: int, rows: int, names: list[str] | None = None) -> dict[str, Any]:
    """Every case, or those of `names`, so many times."""
    began = time.monotonic()
    manifest = read_bundle(bundle).manifest
    trials: list[dict[str, Any]] = []
    for name, case in CASES.items():
        if (names and name not in names) or (case.conditional and manifest.labels is None):
            continue
        for repetition in range(repetitions):
            with tempfile.TemporaryDirectory(prefix="causes-") as folder:
                found = trial(bundle, case, Path(folder), rows, repetition)
            trials.append({"case": name, "expected": case.cause, "repetition": repetition, **found})
        print(
            f"{time.monotonic() - began:.0f} s: {name}: {[one['cause'] for one in trials[-repetitions:]]}", flush=True
        )
    return {
        "machine": describe_machine(),
        "bundle": manifest.name,
        "repetitions": repetitions,
        "rows": rows,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "trials": trials,
    }


def trial(bundle: Path, case: Case, folder: Path, rows: int, seed: int) -> dict[str, Any]:
    """The cause at the end, the rows after which the right one was first named, and every cause that was named."""
    served = bundle
    if case.fault is not None:
        served = folder / "faulty"
        case.fault(bundle, served, np.random.default_rng(seed))
    read = read_bundle(served)
    reference = read_reference(read)
    engine = Engine(read, "cpu", 1)
    judge = Judge(folder / "ledger", read.manifest, reference, _ROWS_PER_SECOND)
    fault = probe_fault(float(engine.probe().max()), read.golden.tolerance)
    judge.report_probes(fault)
    metrics = ModelMetrics(read.manifest.name, read.manifest.version, metric_series(read, reference))
    named: list[str] = []
    first = None
    seen = 0
    monitor = Monitor(engine, reference, metrics, judge.ledger, clock=lambda: seen / _ROWS_PER_SECOND)
    # A model that is not ready is not asked.
    requests = iter(()) if fault is not None else _requests(case, engine, rows, seed)
    while True:
        taken = list(islice(requests, _ROWS_A_ROUND // _ROWS_A_REQUEST))
        for request in taken:
            serve(engine, monitor, request)
            seen += request.n
        monitor.settle()
        judge.hold()
        cause = judge.verdict()["cause"]
        if cause != "not_enough_samples" and cause not in named:
            named.append(cause)
        if cause == case.cause and first is None:
            first = seen
        if not taken:
            break
    judge.stop()
    return {"cause": cause, "rows": first, "named": named}


def _requests(case: Case, engine: Engine, rows: int, seed: int) -> Iterator[RowsRequest]:
    manifest = engine.bundle.manifest
    for body in islice(case.traffic(manifest, _ROWS_A_REQUEST, seed), rows // _ROWS_A_REQUEST):
        yield rows_request(parse_body(orjson.dumps(body)), manifest, rows)


def serve(engine: Engine, monitor: Monitor, request: RowsRequest) -> None:
    """One request, as one batch."""
    z, labels = request.inputs(engine.bundle.manifest, 0, request.n)
    wanted = monitor.wanted()
    began = time.perf_counter()
    made = dict(zip(wanted.outputs, engine.run(z, labels, wanted.outputs), strict=True))
    seconds = time.perf_counter() - began
    monitor.offer(BatchDone([(request, 0, request.n)], z, labels, made, seconds, wanted.chosen))


def right(one: dict[str, Any]) -> bool:
    """Whether a trial went as it should."""
    return bool(one["cause"] == one["expected"] and (one["expected"] != "none" or one["named"] == ["none"]))


def report(results: dict[str, Any]) -> str:
    """The table."""
    trials = results["trials"]
    lines = [
        "# Causes",
        "",
        f"Bundle {results['bundle']}, {results['repetitions']} repetitions of {results['rows']} rows, "
        f"{results['minutes']} minutes on {results['machine']['processor']}. "
        "Aim: 90 % right in each case, 95 % overall.",
        "",
        "| case | cause | right | rows until it was named: median, greatest | otherwise |",
        "|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(one["case"] for one in trials):
        own = [one for one in trials if one["case"] == name]
        rows = [one["rows"] for one in own if right(one)]
        share = sum(map(right, own)) / len(own)
        needed = f"{statistics.median(rows):,.0f}, {max(rows):,}" if rows else ""
        others = ", ".join(sorted({one["cause"] for one in own if not right(one)}))
        lines.append(f"| {name} | {own[0]['expected']} | {share:.0%} | {needed} | {others} |")
    overall = sum(map(right, trials)) / len(trials)
    return "\n".join([*lines, "", f"Overall {overall:.1%} of {len(trials)}."]) + "\n"


if __name__ == "__main__":
    main()
