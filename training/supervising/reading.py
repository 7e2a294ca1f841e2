"""What a detector makes of a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

Line = Mapping[str, float]  # of stats.jsonl; a field that had no finite value is missing


class Reading(NamedTuple):
    """A signal beside its threshold.

    Attributes:
        signal: what was read.
        value: what it was.
        threshold: beyond it the line counts against the run.
        bad: whether it is beyond.
        clear: whether it is far enough on the other side to forget the lines before. Between the two nothing changes.
    """

    signal: str
    value: float
    threshold: float
    bad: bool
    clear: bool


class Detector(Protocol):
    """One kind of failure.

    Attributes:
        fault: its name.
        patience: lines that must be bad before it is called that.
    """

    fault: str
    patience: int

    def read(self, line: Line) -> Reading | None:
        """What this line says; None where it says nothing."""


def above(signal: str, value: float, threshold: float, clear: float) -> Reading:
    """Bad above the threshold, clear below `clear`."""
    return Reading(signal, value, threshold, value > threshold, value < clear)


def below(signal: str, value: float, threshold: float, clear: float) -> Reading:
    """Bad below the threshold, clear above `clear`."""
    return Reading(signal, value, threshold, value < threshold, value > clear)
