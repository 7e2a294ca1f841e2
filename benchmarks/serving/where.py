"""Rows that fulfil a condition which 1 row in 20 does: rows that a server looks at a second, over those that the engine
makes.

    python -m benchmarks where [--data ADULT.csv.gz] [--rounds 5] [--short]

The recipe `adult` is trained for a short time: what a row costs does not depend on how good it is. The yardstick is the
engine alone, with the server's own bucket and threads, latents drawn by seed in the same process. A client then asks
the server for 10,000 rows that are found before the first byte, and for 50,000 that are sent while they are found, of
ages that one row in twenty has; and, for comparison, for plain rows, as many as were looked at. All take turns, and the
engine of this process rests while the server is measured.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.commands import latentserve
from benchmarks.environments import AbsentError
from benchmarks.figures import Record, figure, select, shown
from benchmarks.runner import Results, table
from latentserve.service.benching.target import own_server
from latentserve.service.bundle import read_bundle
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.settings import Settings

TITLE = "Rows that fulfil a condition"
SHORT = True

_SHARE = 0.05
_RAW = "application/octet-stream"
_FIRST, _LATER = 10_000, 50_000  # rows: found before the first byte, and while they are sent
_AIM = 0.8
_DATA = Path(os.environ.get("TEST_DATA_FOLDER", "data")) / "adult" / "adult.csv.gz"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, default=_DATA, help="the table (TEST_DATA_FOLDER/adult/adult.csv.gz)")
    parser.add_argument("--rounds", type=int, help="default: 5; short: 1")
    parser.add_argument("--seconds", type=float, default=3.0, help="of the engine alone, each time")


def measure(given: argparse.Namespace, results: Results) -> None:
    """`records`: one for each load and round."""
    rounds = given.rounds or (1 if given.short else 5)
    records: list[Record] = []
    with tempfile.TemporaryDirectory(prefix="where-") as scratch:
        bundle = _bundle(given.data, Path(scratch), images=2_000 if given.short else 20_000)
        settings = Settings()
        engine = Engine(read_bundle(bundle), "cpu", settings.engine_threads, settings.max_batch)
        engine.warm_up()
        condition, share = _condition(engine)
        results |= {"rounds": rounds, "share": share, "where": condition, "records": records}
        first, later = (1_000, _FIRST + 1) if given.short else (_FIRST, _LATER)
        with own_server(bundle) as target, httpx.Client(base_url=target.url, timeout=600) as client:
            for number in range(rounds):
                records.append({"round": number, "load": "engine", **_engine_rate(engine, given.seconds)})
                for load, rows, where in (
                    ("found first", first, condition),
                    ("found while sent", later, condition),
                    ("all rows", int(first / share), None),
                ):
                    records.append({"round": number, "load": load, **_asked(client, rows, where, share, seed=number)})
                results.save()


def _bundle(data: Path, scratch: Path, images: int) -> Path:
    """A generator of the table."""
    if not data.is_file():
        raise AbsentError(f"{data}: there is no such table; --data names it")
    run, bundle = scratch / "run", scratch / "bundle"
    latentserve("train", "adult", "--data", data, "--out", run, "--set", f"images={images}", "--set", "snapshot=100000")
    latentserve("export", run, "--name", "adult", "--out", bundle)
    return bundle


def _condition(engine: Engine) -> tuple[dict[str, Any], float]:
    """Ages from which on a row in twenty is, and how many rows are so."""
    manifest = engine.bundle.manifest
    at = next(at for at, column in enumerate(manifest.sample.columns or []) if column.name == "age")
    ages = np.concatenate([_batch(engine, 1, start, 64)[:, at] for start in range(0, 64_000, 64)])
    least = int(np.rint(np.quantile(ages, 1 - _SHARE)))
    return {"age": {"min": least}}, float((np.rint(ages) >= least).mean())


def _engine_rate(engine: Engine, seconds: float) -> dict[str, float]:
    """Of the engine alone."""
    rows, began, cpu = 0, time.perf_counter(), time.process_time()
    while (spent := time.perf_counter() - began) < seconds:
        _batch(engine, 2, rows, engine.max_batch)
        rows += engine.max_batch
    return _figures(rows, spent, time.process_time() - cpu)


def _figures(rows: float, seconds: float, cpu: float) -> dict[str, float]:
    return {"rows_per_second": rows / seconds, "cpu_microseconds": cpu / rows * 1e6}


def _batch(engine: Engine, seed: int, start: int, rows: int) -> Any:
    inputs = RowsRequest(n=rows, seed=seed, offset=start).inputs(engine.bundle.manifest, 0, rows)
    return engine.run(inputs, ("sample",))[0]


def _asked(client: httpx.Client, rows: int, where: dict[str, Any] | None, share: float, seed: int) -> dict[str, float]:
    """Of the rows that a server looks at for a request."""
    body = {"n": rows, "seed": seed} | ({} if where is None else {"where": where})
    cpu, began = _server_cpu(client), time.perf_counter()
    reply = client.post("/v1/samples", json=body, headers={"Accept": _RAW}).raise_for_status()
    spent = time.perf_counter() - began
    looked_at = float(reply.headers.get("Latentserve-Looked-At", rows if where is None else rows / share))
    return _figures(looked_at, spent, _server_cpu(client) - cpu)


def _server_cpu(client: httpx.Client) -> float:
    """Seconds that the server's processes took so far, what is told once a second waited for."""
    time.sleep(1.1)
    told = client.get("/metrics").raise_for_status().text
    return sum(float(line.split()[1]) for line in told.splitlines() if line.startswith("process_cpu_seconds_total "))


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    records = results["records"]
    yield (
        f"{results['rounds']} rounds; medians with the least and the greatest, ratios within a round. "
        f"`where` is `{results['where']}`, which {results['share']:.2%} of the rows fulfil."
    )
    rows = []
    for load, about in (
        ("engine", "the engine alone, latents drawn"),
        ("found first", f"{_FIRST:,} rows that are found before the first byte, looked at"),
        ("found while sent", f"{_LATER:,} rows that are sent while they are found, looked at"),
        ("all rows", "plain rows, as many as the first looked at"),
    ):
        of = {one["round"]: one for one in select(records, load=load)}
        engine = {one["round"]: one for one in select(records, load="engine")}
        rates, cpu = (figure(one[name] for one in of.values()) for name in ("rows_per_second", "cpu_microseconds"))
        ratio = figure(of[n]["rows_per_second"] / engine[n]["rows_per_second"] for n in of)
        rows.append((about, shown(rates), "" if load == "engine" else shown(ratio, _AIM), shown(cpu)))
    yield from ("", *table(("", "rows/s", f"ratio (aim {_AIM})", "CPU, us a row"), rows), "")
    yield "CPU is of all of the server's processes, its watching among it; of the engine alone it is of this one."
