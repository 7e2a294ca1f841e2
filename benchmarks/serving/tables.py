"""The report of a run in Markdown: the ratios that were promised, and every figure behind them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.figures import Figure, Record, figure, ratio, select, values
from benchmarks.generators import CONVOLUTIONAL_28, ONE_LAYER
from benchmarks.serving.plan import MANY, SHARE
from benchmarks.serving.servers import BENTOML, LITSERVE, MOSEC, MOSEC_JSON, OURS, OURS_INT8, TRITON, UVICORN, Server

_CASE = ("generator", "server", "answer", "rows", "loop", "connections")  # what tells one case from another
_RATE, _SAMPLES, _ENGINE = "requests_per_second", "samples_per_second", "engine_samples_per_second"


def report(results: dict[str, Any]) -> str:
    """The Markdown report of a run."""
    machine, settings = results["machine"], results["settings"]
    lines = [
        "# Serving benchmark",
        "",
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['kernel']}, "
        f"Python {machine['python']}; load before the run {machine['load_average_before']}. "
        f"{settings['engine_threads']} engine thread(s) for every server and for the bare engine; "
        f"{settings['repetitions']} repetition(s), {results['minutes']} minutes. "
        "Figures are medians over the repetitions, with the least and the greatest in brackets; "
        "ratios are taken within a repetition.",
        "",
        _versions(results["versions"]),
        "",
        "## How well",
        "",
        "| | value | floor | aim |",
        "|---|---|---|---|",
        *how_well(results["records"]),
        "",
        *_notes(results),
        "## Every figure",
        "",
        f"| {' | '.join((*_CASE, 'requests/s', 'over the bare engine', 'p50 ms', 'p99 ms'))} |",
        "|---" * (len(_CASE) + 4) + "|",
        *_every_figure(results["records"]),
    ]
    return "\n".join(lines) + "\n"


def how_well(records: list[Record]) -> list[str]:
    """The rows of the table of aims: what, value, floor, aim."""
    small = select(records, generator=CONVOLUTIONAL_28.name)

    def rate(server: Server, connections: int, where: list[Record] = small) -> dict[int, float]:
        usual = next(iter(server.asked))
        found = select(where, server=server.name, answer=usual, loop="closed", rows=1, connections=connections)
        return values(found, _RATE)

    def over_engine(server: Server, rows: int, connections: int, answer: str) -> Figure | None:
        found = select(small, server=server.name, answer=answer, loop="closed", rows=rows, connections=connections)
        return ratio(values(found, _SAMPLES), values(found, _ENGINE))

    def p99_over_p50(loop: str) -> Figure | None:
        found = select(small, server=OURS.name, loop=loop)
        return ratio(values(found, "p99_ms"), values(found, "p50_ms"))

    def over(peer: Server, connections: int) -> str:
        return _shown(ratio(rate(OURS, connections), rate(peer, connections)))

    simple = select(records, generator=ONE_LAYER.name)
    bulk = {loop: values(select(small, loop=loop), "p99_ms") for loop in ("beside bulk", "without bulk")}
    many, uint8 = over_engine(OURS, MANY, 8, "float32"), over_engine(OURS, MANY, 8, "uint8")
    even, poisson = p99_over_p50("even"), p99_over_p50("poisson")
    rows = [
        (
            "1-row requests/s at 32 connections, 28x28, over the bare engine at its best batch",
            _shown(over_engine(OURS, 1, 32, "float32")),
            "0.80",
            "0.95",
        ),
        (
            "the same over plain BentoML / LitServe / mosec / Triton (pytriton)",
            f"{over(BENTOML, 32)} / {over(LITSERVE, 32)} / JSON {over(MOSEC_JSON, 32)}, MessagePack {over(MOSEC, 32)} "
            f"/ {over(TRITON, 32)}",
            "3.0 / 3.5 / 1.3 / 1.2",
            "3.7 / 4.4 / 1.7 / 1.6",
        ),
        (
            "1 connection: over plain BentoML / Triton (pytriton)",
            f"{over(BENTOML, 1)} / {over(TRITON, 1)}",
            "2.5 / 2.8",
            "3.5 / 3.5",
        ),
        (
            "64-row requests, samples/s over the bare engine",
            f"float32 {_shown(many)}, uint8 {_shown(uint8)}",
            "0.95",
            "0.99",
        ),
        (
            "int8 variant, 64-row requests, over the bare **float32** engine",
            _shown(over_engine(OURS_INT8, MANY, 8, "float32")),
            "1.5",
            "2.0",
        ),
        (
            "overhead-only generator (one layer): requests/s at 32 connections over an empty answer of bare uvicorn",
            _shown(ratio(rate(OURS, 32, simple), rate(UVICORN, 32, simple))),
            "0.18",
            "0.25",
        ),
        (
            f"p99 over p50 at {SHARE:.0%} of saturation, open loop",
            f"evenly spaced {_shown(even)}, Poisson {_shown(poisson)}",
            "4",
            "2",
        ),
        (
            "p99 of 1-row requests (32 connections) beside a 100,000-row bulk request, over without it",
            _shown(ratio(bulk["beside bulk"], bulk["without bulk"])),
            "3",
            "1.5",
        ),
        (
            "on a GPU: >= 5 GFLOP a sample, fp32, uint8 answers, 64-row requests, over bare IO binding at its best",
            _shown(None),
            "0.85",
            "0.95",
        ),
    ]
    return [f"| {' | '.join(row)} |" for row in rows]


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


def _every_figure(records: list[Record]) -> Iterator[str]:
    cases = dict.fromkeys(tuple(record.get(key) for key in _CASE) for record in records)
    for generator in dict.fromkeys(record["generator"] for record in records):
        engine = figure(record[_ENGINE] for record in select(records, generator=generator))
        yield f"| {generator} | bare engine, samples/s | | | | | {engine} | 1 | | |"
    for case in cases:
        found = select(records, **dict(zip(_CASE, case, strict=True)))
        cells = [*("" if part is None else str(part) for part in case), _shown(figure(values(found, _RATE).values()))]
        cells.append(_shown(ratio(values(found, _SAMPLES), values(found, _ENGINE))))
        cells += [_shown(figure(values(found, key).values())) for key in ("p50_ms", "p99_ms")]
        yield f"| {' | '.join(cells)} |"


def _versions(found: dict[str, Any]) -> str:
    ours = ", ".join(f"{name} {version}" for name, version in found.items() if name != "peers")
    packages = {name: version for peer in found["peers"].values() for name, version in peer.items()}
    servers = [
        f"{name} {packages[name]}"
        for name in ("bentoml", "litserve", "mosec", "nvidia-pytriton", "uvicorn")
        if name in packages
    ]
    return f"Ours: {ours}. Peers: {', '.join(servers)}."


def _shown(value: Figure | None) -> str:
    return "not measured" if value is None else str(value)
