"""Large answers: how many rows a second a fast reader is given of each format, beside what the engine makes, and what a
slow reader costs in memory.

    python -m benchmarks streams [--table BUNDLE] [--rounds 3]

One worker serves a table of words and whole numbers (BUNDLE instead of it: any table), and pictures of 28x28. A fast
reader takes all of an answer and looks at none of it. The engine beside it has the server's own batch and threads, and
draws its latents by seed, in a process in which nothing else runs; it is measured before each answer. A slow reader
takes two megabytes a second. Memory is what all processes of the server have of their own, every 50 ms.

Then others ask for one row each, over 16 connections, beside one client that asks for a PNG picture again and again: a
sheet of 1,000 samples, and one large sample; and, for comparison, for the same rows as they are.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.figures import Record, figure, select, shown
from benchmarks.runner import Results, table
from benchmarks.serving.edges.bundles import pack
from benchmarks.serving.edges.group import Group
from latentserve.service.benching.load import closed_loop
from latentserve.service.benching.requests import RAW, Address, post, seeded
from latentserve.service.bundle import read_bundle
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.settings import load_settings

TITLE = "Large answers"
SHORT = True

ROWS = {"table": 1_000_000, "pictures": 50_000}
_FORMATS = {
    "table": ("text/csv", "application/octet-stream", "application/x-npy", "application/vnd.apache.arrow.stream",
              "application/vnd.apache.parquet", "application/x-ndjson"),
    "pictures": ("application/octet-stream", "application/x-npy", "application/vnd.apache.arrow.stream",
                 "application/vnd.apache.parquet", "application/zip"),
}  # fmt: skip
_UNAIMED = {"application/zip", "application/x-ndjson"}  # without an aim: a file a row, or an object a row
_SHARE, _MEGABYTES = 0.8, 300
_SLOW_RATE, _SLOW_SECONDS = 2e6, 30.0
_ENGINE_SECONDS = 3.0
_PIECE = 1 << 20
_BESIDE = {"1,000 of 28x28": ("digits", 1_000), "one of 1024x1024": ("canvases", 1)}
_MEDIA = {"PNG": "image/png", "raw": RAW}
_CONNECTIONS, _BESIDE_SECONDS = 16, 5.0
_SLOWER = 1.5  # the p99 of others, at the most, over that without


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--table", type=Path, metavar="BUNDLE", help="a table, instead of the one that is made")
    parser.add_argument("--rounds", type=int, default=3)


def measure(given: argparse.Namespace, results: Results) -> None:
    """`fast` and `slow`: a record for each answer."""
    share = 50 if given.short else 1
    results |= {"rounds": 1 if given.short else given.rounds, "fast": [], "slow": []}
    with tempfile.TemporaryDirectory(prefix="streams-") as name:
        made = pack(Path(name), "census", "digits")
        bundles = {"table": given.table or made[0], "pictures": made[1]}
        with Group(list(bundles.values()), 1, {"max_n": max(ROWS.values())}) as group:
            names = {kind: read_bundle(path).manifest.name for kind, path in bundles.items()}
            for number in range(results["rounds"]):
                for kind, formats in _FORMATS.items():
                    for media in formats:
                        engine = _engine(bundles[kind])
                        body = {"model": names[kind], "n": ROWS[kind] // share, "seed": number}
                        record = {"round": number, "kind": kind, "media": media, "engine_rows": engine}
                        results["fast"].append(record | _read(group, body, media))
                        results.save()
            seconds = _SLOW_SECONDS / 10 if given.short else _SLOW_SECONDS
            for kind, formats in _FORMATS.items():
                for media in formats:
                    body = {"model": names[kind], "n": ROWS[kind], "seed": 0}
                    record = {"kind": kind, "media": media}
                    results["slow"].append(record | _read(group, body, media, _SLOW_RATE, seconds))
                    results.save()
        with Group(pack(Path(name) / "beside", "digits", "canvases"), 1, {}) as group:
            _measure_beside(Address(group.port), results, _BESIDE_SECONDS / 5 if given.short else _BESIDE_SECONDS)


def _measure_beside(address: Address, results: Results, seconds: float) -> None:
    """`beside`: a record for each load of one-row requests, with what was asked for beside them."""
    results["beside"] = []
    others = seeded(1, RAW, model="digits")
    closed_loop(address, others, _CONNECTIONS, seconds)
    for number in range(results["rounds"]):
        for what, (model, n) in _BESIDE.items():
            for form, media in {"": "", **_MEDIA}.items():
                asked = json.dumps({"model": model, "n": n, "seed": number}).encode()
                beside = post("/v1/samples", asked, media) if form else None
                load = closed_loop(address, others, _CONNECTIONS, seconds, beside)
                results["beside"].append(
                    {"round": number, "what": what, "form": form, "p50_ms": load.p50_ms, "p99_ms": load.p99_ms,
                     "failed": load.failed, "per_second": load.per_second, "megabytes": load.beside_megabytes}
                )  # fmt: skip
                results.save()


def _engine(bundle: Path) -> float:
    """Rows a second, in a process of its own."""
    command = [sys.executable, "-P", "-m", __name__, str(bundle)]
    folder = Path(__file__).parents[2]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder).stdout)


def engine_rows_per_second(bundle: Path) -> float:
    """Of one engine thread, at the batch that a server has, of latents that are drawn by seed as it goes."""
    settings = load_settings(bundles=(bundle,))
    engine = Engine(read_bundle(bundle), "cpu", threads=1, max_batch=settings.max_batch)
    engine.warm_up()
    request, rows = RowsRequest(n=1 << 40), settings.max_batch
    start, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < _ENGINE_SECONDS:
        engine.generate(request.inputs(engine.bundle.manifest, start, rows))
        start += rows
    return start / spent


def _read(
    group: Group, body: dict[str, object], media: str, rate: float | None = None, most: float = float("inf")
) -> dict[str, Any]:
    """Take an answer, at `rate` bytes a second for so many seconds at the most; the status, rows a second, bytes, and
    the most megabytes over those before."""
    idle, seen, over = group.megabytes(), [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            seen.append(group.megabytes() - idle)

    watcher = threading.Thread(target=watch, daemon=True)  # an answer that breaks off ends the benchmark
    watcher.start()
    taken, head, began = 0, b"", time.perf_counter()
    with closing(socket.create_connection(("127.0.0.1", group.port), 120)) as line:
        line.sendall(post("/v1/samples", json.dumps(body).encode(), media, "application/json", "Connection: close"))
        buffer = bytearray(_PIECE if rate is None else 1 << 16)
        while (size := line.recv_into(buffer)) and time.perf_counter() - began < most:
            if len(head) < 64:
                head += buffer[:64]
            taken += size
            if rate is not None:
                time.sleep(max(0.0, began + taken / rate - time.perf_counter()))
    seconds = time.perf_counter() - began
    over.set()
    watcher.join()
    rows = body["n"] if not size and isinstance(body["n"], int) else 0
    return {
        "status": int(head.split(b" ")[1]), "rows_per_second": rows / seconds, "bytes": taken, "whole": not size,
        "megabytes": max(seen), "after_megabytes": group.megabytes() - idle,
    }  # fmt: skip


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    yield f"{results['rounds']} rounds; medians with the least and the greatest, ratios within a round."
    rows = []
    for kind, formats in _FORMATS.items():
        for media in formats:
            found: list[Record] = select(results["fast"], kind=kind, media=media)
            slow: list[Record] = select(results["slow"], kind=kind, media=media)
            if not found:
                continue
            good = [one for one in found if one["status"] == 200 and one["whole"]]
            engine = figure(one["engine_rows"] for one in found)
            ratio = figure(one["rows_per_second"] / one["engine_rows"] for one in good)
            rows.append(
                (
                    kind, media, engine, figure(one["rows_per_second"] for one in good),
                    shown(ratio, _SHARE), "-" if media in _UNAIMED else f">= {_SHARE}",
                    shown(figure(one["megabytes"] for one in good), _MEGABYTES),
                    shown(figure(one["megabytes"] for one in slow if one["status"] == 200), _MEGABYTES),
                )
            )  # fmt: skip
    head = (
        "sample", "answer", "engine, rows/s", "answer, rows/s", "ratio", "aim", "memory, fast reader, MB",
        f"slow reader, MB (aim < {_MEGABYTES})",
    )  # fmt: skip
    yield from ("", *table(head, rows))
    yield from ("", f"{ROWS['table']:,} rows of the table, {ROWS['pictures']:,} pictures.", "")
    yield from _beside(results.get("beside", []))


def _beside(records: list[Record]) -> Iterator[str]:
    """One-row requests of others, beside pictures."""
    rows = []
    for what in _BESIDE:
        without = {one["round"]: one for one in select(records, what=what, form="")}
        for form in _MEDIA:
            found = {one["round"]: one for one in select(records, what=what, form=form)}
            if not found:
                continue
            ratio = figure(found[number]["p99_ms"] / without[number]["p99_ms"] for number in found)
            rows.append(
                (
                    what, form, figure(one["megabytes"] for one in found.values()),
                    figure(one["p99_ms"] for one in without.values()), figure(one["p99_ms"] for one in found.values()),
                    shown(ratio, _SLOWER), f"<= {_SLOWER}" if form == "PNG" else "-",
                    sum(one["failed"] for one in found.values()),
                )
            )  # fmt: skip
    head = ("beside", "as", "MB of it", "p99 without, ms", "p99 beside it, ms", "ratio", "aim", "failed")
    yield from table(head, rows)


if __name__ == "__main__":  # one measurement, in a process of its own
    print(engine_rows_per_second(Path(sys.argv[1])))
