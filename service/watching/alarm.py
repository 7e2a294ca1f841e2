"""When an alarm that evidence raised stands, is renewed, and clears."""

from __future__ import annotations

from dataclasses import dataclass, replace

CALM = 4  # an alarm clears after so many times the rows that the drift took to show


@dataclass(frozen=True)
class Alarm:
    """Evidence reached its threshold.

    Attributes:
        rows: seen when it last did.
        began: the likeliest start of the drift, in rows, as the first evidence had it.
        clears: the row at which the alarm clears, unless evidence gathered anew reaches the threshold before.
        arm, signal: indices of what spoke loudest in the first evidence.
        again: how often the threshold was reached since the alarm was first raised.
        less: of a mix: what spoke loudest was there less often than in the reference, not more often.
    """

    rows: int
    began: int
    clears: int
    arm: int = 0
    signal: int = 0
    again: int = 0
    less: bool = False


def raised(
    standing: Alarm | None, rows: int, began: int, arm: int = 0, signal: int = 0, *, less: bool = False
) -> Alarm:
    """The alarm after the threshold was reached at `rows`, by evidence that then starts again from nothing. One that
    stands keeps its start: evidence gathered anew knows only of the rows since it was last reached."""
    clears = rows + CALM * (rows - began)
    if standing is None:
        return Alarm(rows, began, clears, arm, signal, less=less)
    return replace(standing, rows=rows, clears=max(clears, standing.clears), again=standing.again + 1)


def kept(standing: Alarm | None, rows: int) -> Alarm | None:
    """The alarm after a block without: none once it clears."""
    return None if standing and rows >= standing.clears else standing
