"""The rows of a search, as they are found, of a sampler."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from latentserve.service.sampling.choosing.search import Search
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.sampler import Sampler
from latentserve.service.sampling.samples import Samples


async def chosen_rows(sampler: Sampler, request: RowsRequest, search: Search) -> AsyncGenerator[Samples]:
    """The rows in order, `slice_rows` at a time: the last ones may be fewer, and of none there is one empty part.

    Raises what `Sampler.stream` does, and BudgetError: fewer were found than are to be. Rows that are looked at are the
    engine's as those of any large request are; those not yet made are forgotten when the iteration is given up.
    """
    found: list[Samples] = []
    count = 0
    looked_at = sampler.stream(request, lambda: search.expected)
    try:
        async for part in looked_at:
            rows = search.candidates(part)
            if search.scored:
                rows.scores = await sampler.score(rows, placed=request.deterministic)
            rows = search.choose(rows)
            if len(rows.samples) or not found:
                found.append(rows)
                count += len(rows.samples)
            del part, rows
            if count >= sampler.slice_rows:
                joined = Samples.join(found)
                for start in range(0, count - sampler.slice_rows + 1, sampler.slice_rows):
                    yield joined.take(slice(start, start + sampler.slice_rows))
                found = [joined.take(slice(count - count % sampler.slice_rows, None))]
                count %= sampler.slice_rows
                del joined
            if search.done:
                break
    finally:
        await looked_at.aclose()
    search.end()
    if count or not search.found:
        yield Samples.join(found)
