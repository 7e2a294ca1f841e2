"""Measurements as a table to read, and as records to compute with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

from latentserve.service.benching.measure import Measurement

_OVER = "over the engine"
_HEAD = ("requests", "connections", "requests/s", "samples/s", _OVER, "p50 ms", "p99 ms", "failed")


def table(measurements: Sequence[Measurement]) -> str:
    """A line for each, columns aligned; without an engine the column of it is left out."""
    lines = [_HEAD, *map(_line, measurements)]
    if all(measurement.engine is None for measurement in measurements):
        place = _HEAD.index(_OVER)
        lines = [(*line[:place], *line[place + 1 :]) for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join(
        "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in enumerate(cells))
        + "\n"
        for cells in (list(zip(line, widths, strict=True)) for line in lines)
    )


def record(measurement: Measurement) -> dict[str, object]:
    """Everything of one measurement; what has no value is None, for JSON has no NaN."""
    figures = {
        **asdict(measurement.case),
        "loop": "closed" if measurement.rate is None else "open",
        "offered_per_second": measurement.rate,
        "requests_per_second": measurement.load.per_second,
        "samples_per_second": measurement.samples_per_second,
        "engine_samples_per_second": measurement.engine,
        "over_engine": measurement.over_engine,
        **asdict(measurement.load),
    }
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in figures.items()}


def _line(measurement: Measurement) -> tuple[str, ...]:
    case, load = measurement.case, measurement.load
    rows = "1 row" if case.rows == 1 else f"{case.rows} rows"
    return (
        rows if measurement.rate is None else f"{rows}, {_short(measurement.rate)}/s offered",
        "any" if case.connections is None else str(case.connections),
        _short(load.per_second),
        _short(measurement.samples_per_second),
        "-" if measurement.over_engine is None else _ratio(measurement.over_engine),
        _milliseconds(load.p50_ms),
        _milliseconds(load.p99_ms),
        f"{load.failed:,}",
    )


def _short(rate: float) -> str:
    """A rate, to a whole number where that says enough."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def _milliseconds(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:,.1f}" if value >= 10 else f"{value:.2f}"
