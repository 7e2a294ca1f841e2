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
_LABEL_WORDS = 1 << 18  # of random numbers that are drawn for labels at a time: two milliseconds

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
    elif search.labels_say_all:
        source = _by_labels(sampler, request, search, paced)
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


async def _by_labels(sampler: Sampler, request: RowsRequest, search: Search, paced: Paced) -> AsyncGenerator[Samples]:
    """Of which only those are made that are the answer."""
    start, most, begun = 0, _SLICES * sampler.slice_rows, False
    while start < request.n and not search.done:
        known: list[Samples] = []
        while start < request.n and not search.done and sum(len(one.samples) for one in known) < most:
            rows = min(_labelled_rows(sampler), request.n - start)
            known.append(search.chosen_by_labels(await sampler.labels(request, start, rows)))
            start += rows
        wanted = Samples.join(known)
        some = request._replace(n=len(wanted.samples), numbers=wanted.numbers, labels=wanted.labels)
        async with aclosing(_made(sampler, some, paced, begun=begun)) as made:
            async for part in made:
                yield part
        begun = True


async def _of_sifted(sampler: Sampler, request: RowsRequest, search: Search, paced: Paced) -> AsyncGenerator[Samples]:
    """Of which only those are made whose labels pass."""
    start, begun = 0, False
    while start < request.n:
        numbers: list[NDArray[np.int64]] = []
        labels: list[NDArray[np.int64]] = []
        most = min(search.expected, _SLICES * sampler.slice_rows)
        while start < request.n and sum(map(len, numbers)) < most:
            rows = min(_labelled_rows(sampler), request.n - start)
            drawn = await sampler.labels(request, start, rows)
            numbers.append(search.sifted(drawn, start))
            labels.append(drawn[numbers[-1] - request.offset - start])
            start += rows
        wanted = np.concatenate(numbers)
        some = request._replace(n=len(wanted), numbers=wanted, labels=np.concatenate(labels))
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
    numbers = request.numbers
    assert numbers is not None  # noqa: S101, they were sifted
    at = 0
    expected = None if search is None else lambda: search.expected
    async with aclosing(paced(sampler.stream(request, expected, begun=begun))) as made:
        async for part in made:
            part.numbers = numbers[at : at + len(part.samples)]
            at += len(part.samples)
            yield part


def _nothing(sampler: Sampler, request: RowsRequest) -> Samples:
    """No rows."""
    manifest = sampler.bundle.manifest
    dtype = np.uint8 if request.output == "sample_uint8" else np.float32
    return Samples(
        np.empty((0, *manifest.sample.shape), dtype),
        np.zeros(0, np.int64),
        None if manifest.conditions is None else np.zeros((0, len(manifest.conditions)), np.float32),
        numbers=np.zeros(0, np.int64),
    )


def _labelled_rows(sampler: Sampler) -> int:
    """Rows of which labels are drawn at a time."""
    return max(1, _LABEL_WORDS // sampler.bundle.manifest.latent.width)
