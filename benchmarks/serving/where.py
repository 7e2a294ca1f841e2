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
                rate = _engine_rate(engine, given.seconds)
                records.append({"round": number, "load": "engine", "rows_per_second": rate})
                for load, rows, where in (
                    ("found first", first, condition),
                    ("found while sent", later, condition),
                    ("all rows", int(first / share), None),
                ):
                    looked_at = _asked(client, rows, where, share, seed=number)
                    records.append({"round": number, "load": load, "rows_per_second": looked_at})
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


def _engine_rate(engine: Engine, seconds: float) -> float:
    """Rows a second of the engine alone."""
    rows, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        _batch(engine, 2, rows, engine.max_batch)
        rows += engine.max_batch
    return rows / spent


def _batch(engine: Engine, seed: int, start: int, rows: int) -> Any:
    inputs = RowsRequest(n=rows, seed=seed, offset=start).inputs(engine.bundle.manifest, 0, rows)
    return engine.run(inputs, ("sample",))[0]


def _asked(client: httpx.Client, rows: int, where: dict[str, Any] | None, share: float, seed: int) -> float:
    """Rows a second that a server looks at for a request."""
    body = {"n": rows, "seed": seed} | ({} if where is None else {"where": where})
    began = time.perf_counter()
    reply = client.post("/v1/samples", json=body, headers={"Accept": _RAW}).raise_for_status()
    spent = time.perf_counter() - began
    looked_at = float(reply.headers.get("Latentserve-Looked-At", rows if where is None else rows / share))
    return looked_at / spent


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    records = results["records"]
    yield (
        f"{results['rounds']} rounds; medians with the least and the greatest, ratios within a round. "
        f"`where` is `{results['where']}`, which {results['share']:.2%} of the rows fulfil."
    )
    engine = {one["round"]: one["rows_per_second"] for one in select(records, load="engine")}
    rows = [("the engine alone, latents drawn", shown(figure(engine.values())), "")]
    for load, about in (
        ("found first", f"{_FIRST:,} rows that are found before the first byte, looked at"),
        ("found while sent", f"{_LATER:,} rows that are sent while they are found, looked at"),
        ("all rows", "plain rows, as many as the first looked at"),
    ):
        rates = {one["round"]: one["rows_per_second"] for one in select(records, load=load)}
        rows.append((about, shown(figure(rates.values())), shown(figure(rates[n] / engine[n] for n in rates), _AIM)))
    yield from ("", *table(("", "rows/s", f"ratio (aim {_AIM})"), rows))
