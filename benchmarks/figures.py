"""Figures of a run: records of single measurements, and medians over the repetitions with the least and the greatest.

A ratio is taken within each repetition, of measurements a minute apart, and only then its median: what the machine did
to both at that time cancels.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]  # one measurement


@dataclass(frozen=True)
class Figure:
    """A median over repetitions, with the range."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return self.beside()

    def beside(self, *aims: float) -> str:
        """With digits enough that no value is rounded onto an aim or over it."""
        median, low, high = (_short(value, aims) for value in (self.median, self.low, self.high))
        return median if self.low == self.high else f"{median} [{low}-{high}]"


def shown(value: Figure | None, *aims: float) -> str:
    """See Figure.beside."""
    return "not measured" if value is None else value.beside(*aims)


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


def decimals(value: float, places: int, *aims: float) -> str:
    """With so many decimal places, or as many more as it takes not to be rounded onto an aim or over it."""
    texts = (f"{value:.{many}f}" for many in range(places, places + 9))
    return next((text for text in texts if _same_side(value, float(text), aims)), repr(value))


def _short(value: float, aims: Iterable[float] = ()) -> str:
    """Three significant digits, without an exponent, or as many more as `decimals` would take."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    texts = (f"{value:.{many}g}" for many in range(3, 12))
    return next((text for text in texts if _same_side(value, float(text), aims)), repr(value))


def _same_side(value: float, rounded: float, aims: Iterable[float]) -> bool:
    return all((value > aim) == (rounded > aim) and (value < aim) == (rounded < aim) for aim in aims)
