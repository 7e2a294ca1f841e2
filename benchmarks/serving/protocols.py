"""The same row by other routes than `POST /v1/samples`: answers a second over those that it gives.

    python -m benchmarks protocols [--seconds 1.5] [--rounds 7]

One worker serves a small picture, so that what is measured is everything but the engine. The two routes of a pair take
turns at 32 connections; both are asked for one row of a seed, and answer with the same content.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.environments import AbsentError
from benchmarks.figures import figure, select, shown
from benchmarks.generators import CONVOLUTIONAL_28, TINY, Generator
from benchmarks.runner import Results, table
from benchmarks.serving.edges.group import Group
from benchmarks.serving.servers import Subject
from latentserve.service.benching.load import closed_loop
from latentserve.service.benching.requests import RAW, Address, Requests, ask, get, post, seeded
from latentserve.service.bundle import read_bundle

TITLE = "The same row by other routes"

AIM = 0.9
_GENERATORS = (TINY, CONVOLUTIONAL_28)
_CONNECTIONS = 32
_JSON = "application/json"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=1.5, help="of a measurement")
    parser.add_argument("--rounds", type=int, default=7)


def measure(given: argparse.Namespace, results: Results) -> None:
    """Every pair, in turn. Raises AbsentError."""
    results |= {"rounds": given.rounds, "seconds": given.seconds, "records": []}
    for generator in _GENERATORS:
        with tempfile.TemporaryDirectory(prefix="protocols-") as name:
            subject = Subject(Path(name), threads=1)
            subject.model.write_bytes(generator.build().SerializeToString())
            subject.pack("bundle")
            version = read_bundle(Path(name) / "bundle").manifest.version
            with Group([Path(name) / "bundle"], 1, {}) as group:
                _measure(generator, _pairs(version), Address(group.port), given, results)


def _measure(
    generator: Generator,
    pairs: dict[str, dict[str, Requests]],
    address: Address,
    given: argparse.Namespace,
    results: Results,
) -> None:
    for pair in pairs.values():
        for requests in pair.values():
            status, content = ask(address, requests(1), 30)
            if status != 200:
                raise AbsentError(f"{status} {content[:200]!r} to {requests(1)[:200]!r}")
            closed_loop(address, requests, _CONNECTIONS, 0.5)
    for number in range(given.rounds):
        for name, pair in pairs.items():
            for side in sorted(pair, reverse=bool(number % 2)):
                load = closed_loop(address, pair[side], _CONNECTIONS, given.seconds)
                results["records"].append(
                    {"generator": generator.name, "pair": name, "side": side, "round": number,
                     "per_second": load.per_second, "failed": load.failed, "p99_ms": load.p99_ms}
                )  # fmt: skip
        results.save()


def _pairs(version: str) -> dict[str, dict[str, Requests]]:
    """By name: `other` and `post`."""
    wanted = {"name": "sample", "parameters": {"binary_data": True}}

    def inference(number: int) -> bytes:
        asked = {"parameters": {"seed": number}, "inputs": [], "outputs": [wanted]}
        return post("/v2/models/bench/infer", json.dumps(asked).encode(), RAW)

    def picture(number: int) -> bytes:
        asked = {"prompt": "", "n": 1, "seed": number, "response_format": "b64_json"}
        return post("/v1/images/generations", json.dumps(asked).encode(), _JSON)

    def by_get(number: int) -> bytes:
        return get(f"/v1/models/bench/versions/{version}/samples/{number}?format=raw", "*/*")

    def fixed(number: int) -> bytes:
        return post("/v1/samples", b'{"n":1,"seed":%d,"deterministic":true}' % number, RAW)

    return {
        "GET, raw": {"other": by_get, "post": fixed},
        "Open Inference Protocol, binary": {"other": inference, "post": seeded(1)},
        "images of OpenAI, PNG in JSON": {"other": picture, "post": seeded(1, _JSON)},
    }


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    yield (
        f"{results['rounds']} rounds of {results['seconds']} s at {_CONNECTIONS} connections, in turn; medians with "
        "the least and the greatest, ratios within a round."
    )
    rows = []
    records = results["records"]
    for generator in _GENERATORS:
        for pair in dict.fromkeys(one["pair"] for one in records):
            sides = {
                side: {one["round"]: one for one in select(records, generator=generator.name, pair=pair, side=side)}
                for side in ("other", "post")
            }
            if not sides["other"]:
                continue
            rates = [figure(one["per_second"] for one in sides[side].values()) for side in ("other", "post")]
            ratio = figure(sides["other"][n]["per_second"] / sides["post"][n]["per_second"] for n in sides["other"])
            rows.append((generator.name, pair, *rates, shown(ratio, AIM)))
    head = ("generator", "route", "answers/s", "POST /v1/samples", f"ratio (aim >= {AIM})")
    yield from ("", *table(head, rows))
    yield from ("", f"{sum(one['failed'] for one in records)} requests failed.")
