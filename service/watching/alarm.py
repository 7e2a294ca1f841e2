"""When an alarm that evidence raised stands, is renewed, and clears."""

from __future__ import annotations

from dataclasses import dataclass, replace

CALM = 4  # an alarm clears after so many times the rows that the drift took to show


@dataclass(frozen=True)
class Alarm:
    """Evidence reached its threshold, in rows seen by then; `arm` and `signal` are indices of what spoke loudest.

    `began`: the likeliest start of the drift, in rows. `again`: how often evidence gathered anew reached the threshold
    since the alarm was first raised.
    """

    rows: int
    began: int
    arm: int = 0
    signal: int = 0
    again: int = 0


def raised(standing: Alarm | None, now: Alarm) -> Alarm:
    """The alarm after the threshold was reached, by evidence that then starts again from nothing."""
    return replace(now, again=standing.again + 1) if standing else now


def kept(standing: Alarm | None, rows: int) -> Alarm | None:
    """The alarm after a block without: it clears once CALM times its `rows - began` have passed since it last was."""
    if standing and rows - standing.rows >= CALM * (standing.rows - standing.began):
        return None
    return standing
