"""A picture of a run: throughput over the number of connections, and latency in the open loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.figures import Record, figure, select
from benchmarks.generators import CONVOLUTIONAL_28
from benchmarks.serving.plan import MANY, SHARE
from benchmarks.serving.servers import BENTOML, LITSERVE, MOSEC, MOSEC_JSON, OURS, TRITON

_SERVERS = (OURS, TRITON, MOSEC, MOSEC_JSON, BENTOML, LITSERVE)
_COLOURS = dict(zip((server.name for server in _SERVERS), plt.get_cmap("tab10").colors, strict=False))


def draw(results: dict[str, Any], file: Path) -> None:
    """Write the picture of a run as PNG."""
    records = select(results["records"], generator=CONVOLUTIONAL_28.name)
    shown, (one, many, latency) = plt.subplots(1, 3, figsize=(15, 4.5), layout="constrained")
    _throughput(one, records, 1)
    _throughput(many, records, MANY)
    one.legend(fontsize="small")
    _latency(latency, records)
    shown.suptitle(
        f"28x28, {results['settings']['engine_threads']} engine thread(s), {results['machine']['processor']}"
    )
    shown.savefig(file, dpi=110)
    plt.close(shown)


def _throughput(axes: Axes, records: list[Record], rows: int) -> None:
    engine = figure(record["engine_samples_per_second"] for record in records)
    if engine is not None:
        axes.axhspan(engine.low, engine.high, color="0.9")
        axes.axhline(engine.median, color="0.4", linestyle="--", label="bare engine")
    for server in _SERVERS:
        found = select(records, server=server.name, answer=next(iter(server.asked)), loop="closed", rows=rows)
        points = {
            connections: measured
            for connections in sorted({record["connections"] for record in found})
            if (measured := figure(one["samples_per_second"] for one in select(found, connections=connections)))
        }
        spread = [
            [point.median - point.low for point in points.values()],
            [point.high - point.median for point in points.values()],
        ]
        axes.errorbar(
            list(points), [point.median for point in points.values()], spread,
            marker="o", capsize=3, label=server.name, color=_COLOURS[server.name],
        )  # fmt: skip
    axes.set(xscale="log", xlabel="connections", ylabel="samples/s", title=f"{rows}-row requests, closed loop")
    axes.set_xticks([1, 8, 32, 128], ["1", "8", "32", "128"])
    axes.set_ylim(bottom=0)


def _latency(axes: Axes, records: list[Record]) -> None:
    for place, server in enumerate(_SERVERS):
        found = select(records, server=server.name, loop="poisson")
        quantiles = [figure(record[key] for record in found) for key in ("p50_ms", "p99_ms")]
        ends = [quantile.median for quantile in quantiles if quantile is not None]
        axes.plot(ends, [place] * len(ends), marker="o", linewidth=3, color=_COLOURS[server.name])
    axes.set_yticks(range(len(_SERVERS)), [server.name for server in _SERVERS])
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="ms from the scheduled arrival, p50 to p99")
    axes.set_title(f"1-row requests, Poisson at {SHARE:.0%} of each one's saturation", fontsize="medium")
