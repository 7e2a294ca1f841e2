"""What each time is that a module draws: chance, of which every row has its own, or numbers that a fixed seed makes the
same at each call."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from latentserve.service.packing.foreign.roles import LatentRole
from latentserve.service.packing.foreign.rows_axis import ROWS, rows_axis
from latentserve.service.packing.foreign.signature import Input
from latentserve.training.errors import ExportError
from latentserve.training.export.chance import Drawn


@dataclass(frozen=True)
class OfRow:
    """Numbers of each row's own: an input, whose rows lie along an axis of what is drawn. `several`: an axis that has
    so many places for a row."""

    input: Input
    axis: int
    several: bool

    def numbers(self, piece: Tensor) -> Tensor:
        """As they are drawn, of the input's columns [N, width]."""
        if self.several:
            return piece.reshape(-1, *self.input.shape[1:])
        rows = piece.reshape(-1, *self.input.shape)
        return rows.movedim(0, self.axis) if self.axis else rows


@dataclass(frozen=True)
class Once:
    """What torch drew in a call of one row; `axis`: along which every row has the same, None: all rows share it."""

    own: Tensor
    axis: int | None

    def numbers(self, z: Tensor) -> Tensor:
        """As they are drawn, for the rows of z [N, ...]."""
        own = self.own.to(z.device)
        if self.axis is None:
            return own
        rows = own.unsqueeze(self.axis)
        sizes = [*rows.shape]
        sizes[self.axis] = z.shape[0]
        return rows.expand(sizes).flatten(self.axis, self.axis + 1)


class Calls(NamedTuple):
    """What was drawn in calls of a module, each on rows of its own, and from another state of torch's generator."""

    few: Sequence[Drawn]  # of 2 rows
    more: Sequence[Drawn]  # of 3
    again: Sequence[Drawn]  # of the same 3 rows
    others: Sequence[Drawn]  # of 3 other rows
    alone: Sequence[Drawn]  # of one


def understand(
    calls: Calls, taken: Iterable[str], *, constant: bool, batch: int | None = None
) -> tuple[list[OfRow | Once], list[str]]:
    """What stands for each time that a module draws, and what is to be said of it, a sentence each.

    Args:
        calls: what it drew.
        taken: names that its inputs have.
        constant: what it draws is drawn once for all rows.
        batch: rows of all calls, where it takes no other number.

    Raises ExportError: it cannot be seen which numbers are of which row; or there are others at each call.
    """
    if any([one.function for one in calls.few] != [one.function for one in drawn] for drawn in calls):
        raise ExportError("generator: draws another number of times for some rows than for others")
    names = set(taken)
    found: list[OfRow | Once] = []
    placed: list[str] = []
    for few, more, again, others, alone in zip(*calls, strict=True):
        fixed = more.state == again.state
        if fixed and more.state != others.state:
            raise ExportError(
                f"generator: the numbers in its inputs are the seed that {few.function} draws from, which no graph can "
                "follow; let it take what it draws as an input"
            )
        if fixed and not few.faithful:
            raise ExportError(
                f"generator: {few.function} draws from a fixed seed, in a way that cannot be drawn again; draw it "
                "once, and keep it as a buffer"
            )
        if fixed or constant:
            once = _once(few, more, alone)
            found.append(once)
            if fixed and once.own is alone.own:
                placed.append(few.function)
        else:
            found.append(_of_row(few, more, names, batch))
    if not placed:
        return found, []
    return found, [
        f"a fixed seed gives {' and '.join(dict.fromkeys(placed))} other numbers at each place of a batch: every row "
        "has those that the module draws for a row alone"
    ]


def _once(few: Drawn, more: Drawn, alone: Drawn) -> Once:
    assert few.own is not None and more.own is not None and alone.own is not None  # noqa: S101, PT018, for mypy
    axis = rows_axis(few.own.shape, more.own.shape)
    if axis is None and few.own.shape == more.own.shape == alone.own.shape:
        return Once(more.own if bool((few.own == more.own).all()) else alone.own, None)
    if axis is None or more.own.shape[axis] != alone.own.shape[axis] * ROWS[1]:
        raise ExportError(_unclear(few, more))
    return Once(alone.own, axis)


def _of_row(few: Drawn, more: Drawn, taken: set[str], batch: int | None) -> OfRow:
    axis, several = rows_axis(few.shape, more.shape), False
    if batch is not None:
        several = batch == 1 and few.shape[:1] != (1,)  # all of it is of the row
        if not few.shape or not (several or few.shape[0] == batch):
            raise ExportError(_unclear(few, more))
        axis, shape = 0, few.shape if several else few.shape[1:]
    elif axis is None and few.shape == more.shape and len(few.shape) > 1 and few.shape[0] == 1:
        axis, shape = 0, few.shape[1:]  # the same for all rows, and may as well be each one's own
    elif axis is None or few.shape[axis] % ROWS[0]:
        raise ExportError(_unclear(few, more))
    else:
        each = few.shape[axis] // ROWS[0]
        several = each > 1
        if several and axis:
            raise ExportError(_unclear(few, more))
        shape = (*((each,) if several else ()), *few.shape[:axis], *few.shape[axis + 1 :])
    numbered = (few.function + (f"_{count}" if count else "") for count in itertools.count())
    name = next(name for name in numbered if name not in taken)
    taken.add(name)
    half = 0.5 if few.prior == "uniform" else 0.0
    role = LatentRole(few.prior, half, half or 1.0, noise=True)
    return OfRow(Input(name, np.dtype(np.float32), shape, True, role), axis, several)


def _unclear(few: Drawn, more: Drawn) -> str:
    return (
        f"generator: {few.function} draws numbers of shape {list(few.shape)} for 2 rows and {list(more.shape)} for 3, "
        "of which it cannot be seen which belong to a row; say noise='constant', or let it draw [N, ...]"
    )
