"""The same ONNX generators behind this server and its peers, and the bare engine, in one run.

    python -m benchmarks.serving.comparison [--quick] [--threads 2]

Servers run one at a time, in turn, in each repetition: two at once on the same cores would measure each other. The
bare engine is measured before every single case, for a machine is not the same machine a minute later. The figures to
read are ratios. Every peer gets an environment of its own in benchmarks/.venvs, installed when it is first needed.
Written to benchmarks/results: serving.json (everything), serving.md (tables), serving.png (a plot).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from benchmarks.environments import AbsentError, versions
from benchmarks.figures import Record
from benchmarks.generators import Generator
from benchmarks.machine import describe_machine
from benchmarks.serving.plan import BULK_ROWS, FULL, QUICK, SHARE, Case, Plan
from benchmarks.serving.plot import draw
from benchmarks.serving.servers import OURS_INT8, Server, Subject, running
from benchmarks.serving.tables import report
from latentserve import __version__
from latentserve.service.benching.bare_engine import BareEngine
from latentserve.service.benching.load import Load, closed_loop, open_loop
from latentserve.service.benching.requests import Address, Requests, post
from latentserve.service.bundle import read_bundle
from latentserve.service.packing.foreign import PackOptions, pack_foreign

_RESULTS = Path(__file__).parents[1] / "results"
_OPTIMIZE_SECONDS = 300
_REFERENCE_SAMPLES = 5_000  # what is watched costs the same however many there were
_MINUTES = 25  # a repetition that would end later is not begun


def main() -> None:
    """Measure, and write JSON, tables and a plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="about three minutes instead of 25; for development")
    parser.add_argument("--threads", type=int, default=1, help="engine threads of every server (default: 1)")
    parser.add_argument("--only", nargs="+", metavar="SERVER", help="these servers only, by name")
    parser.add_argument("--out", type=Path, help="folder and first part of the name of the results")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the servers under way are stopped like on ^C
    name = "serving" + ("-quick" if given.quick else "") + (f"-{given.threads}-threads" if given.threads > 1 else "")
    out: Path = given.out or _RESULTS / name
    with tempfile.TemporaryDirectory(prefix="serving-") as scratch:
        results = measure(QUICK if given.quick else FULL, given.threads, given.only, Path(scratch))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    out.with_suffix(".md").write_text(report(results))
    draw(results, out.with_suffix(".png"))
    print(report(results))


def measure(plan: Plan, threads: int, only: list[str] | None, scratch: Path) -> dict[str, object]:
    """All of the plan; `records` are its single measurements."""
    began = time.monotonic()
    machine = describe_machine()
    absent: dict[str, str] = {}
    subjects = {generator: _prepare(generator, threads, scratch) for generator in plan.servers}
    bare = {generator: _bare_engine(subject) for generator, subject in subjects.items()}
    batches = {generator: engine.best_batch(0.3) for generator, engine in bare.items()}
    records: list[Record] = []
    for repetition in range(plan.repetitions):
        if repetition and (time.monotonic() - began) * (repetition + 1) / repetition > 60 * _MINUTES:
            break
        for generator, servers in plan.servers.items():
            # Each repetition starts with another server, so that none is always the first or the last.
            for server in (*servers[repetition % len(servers) :], *servers[: repetition % len(servers)]):
                if server.name in absent or (only and server.name not in only):
                    continue
                subject = subjects[generator]
                alone = partial(bare[generator].samples_per_second, batches[generator], plan.seconds / 3)
                try:
                    if server is OURS_INT8 and not subject.int8_bundle.exists():
                        _quantize(subject)
                    for record in _measure_server(plan, server, generator, subject, alone):
                        records.append({"repetition": repetition, **record})
                        print(_line(records[-1]), flush=True)
                except (AbsentError, OSError) as error:
                    absent[server.name] = str(error)
                    print(f"{server.name} is absent: {error}", flush=True)
    measured = {record["server"] for record in records}
    peers = {server.peer for servers in plan.servers.values() for server in servers if server.name in measured}
    return {
        "machine": machine,
        "versions": {
            "latentserve": __version__,
            **{package: importlib.metadata.version(package) for package in ("bentoml", "numpy", "onnxruntime")},
            "peers": {peer: versions(peer) for peer in sorted(peer for peer in peers if peer)},
        },
        "settings": {
            "engine_threads": threads,
            "repetitions": max((record["repetition"] + 1 for record in records), default=0),
            "seconds": plan.seconds,
            "open_loop_share": SHARE,
            "generators": {generator.name: generator.about for generator in plan.servers},
            "bare_engine_batch": {generator.name: batch for generator, batch in batches.items()},
        },
        "minutes": round((time.monotonic() - began) / 60, 1),
        "absent": absent,
        "records": records,
    }


def _prepare(generator: Generator, threads: int, scratch: Path) -> Subject:
    """The generator as an ONNX file and as a bundle."""
    folder = scratch / generator.name.replace(" ", "-")
    folder.mkdir()
    subject = Subject(folder / "generator.onnx", folder / "bundle", folder / "int8", threads)
    subject.model.write_bytes(generator.build().SerializeToString())
    pack_foreign(subject.model, subject.bundle, "bench", PackOptions(), reference_samples=_REFERENCE_SAMPLES)
    return subject


def _quantize(subject: Subject) -> None:
    """The int8 variant of the subject's bundle. Raises AbsentError."""
    command = [sys.executable, "-m", "latentserve", "optimize", str(subject.bundle), "--precision", "int8"]
    out = ["--out", str(subject.int8_bundle)]
    done = subprocess.run([*command, *out], capture_output=True, text=True, timeout=_OPTIMIZE_SECONDS, check=False)
    if done.returncode:
        raise AbsentError((done.stderr.strip() or "no message").splitlines()[-1])


def _bare_engine(subject: Subject) -> BareEngine:
    """Of the ONNX file as it is, whatever packing makes of it."""
    return BareEngine(replace(read_bundle(subject.bundle), generator_file=subject.model.read_bytes()), subject.threads)


def _measure_server(
    plan: Plan, server: Server, generator: Generator, subject: Subject, alone: Callable[[], float]
) -> Iterator[Record]:
    """The measurements of one server, started for them; `alone` measures the engine. Raises AbsentError, OSError."""
    with running(server, subject) as port:
        address = Address(port)
        usual = next(iter(server.asked))
        closed_loop(address, server.asked[usual](1), 32, seconds=1.0)  # adaptive batchers learn from their first ones
        saturation = 0.0
        for case in plan.cases(server, generator):
            # The server is idle then; what else the machine does at that minute, it does to both.
            engine = alone()
            load = _load(case, address, server.asked[case.answer](case.rows), plan.seconds, SHARE * saturation)
            if case.loop == "closed" and case.rows == 1:
                saturation = max(saturation, load.per_second)
            yield {
                "generator": generator.name,
                "server": server.name,
                **asdict(case),
                **asdict(load),
                "requests_per_second": load.per_second,
                "samples_per_second": case.rows * load.per_second,
                "engine_samples_per_second": engine,
            }


def _load(case: Case, address: Address, requests: Requests, seconds: float, rate: float) -> Load:
    """`rate` requests a second, if the case is an open loop."""
    if case.loop in ("even", "poisson"):
        return open_loop(address, requests, rate, 2 * seconds, case.loop)
    if case.loop == "closed":
        return closed_loop(address, requests, case.connections, seconds)
    bulk = post("/v1/samples", b'{"n":%d}' % BULK_ROWS, "application/octet-stream")
    return closed_loop(address, requests, case.connections, 2 * seconds, bulk if case.loop == "beside bulk" else None)


def _line(record: Record) -> str:
    return (
        "{repetition} {generator}: {server}, {answer}, {rows} row(s), {loop}, {connections} connections: "
        "{requests_per_second:.0f} req/s, {share:.2f} of the engine, p50 {p50_ms:.1f} ms, p99 {p99_ms:.1f} ms, "
        "{failed} failed, client {client_cpu:.2f} cores"
    ).format(**record, share=record["samples_per_second"] / record["engine_samples_per_second"])


if __name__ == "__main__":
    main()
