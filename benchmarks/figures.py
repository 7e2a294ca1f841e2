"""Figures of a run: records of single measurements, and medians over the repetitions with the least and the greatest.

A ratio is taken within each repetition, of measurements a minute apart, and only then its median: what the machine did
to both at that time cancels.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]  # one measurement; serving.py writes them


@dataclass(frozen=True)
class Figure:
    """A median over repetitions, with the range."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        if self.low == self.high:
            return _short(self.median)
        return f"{_short(self.median)} [{_short(self.low)}-{_short(self.high)}]"


def figure(values: Iterable[float]) -> Figure | None:
    """None of no values."""
    found = list(values)
    return Figure(statistics.median(found), min(found), max(found)) if found else None


def select(records: list[Record], **fields: object) -> list[Record]:
    """The records that have these values in these fields."""
    return [record for record in records if all(record.get(name) == value for name, value in fields.items())]


def values(records: list[Record], key: str) -> dict[int, float]:
    """The value of `key` by repetition. Measurements of one case have one record a repetition."""
    return {record["repetition"]: record[key] for record in records}


def ratio(over: dict[int, float], under: dict[int, float]) -> Figure | None:
    """The ratio within each repetition that has both; None where none has."""
    return figure(over[key] / under[key] for key in over if under.get(key))


def _short(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
