"""Whether the verdict names the right cause: every fault and every misuse, again and again, with the rows it took.

    python -m benchmarks causes BUNDLE [--repetitions 20] [--rows 100000]

Each trial is what a server does, in this process: requests as clients would send them, read by the server's own
parser, run by its engine, looked at by its monitor, whose clock says that 1,000 rows come in a second, and judged by
its judge, every 500 rows. A fault counts as named if its cause stands at the end of the rows; where nothing is wrong,
no other cause may ever be named. How many rows critic and features are computed of depends on how fast the machine is
while it runs.
"""

from __future__ import annotations

import argparse
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
from benchmarks.figures import decimals
from benchmarks.runner import Results, table
from latentserve.service.bundle import read_bundle
from latentserve.service.http.body import parse_body
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.fields import rows_request
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.sampler import BatchDone
from latentserve.service.sampling.served_graph import Output
from latentserve.service.watching.control import Control
from latentserve.service.watching.judge import Judge
from latentserve.service.watching.metrics import ModelMetrics
from latentserve.service.watching.monitor import Monitor, metric_series
from latentserve.service.watching.reference import read_reference
from latentserve.service.watching.verdict import probe_fault

TITLE = "Causes"

_ROWS_A_REQUEST = 50
_ROWS_A_ROUND = 500
_ROWS_PER_SECOND = 1000.0  # the setting's default


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--rows", type=int, default=100_000, help="of a trial")
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), default=tuple(CASES), help="these only")


def measure(given: argparse.Namespace, results: Results) -> None:
    """Every case so many times."""
    manifest = read_bundle(given.bundle).manifest
    trials: list[dict[str, Any]] = []
    results |= {"bundle": manifest.name, "repetitions": given.repetitions, "rows": given.rows, "trials": trials}
    for name in given.cases:
        if CASES[name].conditional and manifest.labels is None:
            continue
        trials += repeat(given.bundle, name, CASES[name], given.rows, given.repetitions)


def repeat(bundle: Path, name: str, case: Case, rows: int, repetitions: int) -> list[dict[str, Any]]:
    """A case so many times."""
    trials: list[dict[str, Any]] = []
    for repetition in range(repetitions):
        with tempfile.TemporaryDirectory(prefix="causes-") as folder:
            found = trial(bundle, case, Path(folder), rows, repetition)
        trials.append({"case": name, "expected": case.cause, "repetition": repetition, **found})
    print(f"{name}: {[one['cause'] for one in trials]}", flush=True)
    return trials


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
    seen = control = 0
    made_for_nobody = Control(read.manifest, reference)
    monitor = Monitor(engine, reference, metrics, judge.ledger, clock=lambda: seen / _ROWS_PER_SECOND)
    # A model that is not ready is not asked.
    requests = iter(()) if fault is not None else _requests(case, engine, rows, seed)
    while True:
        taken = list(islice(requests, _ROWS_A_ROUND // _ROWS_A_REQUEST))
        for request in taken:
            serve(engine, monitor, request)
            seen += request.n
        monitor.settle()
        while owed := monitor.owed():
            control += owed
            for request in made_for_nobody.requests(owed):
                serve(engine, monitor, request)
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
    return {"cause": cause, "rows": first, "named": named} | ({"control": control} if control else {})


def _requests(case: Case, engine: Engine, rows: int, seed: int) -> Iterator[RowsRequest]:
    manifest = engine.bundle.manifest
    for body in islice(case.traffic(manifest, _ROWS_A_REQUEST, seed), rows // _ROWS_A_REQUEST):
        yield rows_request(parse_body(orjson.dumps(body)), manifest, rows)


def serve(engine: Engine, monitor: Monitor, request: RowsRequest) -> None:
    """One request, as one batch."""
    inputs = request.inputs(engine.bundle.manifest, 0, request.n)
    wanted = monitor.wanted()
    began = time.perf_counter()
    outputs: list[Output] = list({*wanted.outputs, request.output})
    made = dict(zip(outputs, engine.run(inputs, outputs), strict=True))
    seconds = time.perf_counter() - began
    monitor.offer(BatchDone([(request, 0, request.n)], inputs, made, seconds, wanted.chosen))


def right(one: dict[str, Any]) -> bool:
    """Whether a trial went as it should."""
    return bool(one["cause"] == one["expected"] and (one["expected"] != "none" or one["named"] == ["none"]))


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    trials = results["trials"]
    yield (
        f"Bundle {results['bundle']}, {results['repetitions']} repetitions of {results['rows']} rows, "
        f"{results['minutes']} minutes. Aim: 90 % right in each case, 95 % overall."
    )
    rows = []
    for name in dict.fromkeys(one["case"] for one in trials):
        own = [one for one in trials if one["case"] == name]
        took = [one["rows"] for one in own if right(one)]
        needed = f"{statistics.median(took):,.0f}, {max(took):,}" if took else ""
        others = ", ".join(sorted({one["cause"] for one in own if not right(one)}))
        rows.append((name, own[0]["expected"], f"{sum(map(right, own)) / len(own):.0%}", needed, others))
    head = ("case", "cause", "right", "rows until it was named: median, greatest", "otherwise")
    yield from ("", *table(head, rows), "")
    yield f"Overall {decimals(100 * sum(map(right, trials)) / len(trials), 1, 95)} % of {len(trials)}."
