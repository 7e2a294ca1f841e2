"""The order of rows: every row once, equal jobs in order, small ones first, and nobody waits beyond the bound."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from latentserve.service.sampling.jobs import AGED, Job, JobQueue, Piece

rows = st.integers(1, 60)
places = st.sampled_from([1, 1, 1, 4, 16])


class Line:
    """A queue whose rows leave in batches; `left` counts those that have."""

    def __init__(self, room: int) -> None:
        self.queue: JobQueue[int] = JobQueue()
        self.room = room
        self.left = 0
        self.batches: list[list[Piece[int]]] = []
        self.done: dict[Job[int], int] = {}  # rows that had left by then

    def add(self, *sizes: int, places: int = 1, place: int = 0) -> list[Job[int]]:
        jobs = [Job(size, 0, alone=places > 1, places=places, place=place) for size in sizes]
        for job in jobs:
            self.queue.add(job)
        return jobs

    def step(self) -> None:
        batch: list[Piece[int]] = []
        self.queue.take(self.room, 0.0, batch)
        assert batch
        self.batches.append(batch)
        self.left += sum(piece.rows for piece in batch)
        for piece in batch:
            if piece.stop == piece.job.rows:
                self.done[piece.job] = self.left

    def run(self) -> None:
        while self.queue.rows:
            self.step()

    def pieces(self, job: Job[int]) -> list[Piece[int]]:
        return [piece for batch in self.batches for piece in batch if piece.job is job]


@given(
    arriving=st.lists(st.lists(st.tuples(rows, places, st.integers(0, 15)), max_size=4), min_size=1, max_size=20),
    gone=st.sets(st.integers(0, 40), max_size=6),
    room=st.integers(1, 24),
)
def test_every_row_leaves_once_in_order_and_nobody_waits_beyond_the_bound(
    arriving: list[list[tuple[int, int, int]]], gone: set[int], room: int
) -> None:
    """`arriving` together, before each batch."""
    line = Line(room)
    jobs: list[Job[int]] = []
    bounds: dict[Job[int], int] = {}
    for together in arriving:
        for size, number, place in together:
            (job,) = line.add(size, places=number, place=place % number)
            bounds[job] = line.left + AGED * (line.queue.rows + 1) + 2 * max(room, 16)
            jobs.append(job)
            if len(jobs) in gone:
                line.queue.remove(jobs[len(jobs) // 2])
        if line.queue.rows:
            line.step()
    line.run()
    for index, job in enumerate(jobs):
        pieces = line.pieces(job)
        assert all(one.stop == two.start for one, two in pairwise(pieces))
        if job in line.done:
            assert (pieces[0].start, pieces[-1].stop) == (0, job.rows)
            assert line.done[job] <= bounds[job]
        else:
            assert any(number <= len(jobs) and jobs[number // 2] is jobs[index] for number in gone)
        # An alone job runs no batch of its places twice.
        assert all((job.place + piece.stop) % job.places == 0 for piece in pieces[:-1])
    assert line.queue.rows == 0
    for batch in line.batches:
        assert len({piece.job for piece in batch}) == 1 or not any(piece.job.alone for piece in batch)
        assert sum(piece.rows for piece in batch) <= max(room, batch[0].job.places)


@given(room=st.integers(1, 24), small=st.integers(1, 24), size=st.integers(1, 200), before=st.lists(rows, max_size=6))
def test_a_job_is_done_however_many_small_ones_come(room: int, small: int, size: int, before: list[int]) -> None:
    """Each batch could be filled with rows of jobs that came later."""
    line = Line(room)
    line.add(*before)
    (job,) = line.add(size)
    while job not in line.done:
        line.add(*[small] * -(-room // small))
        line.step()
        assert line.left <= AGED * (sum(before) + size + 1) + 2 * room


@given(
    room=st.integers(1, 24),
    equal=st.lists(st.lists(st.sampled_from([7, 40]), max_size=5), min_size=1, max_size=12),
    others=st.lists(rows, max_size=12),
)
def test_equal_jobs_end_in_the_order_they_came_in(room: int, equal: list[list[int]], others: list[int]) -> None:
    line = Line(room)
    jobs: list[Job[int]] = []
    for index, together in enumerate(equal):
        jobs += line.add(*together)
        line.add(*others[index : index + 1])
        if line.queue.rows:
            line.step()
    line.run()
    for size in (7, 40):
        alike = [job for job in jobs if job.rows == size]
        assert all(line.done[one] <= line.done[two] for one, two in pairwise(alike))
        starts = [piece for batch in line.batches for piece in batch if piece.start == 0]
        order = [piece.job for piece in starts if piece.job in alike]
        assert order == alike


@given(sizes=st.lists(rows, min_size=2, max_size=30), room=st.integers(1, 24))
def test_the_mean_time_is_hardly_above_the_best_order_s(sizes: list[int], room: int) -> None:
    """In rows, of jobs that come together."""
    line = Line(room)
    jobs = line.add(*sizes)
    line.run()
    best, sum_of_best = 0, 0
    for size in sorted(sizes):
        best += size
        sum_of_best += best
    mean = sum(line.done[job] for job in jobs)
    assert mean <= sum_of_best * AGED / (AGED - 1) + room * len(jobs)


def test_a_hundred_equal_jobs_take_the_least_time() -> None:
    line = Line(64)
    jobs = line.add(*[64] * 100)
    line.run()
    assert [line.done[job] for job in jobs] == [64 * (place + 1) for place in range(100)]


def test_a_small_job_overtakes_large_ones_that_wait() -> None:
    line = Line(8)
    line.add(*[100] * 5)
    (small,) = line.add(1)
    line.step()
    assert small in line.done


def test_what_is_given_up_is_forgotten() -> None:
    """Jobs that come and go while nothing runs leave nothing behind."""
    queue: JobQueue[int] = JobQueue()
    for index in range(10_000):
        job = Job(1, index)
        queue.add(job)
        queue.remove(job)
        queue.remove(job)
    assert not queue.rows
    assert len(queue._by_rows) + len(queue._unsorted) < 200
