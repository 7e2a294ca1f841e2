"""Many requests at once: in which order they end, and whether all do.

    python -m benchmarks order [--rounds 5] [--short] [--against CHECKOUT]

One worker with one engine thread serves pictures, with its own deadlines. At once are asked, each over a connection
that is open already:

- 100 equal requests of 64 rows of 3x16x16: their mean time, over that of the best order, in which one ends after the
  other;
- 70 streams of 28x28, and while they are made a request for a row twenty times a second: how many streams end whole,
  how many are 504, and what the small ones waited;
- one stream beside 16 clients that each ask for a row again and again: its time over that without them.

CHECKOUT is another one of latentserve with its .venv, such as the commit before: measured first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import uvloop

from benchmarks.figures import Record, figure, shown
from benchmarks.runner import Results, table
from benchmarks.serving.edges.bundles import pack
from benchmarks.serving.edges.group import Group
from benchmarks.serving.edges.line import Line, LostError
from latentserve.service.benching.requests import RAW, SAMPLES, post

TITLE = "Order"
SHORT = True

_EQUAL, _EQUAL_ROWS = 100, 64
_STREAMS = 70
_SMALL_SECONDS = 0.05
_CROWD = 16
_ANSWER_SECONDS = 600.0
_MEAN_AIM = 1.1


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, help="default: 5; short: 1")
    parser.add_argument("--rows", type=int, help="of a stream (default: 1,000; short: 300)")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout, measured before this one")


def measure(given: argparse.Namespace, results: Results) -> None:
    """`records`: one for each round and server."""
    rounds, rows = given.rounds or (1 if given.short else 5), given.rows or (300 if given.short else 1000)
    records: list[Record] = []
    results |= {"rounds": rounds, "rows": rows, "records": records}
    checkouts = {"before": given.against} if given.against else {}
    with tempfile.TemporaryDirectory(prefix="order-") as scratch:
        bundles = pack(Path(scratch), "digits", "tiny")
        for name, checkout in {**checkouts, "now": None}.items():
            with (
                Group(bundles, 1, {}, checkout) as group,
                asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
            ):
                for _ in range(rounds):
                    records.append({"server": name, **runner.run(_round(group.port, rows))})
                    results.save()


async def _round(port: int, rows: int) -> dict[str, Any]:
    for model in ("tiny", "digits"):
        await _asked(port, [_request(_EQUAL_ROWS, model)] * 2)  # the server learns how fast it is
    equal = await _equal(port)
    streams = await _streams(port, rows)
    alone = await _asked(port, [_request(rows)])
    return {**equal, **streams, "stream_alone_seconds": alone[0][1], **await _beside(port, rows)}


async def _equal(port: int) -> dict[str, Any]:
    """All at once."""
    ended = await _asked(port, [_request(_EQUAL_ROWS, "tiny")] * _EQUAL)
    times = [seconds for _, seconds in ended]
    return {"equal_ended": _counted(ended), "equal_mean_seconds": fmean(times), "equal_over_best": over_best(times)}


def over_best(seconds: Sequence[float]) -> float:
    """Their mean, over that of the same number, ended one after the other and evenly within the longest of them."""
    return fmean(seconds) / (max(seconds) * (len(seconds) + 1) / (2 * len(seconds)))


async def _streams(port: int, rows: int) -> dict[str, Any]:
    """All at once, and small requests between them, evenly spaced."""
    over = asyncio.Event()
    small = asyncio.create_task(_small(port, over))
    ended = await _asked(port, [_request(rows)] * _STREAMS)
    over.set()
    waited = await small
    return {
        "streams_ended": _counted(ended),
        "streams_seconds": [seconds for _, seconds in ended],
        "small_ended": _counted(waited),
        "small_p50_ms": float(np.quantile([seconds for _, seconds in waited], 0.5) * 1e3),
        "small_p99_ms": float(np.quantile([seconds for _, seconds in waited], 0.99) * 1e3),
    }


async def _small(port: int, over: asyncio.Event) -> list[tuple[str, float]]:
    asks: list[asyncio.Task[list[tuple[str, float]]]] = []
    due = time.perf_counter()
    while not over.is_set():
        due += _SMALL_SECONDS
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        asks.append(asyncio.create_task(_asked(port, [_request(1)])))
    return [ended for ask in asks for ended in await ask]


async def _beside(port: int, rows: int) -> dict[str, Any]:
    """A stream beside a crowd."""
    over = asyncio.Event()
    answers = 0

    async def one() -> None:
        nonlocal answers
        line = await Line.connect(port)
        while not over.is_set():
            answer = await line.ask(_request(1), _ANSWER_SECONDS)
            answers += answer.status == 200  # in one step: the others count meanwhile
        line.close()

    crowd = [asyncio.create_task(one()) for _ in range(_CROWD)]
    ((how, seconds),) = await _asked(port, [_request(rows)])
    over.set()
    await asyncio.gather(*crowd)
    return {"beside_ended": how, "beside_seconds": seconds, "beside_answers": answers}


async def _asked(port: int, requests: Sequence[bytes]) -> list[tuple[str, float]]:
    """Ask all at once: of each how it ended, a status or `lost`, and the seconds until then."""
    lines = [await Line.connect(port) for _ in requests]
    began = time.perf_counter()

    async def ask(line: Line, request: bytes) -> tuple[str, float]:
        try:
            how = str((await line.ask(request, _ANSWER_SECONDS)).status)
        except (LostError, TimeoutError):
            how = "lost"
        finally:
            line.close()
        return how, time.perf_counter() - began

    return list(await asyncio.gather(*map(ask, lines, requests)))


def _request(rows: int, model: str = "digits") -> bytes:
    return post(SAMPLES, json.dumps({"model": model, "n": rows, "seed": rows, "dtype": "uint8"}).encode(), RAW)


def _counted(ended: Sequence[tuple[str, float]]) -> dict[str, int]:
    return dict(Counter(how for how, _ in ended).most_common())


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    records = results["records"]
    yield (
        f"{results['rounds']} rounds, one worker, one engine thread; medians, and the range. Aims: 100 equal requests "
        f"in {_MEAN_AIM} of the best order's mean time, no stream without an answer."
    )
    yield ""
    columns = (
        "server",
        "100 of 64 rows: mean, s",
        "over the best order",
        f"70 streams of {results['rows']:,} rows ended",
        "the last after, s",
        "a row beside them: p50, ms",
        "p99, ms",
        "ended",
        "a stream beside 16 clients, over alone",
    )
    rows = []
    for server in dict.fromkeys(record["server"] for record in records):
        own = [record for record in records if record["server"] == server]
        rows.append(
            (
                server,
                shown(figure(one["equal_mean_seconds"] for one in own)),
                shown(figure(one["equal_over_best"] for one in own), _MEAN_AIM),
                _words(own, "streams_ended"),
                shown(figure(max(one["streams_seconds"]) for one in own)),
                shown(figure(one["small_p50_ms"] for one in own)),
                shown(figure(one["small_p99_ms"] for one in own)),
                _words(own, "small_ended"),
                shown(figure(one["beside_seconds"] / one["stream_alone_seconds"] for one in own)),
            )
        )
    yield from table(columns, rows)


def _words(records: list[Record], key: str) -> str:
    together: Counter[str] = Counter()
    for record in records:
        together.update(record[key])
    return ", ".join(f"{how} {many:,}" for how, many in together.most_common())
