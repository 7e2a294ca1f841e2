"""What watching costs: the data plane with its monitor, ledger, judge and probes, and without, in one run.

    python -m benchmarks.serving.monitoring [BUNDLE]

Each measurement is a process of its own with one engine thread, which asks for rows as a server does (64 askers of one
row, or 4 of 64) for a few seconds; the two take turns. Memory is what the process holds at the end. Without BUNDLE the
28x28 generator of the serving benchmark is packed. Written to benchmarks/results/monitoring.json and .md.
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
from pathlib import Path

from prometheus_client import REGISTRY

from benchmarks.figures import figure
from benchmarks.generators import CONVOLUTIONAL_28
from benchmarks.machine import describe_machine
from latentserve.service.bundle import read_bundle
from latentserve.service.models import Model
from latentserve.service.packing.foreign import PackOptions, pack_foreign
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.sampler import Sampler
from latentserve.service.settings import load_settings

_RESULTS = Path(__file__).parents[1] / "results"
_LOADS = {"1 row, 64 askers": (1, 64), "64 rows, 4 askers": (64, 4)}
_ROUNDS = 7
_SECONDS = 4.0


def main() -> None:
    """Measure, and write JSON and a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="of a measurement")
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    parser.add_argument("--out", type=Path, default=_RESULTS / "monitoring")
    parser.add_argument("--alone", nargs=3, metavar=("WATCHED", "ROWS", "ASKERS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        watched, rows, askers = (int(number) for number in given.alone)
        print(json.dumps(measure(given.bundle, bool(watched), rows, askers, given.seconds)))
        return
    with tempfile.TemporaryDirectory(prefix="monitoring-") as folder:
        bundle = given.bundle or _pack(Path(folder))
        results = compare(bundle, given.rounds, given.seconds)
    given.out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    given.out.with_suffix(".md").write_text(report(results))
    print(report(results))


def measure(bundle: Path, watched: bool, rows: int, askers: int, seconds: float) -> dict[str, float]:
    """Rows a second in this process, and what it holds."""
    settings = load_settings(bundles=(bundle,), threads=1)
    model = Model(read_bundle(bundle), settings)
    if not watched:
        model.sampler = Sampler(model.engine, settings.max_queue_rows, settings.max_unsent_bytes)
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


def compare(bundle: Path, rounds: int, seconds: float) -> dict[str, object]:
    """Every load, watched and not, in turn."""
    machine = describe_machine()
    records = []
    for number in range(rounds):
        for load, (rows, askers) in _LOADS.items():
            for watched in (1, 0) if number % 2 else (0, 1):
                command = [sys.executable, "-m", __spec__.name, str(bundle), "--seconds", str(seconds)]
                command += ["--alone", str(watched), str(rows), str(askers)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                records.append({"round": number, "load": load, "watched": watched, **json.loads(done.stdout)})
    return {"machine": machine, "rounds": rounds, "seconds": seconds, "records": records}


def report(results: dict[str, object]) -> str:
    """The table."""
    records, machine = results["records"], results["machine"]
    assert isinstance(records, list)
    assert isinstance(machine, dict)
    lines = [
        "# What watching costs",
        "",
        f"{machine['processor']}, {machine['cores']} cores. {results['rounds']} rounds of {results['seconds']} s, "
        "watched and not in turn; medians with the least and the greatest, ratios within a round.",
        "",
        "| load | rows/s watched | rows/s not | ratio (aim 0.98) | more memory, MB (aim < 50) |",
        "|---|---|---|---|---|",
    ]
    for load in _LOADS:
        by_round = {
            watched: {r["round"]: r for r in records if r["load"] == load and r["watched"] == watched}
            for watched in (0, 1)
        }
        on, off = by_round[1], by_round[0]
        ratios = figure(on[n]["rows_per_second"] / off[n]["rows_per_second"] for n in on)
        memory = figure(on[n]["megabytes"] - off[n]["megabytes"] for n in on)
        rates = [figure(record["rows_per_second"] for record in each.values()) for each in (on, off)]
        lines.append(f"| {load} | {rates[0]} | {rates[1]} | {ratios} | {memory} |")
    series = max(record["series"] for record in records)
    return "\n".join([*lines, "", f"Series of one process: {series} (aim: at most 1,500 with two workers)."]) + "\n"


def _pack(folder: Path) -> Path:
    file = folder / "generator.onnx"
    file.write_bytes(CONVOLUTIONAL_28.build().SerializeToString())
    pack_foreign(file, folder / "bundle", "watched", PackOptions())
    return folder / "bundle"


if __name__ == "__main__":
    main()
