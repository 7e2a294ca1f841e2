"""Where a job's rows come from: a bundle's engine in this process, or a server elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from latentserve.service.bulk.ahead import Ahead
from latentserve.service.bulk.job import Job, Shard
from latentserve.service.bundle import Manifest, read_bundle
from latentserve.service.client import Client, Samples, ServerError
from latentserve.service.cores import whole_cores
from latentserve.service.encoding.rows import Rows
from latentserve.service.opened import OpenedBundle
from latentserve.service.sampling.choosing.search import Search
from latentserve.service.sampling.engine import FIXED_BATCH
from latentserve.service.sampling.placed import WIDEST

_CALL_BYTES = 32 << 20  # of the samples of one engine call
_SAMPLE_BYTES = 4
_AT_FIRST, _RETRIES = 1, 25  # a server that is not there is told at once, one that goes away is waited for
_SEARCHED_ROWS, _SEARCHED_BYTES = 5_000, 16 << 20  # that are looked for by a request: their number is in its answer


class Found(NamedTuple):
    """Rows that a search has found for a shard, and the first row that was not looked at for them."""

    parts: list[Rows]
    next_offset: int

    @property
    def rows(self) -> int:
        """How many."""
        return sum(len(part.samples) for part in self.parts)


class Source(Protocol):
    """What rows come from.

    Attributes:
        manifest: of the generator.
        tells_scores: whether rows that were chosen by scores come with them.
    """

    manifest: Manifest
    tells_scores: bool

    def rows(self, job: Job, shard: Shard) -> Iterator[Rows]:
        """The rows of a shard, in order."""

    def search(self, job: Job, rows: int, offset: int, budget: int) -> Found:
        """The next rows that are such, from this one on. Raises BudgetError."""


class BundleSource:
    """A bundle on this process's engine. Raises BundleError and RuntimeMissingError."""

    tells_scores = True

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """`threads` of one engine call. Default: a core less than there are, which is for what becomes of the rows."""
        bundle = read_bundle(path)
        row = _SAMPLE_BYTES * math.prod(bundle.manifest.sample.shape)
        widest = max(FIXED_BATCH, min(WIDEST, _CALL_BYTES // row))
        self.manifest = bundle.manifest
        self._bundle = OpenedBundle(bundle, threads or max(1, whole_cores() - 1), widest, spinning=True)
        self._wide = False

    def rows(self, job: Job, shard: Shard) -> Iterator[Rows]:
        """See Source."""
        request, _ = job.request(self.manifest, shard.rows, shard.first)
        if job.dtype == "uint8" and self._bundle.gives("sample_uint8"):
            request = request._replace(output="sample_uint8")
        if not self._wide:
            self._bundle.widen(request)
            self._wide = True
        with ExitStack() as stack:
            # Drawing takes as long as a small generator does.
            for part in self._bundle.parts(request, lambda drawn: stack.enter_context(closing(Ahead(drawn)))):
                yield Rows(part.samples, part.labels, part.conditions)

    def search(self, job: Job, rows: int, offset: int, budget: int) -> Found:
        """See Source."""
        request, choice = job.request(self.manifest, rows, offset, budget)
        assert choice is not None  # noqa: S101, of a job that searches
        if not self._wide:
            self._bundle.widen(request)
            self._wide = True
        search = Search(choice, self.manifest, offset)
        parts = [
            Rows(part.samples, part.labels, part.conditions, part.numbers, part.scores)
            for part in self._bundle.chosen(request, search)
            if len(part.samples)
        ]
        return Found(parts, search.next_offset)


class ServerSource:
    """A model of a server. What fails and may go well later is asked again for minutes. Raises ServerError."""

    tells_scores = False

    def __init__(self, url: str, model: str | None = None, key: str | None = None) -> None:
        """`model`: of a server that has several; `key`: see Client."""
        with Client(url, model, retries=_AT_FIRST, key=key) as client:
            self.manifest = client.manifest()
        self._client = Client(url, self.manifest.name, retries=_RETRIES, key=key)

    def rows(self, job: Job, shard: Shard) -> Iterator[Rows]:
        """See Source."""
        fields = {**_fields(job), "offset": shard.first}
        del fields["n"]
        for part in self._client.rows(shard.rows, **fields):
            yield self._rows(part)._replace(numbers=None)

    def search(self, job: Job, rows: int, offset: int, budget: int) -> Found:
        """See Source: some rows a request, whole rounds of what is balanced."""
        _, choice = job.request(self.manifest, rows, offset)
        assert choice is not None  # noqa: S101
        rounds = 1 if choice.balance is None else int(choice.balance.wanted.sum())
        row = _SAMPLE_BYTES * math.prod(self.manifest.sample.shape)
        most = max(1, min(_SEARCHED_ROWS, _SEARCHED_BYTES // row))
        most = max(rounds, most - most % rounds)
        fields, end, count = _fields(job), offset + budget, 0
        parts: list[Rows] = []
        while count < rows:
            fields |= {"n": min(most, rows - count), "offset": offset}
            if "budget" in fields:
                fields["budget"] = end - offset
            found = self._client.sample(**fields)
            parts.append(self._rows(found))
            count += len(found)
            if found.next_offset is None:
                raise ServerError("the server does not say where its search ended")
            offset = found.next_offset
            if len(found) < fields["n"]:
                break
        return Found([part for part in parts if len(part.samples)], offset)

    def _rows(self, some: Samples) -> Rows:
        """Raises ServerError: another version made them."""
        manifest = self.manifest
        if some.version != manifest.version:
            said = f"the server has {some.model} {some.version} now; the job is of {manifest.version}"
            raise ServerError(said)
        labels = None if some.labels is None else np.array([manifest.label_places[name] for name in some.labels])
        return Rows(some.array, labels, some.conditions, some.numbers)


def _fields(job: Job) -> dict[str, Any]:
    """Of `POST /v1/samples`."""
    return {**job.asked, "deterministic": True, "dtype": job.dtype}


def recut(parts: Iterator[Rows], rows: int) -> Iterator[Rows]:
    """The same rows, so many at a time: however they came, documents are given them alike."""
    waiting: list[Rows] = []
    count = 0
    for part in parts:
        start = 0
        while start < len(part.samples):
            some = _take(part, start, start + rows - count)
            waiting.append(some)
            count += len(some.samples)
            start += len(some.samples)
            if count == rows:
                yield _join(waiting)
                waiting, count = [], 0
    if waiting:
        yield _join(waiting)


def _take(part: Rows, start: int, stop: int) -> Rows:
    return Rows(*(None if values is None else values[start:stop] for values in part))  # type: ignore[arg-type]


def _join(parts: list[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    columns = zip(*parts, strict=True)
    return Rows(*(None if column[0] is None else np.concatenate(column) for column in columns))  # type: ignore[arg-type]
