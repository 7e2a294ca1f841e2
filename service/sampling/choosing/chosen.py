"""The rows of a search, as they are found, of a sampler."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import numpy as np
from numpy.typing import NDArray

from latentserve.service.sampling.choosing.search import Search
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.sampler import Sampler
from latentserve.service.sampling.samples import Samples

_SLICES = 16  # of rows that are known to be worth making, which are asked for together
_DRAWN_WORDS = 1 << 18  # of random numbers that are drawn for labels at a time: two milliseconds
_CONDITION_WORDS = 4  # that take as long as to make a condition of one

Paced = Callable[[AsyncGenerator[Samples]], AsyncGenerator[Samples]]  # the same rows, when they may be had


async def chosen_rows(
    sampler: Sampler, request: RowsRequest, search: Search, paced: Paced = lambda rows: rows
) -> AsyncGenerator[Samples]:
    """The rows in order, `slice_rows` at a time: the last ones may be fewer, and of none there is one empty part.

    Raises what `Sampler.stream` does, and BudgetError: fewer were found than are to be. Rows that are made are the
    engine's as those of any large request are, when `paced` gives them; those not yet made are forgotten when the
    iteration is given up.
    """
    if not search.sifts or sampler.has_places(request):
        source = _of_all(sampler, request, search, paced)
    elif search.drawn_say_all:
        source = _by_drawn(sampler, request, search, paced)
    else:
        source = _of_sifted(sampler, request, search, paced)
    found: list[Samples] = []
    count = 0
    async with aclosing(source) as parts:
        async for rows in parts:
            if len(rows.samples) or not found:
                found.append(rows)
                count += len(rows.samples)
            del rows
            if count >= sampler.slice_rows:
                joined = Samples.join(found)
                for start in range(0, count - sampler.slice_rows + 1, sampler.slice_rows):
                    yield joined.take(slice(start, start + sampler.slice_rows))
                found = [joined.take(slice(count - count % sampler.slice_rows, None))]
                count %= sampler.slice_rows
                del joined
    search.end()
    if count or not search.found:
        yield Samples.join(found or [_nothing(sampler, request)])


async def _of_all(sampler: Sampler, request: RowsRequest, search: Search, paced: Paced) -> AsyncGenerator[Samples]:
    """Of rows that are all made."""
    async with aclosing(paced(sampler.stream(request, lambda: search.expected))) as looked_at:
        async for part in looked_at:
            yield await _chosen(sampler, request, search, search.candidates(part))
            if search.done:
                return


async def _chosen(sampler: Sampler, request: RowsRequest, search: Search, rows: Samples) -> Samples:
    """Of candidates."""
    if search.scored:
        scores = sampler.score(rows, placed=sampler.has_places(request)) if len(rows.samples) else None
        rows.scores = np.zeros(0, np.float32) if scores is None else await scores
    return search.choose(rows)


async def _by_drawn(sampler: Sampler, request: RowsRequest, search: Search, paced: Paced) -> AsyncGenerator[Samples]:
    """Of which only those are made that are the answer."""
    start, most, begun = 0, _SLICES * sampler.slice_rows, False
    while start < request.n and not search.done:
        known: list[Samples] = []
        while start < request.n and not search.done and sum(len(one.samples) for one in known) < most:
            drawn = await _drawn(sampler, request, search, start)
            start += len(drawn.samples)
            known.append(search.chosen_by_drawn(drawn))
        some = _request_of(request, search, Samples.join(known))
        async with aclosing(_made(sampler, some, paced, begun=begun)) as made:
            async for part in made:
                yield part
        begun = True


async def _of_sifted(sampler: Sampler, request: RowsRequest, search: Search, paced: Paced) -> AsyncGenerator[Samples]:
    """Of which only those are made whose labels and conditions pass."""
    start, begun = 0, False
    while start < request.n:
        sifted: list[Samples] = []
        most = min(search.expected, _SLICES * sampler.slice_rows)
        while start < request.n and sum(len(one.samples) for one in sifted) < most:
            drawn = await _drawn(sampler, request, search, start)
            sifted.append(search.sifted(drawn, start))
            start += len(drawn.samples)
        some = _request_of(request, search, Samples.join(sifted))
        wanted = _numbers(some)
        place = 0
        async with aclosing(_made(sampler, some, paced, search, begun=begun)) as made:
            async for part in made:
                place += len(part.samples)
                # Up to the next one that is made: those before it are known not to pass.
                looked_at = start if place == len(wanted) else int(wanted[place]) - request.offset
                yield await _chosen(sampler, request, search, search.candidates(part, looked_at))
                if search.done:
                    return
        if not len(wanted):  # what waited for the rows that were passed over is whole now
            nothing = _nothing(sampler, request)
            yield await _chosen(sampler, request, search, search.candidates(nothing, start))
            if search.done:
                return
        begun = True


async def _made(
    sampler: Sampler, request: RowsRequest, paced: Paced, search: Search | None = None, *, begun: bool
) -> AsyncGenerator[Samples]:
    """Rows that have numbers, with these; with a search, as many as it expects to need."""
    numbers = _numbers(request)
    at = 0
    expected = None if search is None else lambda: search.expected
    async with aclosing(paced(sampler.stream(request, expected, begun=begun))) as made:
        async for part in made:
            part.numbers = numbers[at : at + len(part.samples)]
            at += len(part.samples)
            yield part


async def _drawn(sampler: Sampler, request: RowsRequest, search: Search, start: int) -> Samples:
    """What the search needs to know of rows from `start` on before they are made, of as many as takes milliseconds."""
    manifest = sampler.bundle.manifest
    conditions = len(manifest.conditions or ()) if search.conditions else 0
    words = manifest.latent.width if search.needs_labels else 0
    if conditions:
        words += _CONDITION_WORDS * max(manifest.latent.width, conditions)
    rows = min(_rows_at_a_time(words), request.n - start)
    return await sampler.drawn(request, start, rows, labels=search.needs_labels, conditions=conditions > 0)


def _rows_at_a_time(words: int) -> int:
    """Of which so many random numbers each are drawn."""
    return max(1, _DRAWN_WORDS // words)


def _request_of(request: RowsRequest, search: Search, drawn: Samples) -> RowsRequest:
    """The rows of these numbers, for what was drawn for them. Conditions that nothing is asked of are left to the
    seed: who watches is told what rows were chosen by."""
    some = request._replace(n=len(drawn.samples), numbers=drawn.numbers)
    if drawn.labels is not None:
        some = some._replace(labels=drawn.labels)
    if drawn.conditions is not None:
        conditions = np.full_like(drawn.conditions, np.nan)
        if request.conditions is not None:
            conditions[:] = request.conditions[0]  # the same of all rows
        conditions[:, search.conditions] = drawn.conditions[:, search.conditions]
        some = some._replace(conditions=conditions)
    return some


def _numbers(request: RowsRequest) -> NDArray[np.int64]:
    assert request.numbers is not None  # noqa: S101, they were sifted
    return request.numbers


def _nothing(sampler: Sampler, request: RowsRequest) -> Samples:
    """No rows."""
    manifest = sampler.bundle.manifest
    dtype = np.uint8 if request.output == "sample_uint8" else np.float32
    return Samples(
        np.empty((0, *manifest.sample.shape), dtype),
        None if manifest.labels is None else np.zeros(0, np.int64),
        None if manifest.conditions is None else np.zeros((0, len(manifest.conditions)), np.float32),
        numbers=np.zeros(0, np.int64),
    )
