"""Answers of rows that are chosen: a search is done before the first byte, or, where it is a long one, while they are
sent."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from typing import NamedTuple

from latentserve.service.errors import DeadlineError
from latentserve.service.http.call import Call
from latentserve.service.http.presence import while_there
from latentserve.service.http.responses import Headers
from latentserve.service.models import Model
from latentserve.service.sampling.choosing.chosen import Paced, chosen_rows
from latentserve.service.sampling.choosing.search import Search
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.samples import Samples
from latentserve.service.sampling.unsent import Share

FOUND_ROWS = 10_000  # are found before the first byte: a search that fails is refused
FOUND_BYTES = 64 << 20  # of samples at the most


class Found(NamedTuple):
    """What a search has found before the first byte: `first` rows, and the `rest` of them.

    `headers` tell what is known by now. `ended`: all rows were looked at.
    """

    first: Samples
    rest: AsyncGenerator[Samples]
    headers: Headers
    ended: bool


def is_long(n: int, model: Model) -> bool:
    """Whether so many chosen rows are sent while they are found."""
    return n > FOUND_ROWS or n * _row_bytes(model) > FOUND_BYTES


async def begin_search(
    call: Call,
    model: Model,
    request: RowsRequest,
    search: Search,
    share: Share,
    deadline_seconds: float,
    paced: Paced,
) -> Found:
    """Search for the rows that a call asks for, as long as its client is there.

    Raises BudgetError, DeadlineError (no row was looked at in time), ClientDisconnect, and what `Sampler.stream` does.
    """

    def late() -> DeadlineError | None:
        return None if search.looked_at else DeadlineError(f"no row was made within {deadline_seconds:g} s")

    rows = chosen_rows(model.sampler, request, search, paced)
    if is_long(search.n, model):
        return Found(await while_there(call.receive, anext(rows), deadline_seconds, late), rows, [], ended=False)
    share.take(search.n * _row_bytes(model))
    first, *others = await while_there(call.receive, _all(rows), deadline_seconds, late)
    headers = [
        (b"latentserve-looked-at", b"%d" % search.looked_at),
        (b"latentserve-next-offset", b"%d" % search.next_offset),
    ]
    return Found(first, _each(others), headers, ended=True)


def _row_bytes(model: Model) -> int:
    return 4 * math.prod(model.bundle.manifest.sample.shape)


async def _all(rows: AsyncGenerator[Samples]) -> list[Samples]:
    return [part async for part in rows]


async def _each(parts: list[Samples]) -> AsyncGenerator[Samples]:
    while parts:
        yield parts.pop(0)
