"""What watching costs: the data plane with its monitor, ledger, judge and probes, and without, in one run.

    python -m benchmarks monitoring [BUNDLE]

Each measurement is a process of its own with one engine thread, which asks for rows as a server does (64 askers of one
row, or 4 of 64) for a few seconds; the two take turns. Memory is what the process holds at the end. Without BUNDLE the
28x28 generator of the serving benchmark is packed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY

from benchmarks.commands import latentserve
from benchmarks.figures import Record, figure, select, shown
from benchmarks.generators import CONVOLUTIONAL_28
from benchmarks.runner import Results, table
from latentserve.service.bundle import read_bundle
from latentserve.service.models import Model
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.sampler import Sampler
from latentserve.service.settings import load_settings

TITLE = "What watching costs"

_LOADS = {"1 row, 64 askers": (1, 64), "64 rows, 4 askers": (64, 4)}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=4.0, help="of a measurement")
    parser.add_argument("--rounds", type=int, default=7)


def measure(given: argparse.Namespace, results: Results) -> None:
    """Every load, watched and not, in turn."""
    records: list[Record] = []
    results |= {"rounds": given.rounds, "seconds": given.seconds, "records": records}
    with tempfile.TemporaryDirectory(prefix="monitoring-") as folder:
        bundle = given.bundle or _packed(Path(folder))
        for number in range(given.rounds):
            for load in _LOADS:
                for watched in (1, 0) if number % 2 else (0, 1):
                    command = [sys.executable, "-m", __name__, str(bundle), str(watched), load, str(given.seconds)]
                    done = subprocess.run(command, capture_output=True, text=True, check=True)
                    records.append({"round": number, "load": load, "watched": watched, **json.loads(done.stdout)})


def measure_one(bundle: Path, watched: bool, rows: int, askers: int, seconds: float) -> dict[str, float]:
    """Rows a second in this process, and what it holds."""
    settings = load_settings(bundles=(bundle,), threads=1)
    model = Model(read_bundle(bundle), settings)
    if not watched:
        model.sampler = Sampler(model.engine, settings.max_queue_rows)
        model.engine.warm_up()
        model.sampler.start()
    else:
        model.start()
    made = asyncio.run(_ask(model.sampler, rows, askers, seconds))
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    model.sampler.stop()
    series = sum(len(family.samples) for family in REGISTRY.collect() if family.name.startswith("latentserve"))
    return {"rows_per_second": made, "megabytes": pages * os.sysconf("SC_PAGE_SIZE") / 1e6, "series": series}


async def _ask(sampler: Sampler, rows: int, askers: int, seconds: float) -> float:
    """Each asker has one request under way, by a seed of its own choice, until the time is over."""
    made = 0
    end = time.perf_counter() + seconds

    async def ask(first: int) -> None:
        nonlocal made
        seed = first
        while time.perf_counter() < end:
            await sampler.rows(RowsRequest(rows, seed, arm="server" if seed % 2 else "client"))
            made += rows
            seed += askers

    began = time.perf_counter()
    await asyncio.gather(*(ask(number) for number in range(askers)))
    return made / (time.perf_counter() - began)


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    records = results["records"]
    yield (
        f"{results['rounds']} rounds of {results['seconds']} s, watched and not in turn; medians with the least and "
        "the greatest, ratios within a round."
    )
    rows = []
    for load in _LOADS:
        on, off = ({one["round"]: one for one in select(records, load=load, watched=watched)} for watched in (1, 0))
        ratios = figure(on[n]["rows_per_second"] / off[n]["rows_per_second"] for n in on)
        memory = figure(on[n]["megabytes"] - off[n]["megabytes"] for n in on)
        rates = [figure(record["rows_per_second"] for record in each.values()) for each in (on, off)]
        rows.append((load, *rates, shown(ratios, 0.98), shown(memory, 50)))
    head = ("load", "rows/s watched", "rows/s not", "ratio (aim 0.98)", "more memory, MB (aim < 50)")
    yield from ("", *table(head, rows), "")
    series = max(record["series"] for record in records)
    yield f"Series of one process: {series} (aim: at most 1,500 with two workers)."


def _packed(folder: Path) -> Path:
    file = folder / "generator.onnx"
    file.write_bytes(CONVOLUTIONAL_28.build().SerializeToString())
    latentserve("pack", file, "--name", "watched", "--out", folder / "bundle")
    return folder / "bundle"


if __name__ == "__main__":  # one measurement, in a process of its own
    folder, watched, load, seconds = sys.argv[1:]
    print(json.dumps(measure_one(Path(folder), watched == "1", *_LOADS[load], float(seconds))))
