"""The same ONNX generators behind this server and its peers, and the bare engine, in one run.

    python -m benchmarks serving [--short] [--threads 2] [--against CHECKOUT]

Servers run one at a time, in turn, in each repetition: two at once on the same cores would measure each other. The
bare engine is measured before every single case, for a machine is not the same machine a minute later. The figures to
read are ratios. What an answer is made of costs as much as what it says, so each is named with its format: float32 as
bytes, numbers in JSON, the bytes as base64 in JSON (for peers whose batching takes nothing else), PNG. Every peer gets
an environment of its own in benchmarks/.venvs, installed when it is first needed. CHECKOUT is another one of
latentserve with its .venv, such as the commit before; it serves what it packed itself.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from benchmarks.environments import AbsentError, versions
from benchmarks.figures import Record
from benchmarks.generators import Generator
from benchmarks.runner import Results
from benchmarks.serving.plan import BULK_ROWS, SERVERS, SHARE, Case, cases
from benchmarks.serving.servers import BEFORE, Server, Subject, running
from benchmarks.serving.tables import report
from latentserve.service.benching.bare_engine import BareEngine
from latentserve.service.benching.load import Load, closed_loop, open_loop
from latentserve.service.benching.requests import Address, Requests, post
from latentserve.service.bundle import read_bundle

__all__ = ["SHORT", "TITLE", "measure", "options", "report"]

TITLE = "Serving benchmark"
SHORT = True

_PLAN, _SHORT_PLAN = (5, 1.5), (1, 1.0)  # repetitions, and seconds of a closed loop; other loops take twice that
_MINUTES = 25  # a repetition that would end later is not begun


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=1, help="engine threads of every server (default: 1)")
    parser.add_argument("--only", nargs="+", metavar="SERVER", help="these servers only, by name")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout, measured as a peer")


def measure(given: argparse.Namespace, results: Results) -> None:
    """All of the plan; `records` are its single measurements."""
    with tempfile.TemporaryDirectory(prefix="serving-") as scratch:
        _measure(given, Path(scratch), results)


def _measure(given: argparse.Namespace, scratch: Path, results: Results) -> None:
    began = time.monotonic()
    repetitions, seconds = _SHORT_PLAN if given.short else _PLAN
    subjects = {generator: _prepare(generator, given, scratch) for generator in SERVERS}
    bare = {generator: _bare_engine(subject) for generator, subject in subjects.items()}
    batches = {generator: engine.best_batch(0.3) for generator, engine in bare.items()}
    absent: dict[str, str] = {} if given.against else {BEFORE.name: "--against"}
    records: list[Record] = []
    results |= {
        "settings": {
            "engine_threads": given.threads,
            "seconds": seconds,
            "open_loop_share": SHARE,
            "generators": {generator.name: generator.about for generator in SERVERS},
            "bare_engine_batch": {generator.name: batch for generator, batch in batches.items()},
        },
        "peers": {},
        "absent": absent,
        "records": records,
    }
    for repetition in range(repetitions):
        if repetition and (time.monotonic() - began) * (repetition + 1) / repetition > 60 * _MINUTES:
            break
        for generator, servers in SERVERS.items():
            # Each repetition starts with another server, so that none is always the first or the last.
            for server in (*servers[repetition % len(servers) :], *servers[: repetition % len(servers)]):
                if server.name in absent or (given.only and server.name not in given.only):
                    continue
                subject = subjects[generator]
                alone = partial(bare[generator].samples_per_second, batches[generator], seconds / 3)
                try:
                    server.prepare(subject)
                    for record in _measure_server(seconds, server, generator, subject, alone):
                        records.append({"repetition": repetition, **record})
                        print(_line(records[-1]), flush=True)
                    if server.peer:
                        results["peers"][server.peer] = versions(server.peer)
                except (AbsentError, OSError) as error:
                    absent[server.name] = str(error)
                    print(f"{server.name} is absent: {error}", flush=True)
        results["settings"]["repetitions"] = repetition + 1
    if not given.against:
        del absent[BEFORE.name]


def _prepare(generator: Generator, given: argparse.Namespace, scratch: Path) -> Subject:
    """The generator as an ONNX file and as a bundle."""
    folder = scratch / generator.name.replace(" ", "-")
    folder.mkdir()
    subject = Subject(folder, given.threads, given.against)
    subject.model.write_bytes(generator.build().SerializeToString())
    subject.pack("bundle")
    return subject


def _bare_engine(subject: Subject) -> BareEngine:
    """Of the ONNX file as it is, whatever packing makes of it."""
    return BareEngine(
        replace(read_bundle(subject.folder / "bundle"), generator_file=subject.model.read_bytes()), subject.threads
    )


def _measure_server(
    seconds: float, server: Server, generator: Generator, subject: Subject, alone: Callable[[], float]
) -> Iterator[Record]:
    """The measurements of one server, started for them; `alone` measures the engine. Raises AbsentError, OSError."""
    with running(server, subject) as port:
        address = Address(port)
        usual = next(iter(server.asked))
        closed_loop(address, server.asked[usual](1), 32, seconds=1.0)  # adaptive batchers learn from their first ones
        saturation = 0.0
        for case in cases(server, generator):
            # The server is idle then; what else the machine does at that minute, it does to both.
            engine = alone()
            load = _load(case, address, server.asked[case.answer](case.rows), seconds, SHARE * saturation)
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
