"""Hostile and careless requests and connections, each up to its limit, and what everybody else notices of it.

    python -m benchmarks hostile [--only NAME ...] [--rounds 1] [--short] [--against CHECKOUT]

Of each entry of the corpus: the 99th percentile of others' one-row requests beside it, over that without it, measured
just before and just after; the longest silence of /livez beyond what it is without; the memory that the server took
beyond what it had; how the exchanges ended, and whether that is right; and how the server is afterwards: the same bytes
for the same seeds, no connection left, nothing under way, its memory back.

All of it comes from this machine, over its loopback interface, and stops by itself. A client that is only a process
beside the server takes a core from it, too: what the clients themselves took is in the table. The times of the limits
are set to seconds, so that each is reached. CHECKOUT is another one of latentserve with its .venv, such as the commit
before: measured first.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.figures import Record, decimals, figure, shown
from benchmarks.runner import Results, table
from benchmarks.serving.edges.bundles import pack
from benchmarks.serving.edges.corpus import CORPUS, Target
from benchmarks.serving.edges.group import Group
from benchmarks.serving.edges.others import Others, watch
from latentserve.service.benching.requests import RAW, SAMPLES, Address, ask, get, post

TITLE = "Hostile clients"
SHORT = True

_BUNDLES = ("digits", "showers", "posters", "strips")
_SETTINGS = {"header_seconds": 1, "body_seconds": 1, "answer_seconds": 1, "keep_alive_seconds": 2}
_SETTLE_SECONDS = 15.0
_GRACE = 60.0  # beyond its time, until a client is given up
_MB = 1e6
_UNSENT, _PICTURE, _MORE = 256 << 20, 4 * (16 << 20), 64e6  # the bound of memory, beside bodies
_AIMS = (2.0, 100.0)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=CORPUS, help="these entries only")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="of an entry (default: 3; short: 1)")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout, measured before this one")


def measure(given: argparse.Namespace, results: Results) -> None:
    """`records`: one for each entry, round and server."""
    seconds = given.seconds or (1.0 if given.short else 3.0)
    records: list[Record] = []
    results |= {"seconds": seconds, "rounds": given.rounds, "workers": given.workers, "records": records}
    checkouts = {"before": given.against} if given.against else {}
    with tempfile.TemporaryDirectory(prefix="hostile-") as scratch:
        bundles = pack(Path(scratch), *_BUNDLES)
        for name, checkout in {**checkouts, "now": None}.items():
            with Group(bundles, given.workers, _SETTINGS, checkout) as group, _clients() as (hostile, others):
                others.submit(watch, group.port, 2.0).result()
                for number in range(given.rounds):
                    for entry in given.only or CORPUS:
                        found = _measure_one(group, hostile, others, entry, seconds)
                        records.append({"server": name, "round": number, "entry": entry, **found})
                        print(_line(records[-1]), flush=True)
                        results.save()


@contextmanager
def _clients() -> Iterator[tuple[ProcessPoolExecutor, ProcessPoolExecutor]]:
    """Two processes: of the hostile ones, and of everybody else."""
    spawn = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as hostile, ProcessPoolExecutor(1, mp_context=spawn) as others:
        yield hostile, others


def _measure_one(
    group: Group, hostile: ProcessPoolExecutor, others: ProcessPoolExecutor, entry: str, seconds: float
) -> dict[str, Any]:
    hostile.submit(_prepare, entry).result(_GRACE)
    pids, before = group.workers(), _answers(group.port)
    without = [others.submit(watch, group.port, seconds / 2).result()]
    idle = group.megabytes()
    with _Peak(group) as peak:
        attack = hostile.submit(_attack, entry, group.port, seconds)
        beside = others.submit(watch, group.port, seconds).result()
        done = attack.result(_GRACE)
        settled = _settle(group)
    without.append(others.submit(watch, group.port, seconds / 2).result())
    if not (after := _answers(group.port)):
        group.terminate()
        group.start()
    return {
        "without": [asdict(one) for one in without],
        "beside": asdict(beside),
        "ratio": beside.p99_ms / _mean(without, "p99_ms"),
        "silence_ms": max(0.0, beside.silence_ms - _mean(without, "silence_ms")),
        "megabytes": peak.megabytes - idle,
        "megabytes_after": group.megabytes() - idle,
        **done,
        "settle_seconds": settled,
        "connections_left": group.open_connections(),
        "same_bytes": before == after,
        "same_workers": pids == group.workers(),
        "under_way": _under_way(group.port),
    }


def _mean(seen: list[Others], name: str) -> float:
    return sum(getattr(one, name) for one in seen) / len(seen)


def _prepare(entry: str) -> None:
    """In the hostile process."""
    CORPUS[entry].prepare()


def _attack(entry: str, port: int, seconds: float) -> dict[str, Any]:
    """In the hostile process: how often exchanges ended how, and the cores that it took."""
    began, cpu = time.perf_counter(), time.process_time()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        ends = runner.run(CORPUS[entry].act(Target(port, seconds)))
    took = time.perf_counter() - began
    return {"ends": dict(ends.most_common()), "cores": (time.process_time() - cpu) / took, "seconds": took}


class _Peak:
    """The most memory that a group had meanwhile."""

    def __init__(self, group: Group) -> None:
        self.megabytes = 0.0
        self._group = group
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.05):
            self.megabytes = max(self.megabytes, self._group.megabytes())


def _settle(group: Group) -> float | None:
    """Seconds until the server did nothing more and nobody was connected; None where it went on."""
    began, quiet = time.monotonic(), 0
    while quiet < 2:
        if time.monotonic() - began > _SETTLE_SECONDS:
            return None
        cpu = group.cpu_seconds()
        time.sleep(0.2)
        busy = (group.cpu_seconds() - cpu) / 0.2
        quiet = quiet + 1 if busy < 0.3 and not group.open_connections() else 0
    return time.monotonic() - began


def _answers(port: int) -> list[tuple[int, bytes]]:
    """What is asked for the same seeds; nothing of a server that does not answer."""
    bodies = (b'{"model":"digits","seed":9,"deterministic":true}', b'{"model":"showers","seed":9,"deterministic":true}')
    try:
        return [ask(Address(port), post(SAMPLES, body, RAW), _GRACE / 4) for body in bodies]
    except (OSError, http.client.HTTPException):
        return []


def _under_way(port: int) -> float:
    """Requests under way and rows that wait, by the server's own count, but for the one that asks."""
    try:
        text = ask(Address(port), get("/metrics", "*/*"), _GRACE / 4)[1].decode()
    except (OSError, http.client.HTTPException):
        return float("nan")
    names = ("latentserve_inflight_requests", "latentserve_queue_rows")
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(names))


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    records = results["records"]
    yield (
        f"{results['seconds']:g} s of each, {results['rounds']} rounds, {results['workers']} worker(s), one engine "
        "thread. `p99`: of others' one-row requests over 16 connections, beside it over without it (aim <= 2). "
        "`silence`: of /livez, beyond what it is without (aim <= 100 ms). `memory`: beyond what the server had, and "
        "the bound: `MAX_UNSENT_BYTES`, twice the bodies under way, 64 MB for a picture, 64 MB. `after`: what is left "
        "of it."
    )
    for server in dict.fromkeys(record["server"] for record in records):
        own = [record for record in records if record["server"] == server]
        yield from ("", f"## {server}", "")
        rows = [_row(entry, [one for one in own if one["entry"] == entry]) for entry in CORPUS]
        head = (
            "",
            "p99",
            "silence, ms",
            "memory, MB",
            "after",
            "client, cores",
            "ended",
            "others failed",
            "afterwards",
        )
        yield from table(head, filter(None, rows))
    yield from ("", "What they do:", "")
    yield from (f"- **{entry.name}**: {' '.join(entry.about.split())}" for entry in CORPUS.values())


def _row(entry: str, own: list[Record]) -> tuple[object, ...] | None:
    if not own:
        return None
    bound = (_UNSENT + 2 * CORPUS[entry].bodies + _PICTURE + _MORE) / _MB
    ended: dict[str, int] = {}
    for one in own:
        for how, many in one["ends"].items():
            ended[how] = ended.get(how, 0) + many
    return (
        entry,
        shown(figure(one["ratio"] for one in own), _AIMS[0]),
        shown(figure(one["silence_ms"] for one in own), _AIMS[1]),
        f"{max(one['megabytes'] for one in own):.0f} of {bound:.0f}",
        f"{own[-1]['megabytes_after']:.0f}",
        decimals(max(one["cores"] for one in own), 1),
        ", ".join(f"{how if how in CORPUS[entry].ends else f'**{how}**'} {many:,}" for how, many in ended.items()),
        sum(one["beside"]["failed"] for one in own),
        _afterwards(own),
    )


def _afterwards(own: list[Record]) -> str:
    found = []
    if not all(one["same_bytes"] for one in own):
        found.append("other bytes")
    if not all(one["same_workers"] for one in own):
        found.append("other workers")
    if left := max(one["connections_left"] for one in own):
        found.append(f"{left} connections left")
    if any(one["under_way"] for one in own):
        found.append("requests under way, or none to ask")
    if any(one["settle_seconds"] is None for one in own):
        found.append(f"busy for more than {_SETTLE_SECONDS:g} s")
    return ", ".join(found) or "as before"


def _line(record: Record) -> str:
    return (
        "{server} {entry}: p99 {ratio:.2f}, silence {silence_ms:.0f} ms, {megabytes:.0f} MB, after "
        "{megabytes_after:.0f} MB, settled {settle_seconds}, client {cores:.2f} cores, {ends}"
    ).format(**record)
