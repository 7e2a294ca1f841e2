"""A job from its beginning, or from where it was killed, to its end."""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from itertools import chain, groupby
from typing import NamedTuple

from latentserve.service.bulk.ahead import Ahead
from latentserve.service.bulk.folder import Done, Store, Writer
from latentserve.service.bulk.job import Job, Shard
from latentserve.service.bulk.progress import Progress
from latentserve.service.bulk.shards import ShardFiles
from latentserve.service.bulk.sources import Source, recut
from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding.rows import Rows
from latentserve.service.errors import BudgetError, LatentserveError
from latentserve.service.sampling.latents import SEED_LIMIT

log = logging.getLogger(__name__)

_PORTION_BYTES = 1 << 20  # of samples that a document is given at a time
_PORTION_ROWS = 8192

Ask = Callable[[int], Job]  # the job of a seed
Makers = Callable[["Store", "Shards", Progress], Generator["Done", None, None]]  # make the shards that are missing


class Portion(NamedTuple):
    """Some rows of a shard that has so many, and, of a search, the row that the next one begins to look at."""

    shard: Shard
    rows: int
    next_offset: int | None
    part: Rows


class Ended(NamedTuple):
    """What a job has come to: fewer rows than were asked for, where fewer were found."""

    job: Job
    shards: int
    rows: int


def run_job(folder: Store, makers: Makers, ask: Ask, seed: int | None, progress: Progress) -> Ended:
    """Make the shards that are not there. `seed` None: that of the job that is there, or a drawn one.

    Raises LatentserveError.
    """
    with folder.locked():
        job = _begin(folder, ask, seed)
        shards = Shards(folder, job)
        progress.start(job.n, shards.rows)
        with closing(makers(folder, shards, progress)) as made:
            for done in made:
                shards.add(done)
        shards.end()
    return Ended(job, len(shards.whole), shards.rows)


def here(source: Source) -> Makers:
    """Shard after shard in this process: the rows on one thread, what becomes of them on another."""

    def make(folder: Store, shards: Shards, progress: Progress) -> Generator[Done, None, None]:
        files = ShardFiles(shards.job, source.manifest, tells_scores=source.tells_scores)
        with closing(Ahead(_portions(shards.job, source, shards))) as portions:
            for _, of_shard in groupby(portions, key=lambda portion: portion.shard):
                yield _write(folder, files, of_shard, progress.add)

    return make


def make_shard(folder: Writer, source: Source, job: Job, shard: Shard) -> Done:
    """One shard of a job whose rows are known by their numbers."""
    files = ShardFiles(job, source.manifest, tells_scores=source.tells_scores)
    with closing(Ahead(_of_shard(job, source, shard))) as portions:
        return _write(folder, files, portions, lambda _: None)


def make_shard_of(
    folder: Writer, source: Source, job: Job, shard: Shard, rows: int, next_offset: int, parts: Iterable[Rows]
) -> Done:
    """One shard of a search, of the rows that were found for it."""
    files = ShardFiles(job, source.manifest, tells_scores=source.tells_scores)
    cut = recut(iter(parts), _portion_rows(source.manifest.sample))
    return _write(folder, files, (Portion(shard, rows, next_offset, part) for part in cut), lambda _: None)


def _begin(folder: Store, ask: Ask, seed: int | None) -> Job:
    """The folder's job. Raises LatentserveError: it holds another one's shards."""
    there = folder.job()
    if seed is None:
        seed = secrets.randbelow(SEED_LIMIT) if there is None else there.seed
    job = ask(seed)
    if there is None:
        folder.begin(job)
    elif (why := job.other(there)) is not None:
        raise LatentserveError(f"{folder}: {why}")
    folder.tidy()
    return job


class Shards:
    """Those of a job that are there.

    Attributes:
        whole: by name.
    """

    def __init__(self, folder: Store, job: Job) -> None:
        self._folder, self.job = folder, job
        self._listed = folder.done()
        folder.rewrite(self._listed.values())  # without a line that was cut off
        self.whole = {name: one for name, one in self._listed.items() if folder.is_whole(one)}
        for name in self._listed:
            if name not in self.whole:
                log.warning("%s: %s is not what was written there, and is made again", folder, name)

    @property
    def rows(self) -> int:
        """That are there."""
        return sum(one.rows for one in self.whole.values())

    def missing(self) -> Iterator[Shard]:
        """Those that are not there: none behind one with fewer rows than it might have, where a search ended."""
        for index in range(self.job.shards):
            shard = self.job.shard(index)
            if shard.name not in self.whole:
                yield shard
            elif self.whole[shard.name].rows < shard.rows:
                return

    def next_offset(self, shard: Shard) -> int | None:
        """The first row that was not looked at for a shard, where one was made once."""
        listed = self._listed.get(shard.name)
        return None if listed is None else listed.next_offset

    def add(self, done: Done) -> None:
        """One more."""
        self._folder.record(done)
        self.whole[done.shard] = self._listed[done.shard] = done

    def end(self) -> None:
        """The list in the order of the rows, as it is where nothing had to be made twice."""
        self._folder.rewrite(self.whole[name] for name in sorted(self.whole))


def _write(folder: Writer, files: ShardFiles, portions: Iterable[Portion], told: Callable[[int], None]) -> Done:
    """One shard, of its portions; the rows of each are told."""
    rest = iter(portions)
    first = next(rest)

    def parts() -> Iterator[Rows]:
        for portion in chain((first,), rest):
            yield portion.part
            told(len(portion.part.samples))

    size, digest = folder.write(first.shard, files.content(first.shard, first.rows, parts()))
    return Done(first.shard.name, first.rows, size, digest, first.next_offset)


def _of_shard(job: Job, source: Source, shard: Shard) -> Iterator[Portion]:
    """Of a shard whose rows are known by their numbers."""
    for part in recut(source.rows(job, shard), _portion_rows(source.manifest.sample)):
        yield Portion(shard, shard.rows, None, part)


def _portions(job: Job, source: Source, shards: Shards) -> Iterator[Portion]:
    """Of all shards that are missing."""
    if job.searches:
        yield from _searched(job, source, shards)
        return
    for shard in shards.missing():
        yield from _of_shard(job, source, shard)


def _searched(job: Job, source: Source, shards: Shards) -> Iterator[Portion]:
    """Each search begins where the one before has ended, and has what is left of the budget of all. Raises
    BudgetError."""
    _, choice = job.request(source.manifest, job.n, job.offset)
    assert choice is not None  # noqa: S101, of a job that searches
    end, offset = job.offset + choice.budget, job.offset
    for index in range(job.shards):
        shard = job.shard(index)
        onward = shards.next_offset(shard)
        if onward is None or shard.name not in shards.whole:
            least = choice.of * (1 if choice.allow_fewer else shard.rows)
            if end - offset < least:
                if choice.allow_fewer:
                    return
                looked = offset - job.offset
                said = f"of {looked} rows {shard.first} were found to be such; {job.n} are wanted"
                raise BudgetError(f"budget: {said}", looked, shard.first)
            found = source.search(job, shard.rows, offset, end - offset)
            for part in recut(iter(found.parts), _portion_rows(source.manifest.sample)):
                yield Portion(shard, found.rows, found.next_offset, part)
            onward = found.next_offset
            if found.rows < shard.rows:
                return
        elif shards.whole[shard.name].rows < shard.rows:
            return
        offset = onward


def _portion_rows(spec: SampleSpec) -> int:
    return max(1, min(_PORTION_ROWS, _PORTION_BYTES // (4 * math.prod(spec.shape))))
