"""The page of a run: the ratios that were promised, and every figure behind them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.figures import Figure, Record, figure, ratio, select, shown, values
from benchmarks.generators import CONVOLUTIONAL_28, ONE_LAYER
from benchmarks.runner import table
from benchmarks.serving.plan import MANY, SHARE
from benchmarks.serving.servers import (
    BEFORE,
    BENTOML,
    BENTOML_BASE64,
    INFERRED,
    LITSERVE,
    LITSERVE_BASE64,
    MOSEC,
    MOSEC_JSON,
    OURS,
    OURS_INT8,
    OURS_JSON,
    TRITON,
    UVICORN,
    Server,
)

_CASE = ("generator", "server", "answer", "rows", "loop", "connections")  # what tells one case from another
_PEERS = ("bentoml", "litserve", "mosec", "nvidia-pytriton", "uvicorn")
_RATE, _SAMPLES, _ENGINE = "requests_per_second", "samples_per_second", "engine_samples_per_second"


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    settings, records = results["settings"], results["records"]
    yield (
        f"{settings['engine_threads']} engine thread(s) for every server and for the bare engine; "
        f"{settings['repetitions']} repetition(s), {results['minutes']} minutes. Figures are medians over the "
        "repetitions, with the least and the greatest in brackets; ratios are taken within a repetition. Formats are "
        "those of the answers. Bytes are float32, in C order, where nothing else is said; base64 is of these bytes, a "
        "string a row, in JSON, for batching that takes no bare bytes. Ours is asked by seed, peers are sent latents."
    )
    packages = {name: version for peer in results["peers"].values() for name, version in peer.items()}
    yield f"Peers: {', '.join(f'{name} {packages[name]}' for name in _PEERS if name in packages)}."
    yield from ("", "## How well", "", *table(("", "value", "floor", "aim"), how_well(records)), "")
    yield from _notes(results)
    head = (*_CASE, "requests/s", "over the bare engine", "p50 ms", "p99 ms")
    yield from ("## Every figure", "", *table(head, _every_figure(records)))


def how_well(records: list[Record]) -> list[Sequence[object]]:
    """The rows of the table of aims: what, value, floor, aim."""
    small = select(records, generator=CONVOLUTIONAL_28.name)

    def rate(
        server: Server, connections: int, where: list[Record] = small, answer: str | None = None
    ) -> dict[int, float]:
        asked = answer or next(iter(server.asked))
        found = select(where, server=server.name, answer=asked, loop="closed", rows=1, connections=connections)
        return values(found, _RATE)

    def over_engine(server: Server, rows: int, connections: int, answer: str) -> Figure | None:
        found = select(small, server=server.name, answer=answer, loop="closed", rows=rows, connections=connections)
        return ratio(values(found, _SAMPLES), values(found, _ENGINE))

    def p99_over_p50(loop: str) -> Figure | None:
        found = select(small, server=OURS.name, loop=loop)
        return ratio(values(found, "p99_ms"), values(found, "p50_ms"))

    def over(peer: Server, connections: int = 32, ours: Server = OURS) -> str:
        return shown(ratio(rate(ours, connections), rate(peer, connections)))

    def by_inference(where: list[Record]) -> str:
        return shown(ratio(rate(OURS, 32, where, INFERRED), rate(OURS, 32, where)), 0.9, 1.0)

    simple = select(records, generator=ONE_LAYER.name)
    bulk = {loop: values(select(small, loop=loop), "p99_ms") for loop in ("beside bulk", "without bulk")}
    many, uint8 = over_engine(OURS, MANY, 8, "float32 bytes"), over_engine(OURS, MANY, 8, "uint8 bytes")
    rows: list[Sequence[object]] = [
        (
            "1-row requests/s at 32 connections, 28x28, ours in bytes, over the bare engine at its best batch",
            shown(over_engine(OURS, 1, 32, "float32 bytes"), 0.80, 0.95),
            "0.80",
            "0.95",
        ),
        (
            "the same, ours in bytes, over plain BentoML in JSON / LitServe in JSON / mosec in JSON, in MessagePack / "
            "Triton (pytriton) in bytes",
            f"{over(BENTOML)} / {over(LITSERVE)} / {over(MOSEC_JSON)}, {over(MOSEC)} / {over(TRITON)}",
            "3.0 / 3.5 / 1.3 / 1.2",
            "3.7 / 4.4 / 1.7 / 1.6",
        ),
        (
            "the same, numbers in JSON on both sides: over BentoML / LitServe / mosec",
            f"{over(BENTOML, ours=OURS_JSON)} / {over(LITSERVE, ours=OURS_JSON)} / {over(MOSEC_JSON, ours=OURS_JSON)}",
            "-",
            "-",
        ),
        (
            "the same, float32 on both sides: ours in bytes, over BentoML / LitServe in base64",
            f"{over(BENTOML_BASE64)} / {over(LITSERVE_BASE64)}",
            "-",
            "-",
        ),
        (
            "1 connection: ours in bytes, over plain BentoML in JSON / Triton (pytriton) in bytes",
            f"{over(BENTOML, 1)} / {over(TRITON, 1)}",
            "2.5 / 2.8",
            "3.5 / 3.5",
        ),
        (
            "64-row requests, samples/s over the bare engine",
            f"float32 bytes {shown(many, 0.95, 0.99)}, uint8 bytes {shown(uint8, 0.95, 0.99)}",
            "0.95",
            "0.99",
        ),
        (
            "int8 variant, 64-row requests, over the bare **float32** engine",
            shown(over_engine(OURS_INT8, MANY, 8, "float32 bytes"), 1.5, 2.0),
            "1.5",
            "2.0",
        ),
        (
            "overhead-only generator (one layer): requests/s at 32 connections over an empty answer of bare uvicorn",
            shown(ratio(rate(OURS, 32, simple), rate(UVICORN, 32, simple)), 0.18, 0.25),
            "0.18",
            "0.25",
        ),
        (
            "1-row requests/s at 32 connections by the Open Inference Protocol, over /v1/samples: 28x28 / one layer",
            f"{by_inference(small)} / {by_inference(simple)}",
            "0.90",
            "1.00",
        ),
        (
            f"p99 over p50 at {SHARE:.0%} of saturation, open loop",
            f"evenly spaced {shown(p99_over_p50('even'), 2, 4)}, Poisson {shown(p99_over_p50('poisson'), 2, 4)}",
            "4",
            "2",
        ),
        (
            "p99 of 1-row requests (32 connections) beside a 100,000-row bulk request, over without it",
            shown(ratio(bulk["beside bulk"], bulk["without bulk"]), 1.5, 3),
            "3",
            "1.5",
        ),
        (
            "on a GPU: >= 5 GFLOP a sample, fp32, uint8 answers, 64-row requests, over bare IO binding at its best",
            None,
            "0.85",
            "0.95",
        ),
    ]
    if select(records, server=BEFORE.name):
        asked = {"rows": MANY, "connections": 8, "answer": "float32 bytes", "loop": "closed"}
        large = [values(select(small, server=server.name, **asked), _SAMPLES) for server in (OURS, BEFORE)]
        one_layer = ratio(rate(OURS, 32, simple), rate(BEFORE, 32, simple))
        rows.append(
            (
                "over the checkout before: 1-row requests/s at 32 connections, 28x28 / one layer / 64-row samples/s",
                f"{over(BEFORE)} / {shown(one_layer)} / {shown(ratio(*large))}",
                "-",
                "no less than 1",
            )
        )
    return rows


def _notes(results: dict[str, Any]) -> Iterator[str]:
    bulk = select(results["records"], loop="beside bulk")
    if bulk:
        row_megabytes = 4 * 28 * 28 / 1e6
        rows = figure(record["beside_megabytes"] / row_megabytes / record["seconds"] for record in bulk)
        small_rows = figure(record["samples_per_second"] for record in bulk)
        yield f"Beside each other: {rows} rows/s of the bulk request and {small_rows} of the small ones."
        yield ""
    for name, reason in results["absent"].items():
        yield f"Absent: {name} ({reason})."
        yield ""
    failed = sum(record["failed"] for record in results["records"])
    busiest = max((record["client_cpu"] for record in results["records"]), default=0.0)
    yield f"{failed} requests failed. The load generator took at most {busiest:.2f} of a core."
    yield ""


def _every_figure(records: list[Record]) -> Iterator[Sequence[object]]:
    cases = dict.fromkeys(tuple(record.get(key) for key in _CASE) for record in records)
    for generator in dict.fromkeys(record["generator"] for record in records):
        engine = figure(record[_ENGINE] for record in select(records, generator=generator))
        yield generator, "bare engine, samples/s", *[""] * 4, engine, "1", "", ""
    for case in cases:
        found = select(records, **dict(zip(_CASE, case, strict=True)))
        shares = ratio(values(found, _SAMPLES), values(found, _ENGINE))
        times = (figure(values(found, key).values()) for key in ("p50_ms", "p99_ms"))
        yield *("" if part is None else part for part in case), figure(values(found, _RATE).values()), shares, *times
