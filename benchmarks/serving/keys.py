"""What keys, quotas, the account and traces cost, and what keys let through.

    python -m benchmarks keys [--rounds 9] [--seconds 2] [--tries 10000] [--quota-seconds 60] [--short]

*Cost*: servers of one worker stand side by side: with a key, a quota and an account; with traces of as many requests as
by default, and of all, which a collector takes; with none of them; and one like the last, by which is known what the
machine itself makes of two that are the same. They take turns at one-row requests over one connection and over 32; what
counts is the processor time of the worker, all threads of it, over the answers it gave.

*Tries*: requests without a key, with wrong, revoked and expired ones, of the wrong scope, over the quota and over the
rows in flight, many at once, on a server of two workers; and the rows that one key is given in a minute by both.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from benchmarks.environments import AbsentError
from benchmarks.figures import Record, figure, select, shown
from benchmarks.generators import CONVOLUTIONAL_28, TINY, Generator
from benchmarks.runner import Results, table
from benchmarks.serving.edges.group import Group
from benchmarks.serving.servers import Subject
from latentserve.service.access.key_file import changing
from latentserve.service.access.keys import Scope, new_key
from latentserve.service.benching.load import closed_loop
from latentserve.service.benching.requests import Address, ask, seeded

TITLE = "What keys, the account and traces cost, and what keys let through"
SHORT = True

AIM, QUOTA_AIM = 1.05, 1.05
_GENERATORS = (CONVOLUTIONAL_28, TINY)
_CONNECTIONS = (1, 32)
_NONE, _AGAIN = "none", "none again"
_KEYS, _SOME, _ALL = "keys, quota, account", "some requests traced", "all requests traced"
_SIDES = (_KEYS, _SOME, _ALL, _NONE, _AGAIN)
_TRIERS = 64
_RATE = 200  # rows a second of the key that is tried


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=2.0, help="of a measurement")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tries", type=int, default=10_000)
    parser.add_argument("--quota-seconds", type=float, default=60.0)


def measure(given: argparse.Namespace, results: Results) -> None:
    """The cost, then the tries. Raises AbsentError."""
    if given.short:
        given.rounds, given.seconds, given.tries, given.quota_seconds = 1, 0.3, 200, 2.0
    results |= {"rounds": given.rounds, "seconds": given.seconds, "cost": [], "tries": {}, "quota": {}}
    for generator in _GENERATORS[-1:] if given.short else _GENERATORS:
        with tempfile.TemporaryDirectory(prefix="keys-") as name:
            subject = Subject(Path(name), threads=1)
            subject.model.write_bytes(generator.build().SerializeToString())
            subject.pack("bundle")
            _measure_cost(generator, Path(name), given, results)
            if generator is _GENERATORS[-1]:
                _measure_tries(Path(name), given, results)


def add_key(file: Path, *scopes: Scope, **limits: Any) -> str:
    """A key of a file."""
    text, key = new_key(f"k{time.monotonic_ns()}", scopes, **limits)
    with changing(file) as keys:
        keys.append(key)
    return text


def _measure_cost(generator: Generator, folder: Path, given: argparse.Namespace, results: Results) -> None:
    file = folder / "keys.json"
    key = add_key(file, "sample", rows_per_second=1_000_000, rows_in_flight=1_000_000)
    with ExitStack() as stack:
        collector = {"telemetry": stack.enter_context(_collector())}
        settings: dict[str, dict[str, object]] = {
            _KEYS: {"keys": file, "audit": folder / "account"},
            _SOME: {**collector},
            _ALL: {**collector, "telemetry_share": 1},
            _NONE: {},
            _AGAIN: {},
        }
        groups = {side: stack.enter_context(Group([folder / "bundle"], 1, settings[side])) for side in _SIDES}
        requests = {side: seeded(1, headers={"X-API-Key": key} if side == _KEYS else None) for side in _SIDES}
        for side, group in groups.items():
            status, content = ask(Address(group.port), requests[side](1), 30)
            if status != 200:
                raise AbsentError(f"{side}: {status} {content[:200]!r}")
            closed_loop(Address(group.port), requests[side], 32, 0.5)
        for number in range(given.rounds):
            for connections in _CONNECTIONS:
                for side in _SIDES if number % 2 else _SIDES[::-1]:
                    (worker,) = groups[side].workers()
                    before = _processor_seconds(worker)
                    load = closed_loop(Address(groups[side].port), requests[side], connections, given.seconds)
                    record = {"generator": generator.name, "connections": connections, "side": side, "round": number}
                    taken = (_processor_seconds(worker) - before) / max(load.answers, 1)
                    results["cost"].append(
                        record | {"microseconds": 1e6 * taken, "per_second": load.per_second, "failed": load.failed}
                    )
            results.save()


@contextmanager
def _collector() -> Iterator[str]:
    """The URL of one that takes traces, and forgets them."""

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Taking) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def _processor_seconds(pid: int) -> float:
    """That a process has taken, to the nanosecond: the sum of its threads (`schedstat`; `stat` counts ticks)."""
    threads = Path(f"/proc/{pid}/task")
    try:
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads.iterdir()) / 1e9
    except OSError:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _measure_tries(folder: Path, given: argparse.Namespace, results: Results) -> None:
    file = folder / "tried.json"
    sample, score = add_key(file, "sample"), add_key(file, "score")
    gone = add_key(file, "sample")
    with changing(file) as keys:
        keys[-1] = keys[-1].model_copy(update={"revoked": datetime.now(UTC)})
    old = add_key(file, "sample", expires=datetime.now(UTC) - timedelta(seconds=1))
    few = add_key(file, "sample", rows_in_flight=10)
    with Group([folder / "bundle"], 2, {"keys": file}) as group:
        kinds: dict[str, tuple[str | None, int]] = {
            "no key": (None, 1),
            "a wrong key": (sample[:-1] + ("a" if sample[-1] != "a" else "b"), 1),
            "a revoked key": (gone, 1),
            "an expired key": (old, 1),
            "the wrong scope": (score, 1),
            "over the rows in flight": (few, 11),
        }
        for kind, (key, rows) in kinds.items():
            statuses = asyncio.run(_try(group.port, key, rows, given.tries))
            results["tries"][kind] = {str(status): statuses.count(status) for status in sorted(set(statuses))}
            results.save()
        rated = add_key(file, "sample", rows_per_second=_RATE)
        results["quota"] = asyncio.run(_held(group.port, rated, given.quota_seconds))


async def _try(port: int, key: str | None, rows: int, tries: int) -> list[int]:
    """The statuses of so many requests, as many at once as there are connections."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    limits = httpx.Limits(max_connections=_TRIERS)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, limits=limits) as http:
        left = iter(range(tries))

        async def some() -> list[int]:
            return [(await http.post("/v1/samples", json={"n": rows}, timeout=60)).status_code for _ in left]

        return [status for part in await asyncio.gather(*(some() for _ in range(_TRIERS))) for status in part]


async def _held(port: int, key: str, seconds: float) -> dict[str, float]:
    """The rows that a key is given while many ask as fast as they can."""
    headers = {"Authorization": f"Bearer {key}"}
    limits = httpx.Limits(max_connections=_TRIERS)
    end = time.monotonic() + seconds
    refused = 0
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, limits=limits) as http:

        async def some(rows: int) -> int:
            nonlocal refused
            given = 0
            while time.monotonic() < end:
                answer = await http.post("/v1/samples", json={"n": rows}, timeout=60)
                if answer.status_code == 200:
                    given += rows
                else:
                    refused += 1
            return given

        rows = sum(await asyncio.gather(*(some(1 + number % 7) for number in range(_TRIERS))))
    return {"rows_per_second": _RATE, "seconds": seconds, "rows": rows, "refused": refused}


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    yield (
        f"{results['rounds']} rounds of {results['seconds']} s, in turn; processor time of the worker for an answer of "
        "one row, medians with the least and the greatest, ratios within a round."
    )
    rows = []
    for generator in dict.fromkeys(one["generator"] for one in results["cost"]):
        for connections in _CONNECTIONS:
            off, again = (_by_round(results["cost"], generator, connections, side) for side in (_NONE, _AGAIN))
            same = figure(again[n] / off[n] for n in off)
            for side in (_KEYS, _SOME, _ALL):
                if on := _by_round(results["cost"], generator, connections, side):
                    ratio = figure(on[n] / off[n] for n in off)
                    taken = [figure(found.values()) for found in (on, off)]
                    rows.append((generator, connections, side, *taken, shown(ratio, AIM), shown(same, AIM)))
    head = (
        "generator", "connections", "with", "with, us", "without, us", f"ratio (aim <= {AIM})", "without over without"
    )  # fmt: skip
    yield from ("", *table(head, rows), "")
    tries = [(kind, sum(of.values()), of.get("200", 0), _told(of)) for kind, of in results["tries"].items()]
    yield from table(("tries, two workers", "requests", "let through (aim 0)", "answers"), tries)
    if quota := results["quota"]:
        over = quota["rows"] / (quota["rows_per_second"] * quota["seconds"])
        yield ""
        yield (
            f"A key of {quota['rows_per_second']} rows a second, two workers, {quota['seconds']:g} s: "
            f"{quota['rows']:,} rows, {over:.3f} of its quota (aim <= {QUOTA_AIM}); {quota['refused']:,} requests were "
            "refused."
        )


def _by_round(records: list[Record], generator: str, connections: int, side: str) -> dict[int, float]:
    found = select(records, generator=generator, connections=connections, side=side)
    return {one["round"]: one["microseconds"] for one in found}


def _told(statuses: dict[str, int]) -> str:
    return ", ".join(f"{count:,} of {status}" for status, count in statuses.items())
