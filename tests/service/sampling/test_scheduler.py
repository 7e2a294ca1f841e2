"""The scheduler: every row once, in order, in bounded batches and fair turns, whatever is asked, given up or fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.sampling.scheduler import Full, Job, Piece, Scheduler

Batches = list[list[tuple[str, int, int]]]


class Bench:
    """A scheduler whose batches are recorded, and which waits before each for leave to run."""

    def __init__(self, max_batch: int = 8, max_rows: int = 10_000, fail: Callable[[int], bool] = lambda _: False):
        self.batches: Batches = []
        self.finished: dict[str, list[BaseException | None]] = {}
        self.order: list[str] = []
        self._fail = fail
        self.during: Callable[[int], None] = lambda _: None  # called within each batch, on the scheduler's thread
        self._leave = threading.Semaphore(0)
        self.running = threading.Semaphore(0)
        self.scheduler: Scheduler[str] = Scheduler(self._run, max_batch, max_rows)
        self.scheduler.start()

    def _run(self, pieces: Sequence[Piece[str]]) -> None:
        self.batches.append([(piece.job.payload, piece.start, piece.stop) for piece in pieces])
        number = len(self.batches) - 1
        self.during(number)
        self.running.release()
        assert self._leave.acquire(timeout=30)
        if self._fail(number):
            raise ValueError("this batch fails")

    def _finish(self, job: Job[str], error: BaseException | None) -> None:
        self.finished.setdefault(job.payload, []).append(error)
        self.order.append(job.payload)

    def submit(self, name: str, rows: int, *, alone: bool = False) -> Job[str]:
        job = Job(rows, name, self._finish, alone=alone)
        self.scheduler.submit(job)
        return job

    def hold(self) -> None:
        """Keep the engine busy with one row, so that what is submitted next is queued together."""
        self.submit("hold", 1)
        self.wait_running()

    def wait_running(self) -> None:
        assert self.running.acquire(timeout=30)

    def step(self, count: int = 1) -> None:
        self._leave.release(count)

    def end(self) -> Batches:
        """Let everything run; the batches, without the one that held."""
        self._leave.release(10_000)
        self.scheduler.stop()
        assert self.scheduler.queued_rows == 0
        return [batch for batch in self.batches if batch != [("hold", 0, 1)]]


@pytest.fixture
def benches() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(*arguments: object, **options: object) -> Bench:
        made.append(Bench(*arguments, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for bench in made:
        bench.end()


def rows_of(batches: Batches, name: str) -> list[int]:
    return [row for batch in batches for job, start, stop in batch if job == name for row in range(start, stop)]


jobs = st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=12)


@given(jobs=jobs, max_batch=st.integers(1, 17))
def test_every_row_runs_once_and_in_order(jobs: list[tuple[int, bool]], max_batch: int) -> None:
    bench = Bench(max_batch)
    bench.hold()
    for index, (rows, alone) in enumerate(jobs):
        bench.submit(f"{index}", rows, alone=alone)
    batches = bench.end()
    for index, (rows, _) in enumerate(jobs):
        assert rows_of(batches, f"{index}") == list(range(rows))
        assert bench.finished[f"{index}"] == [None]
    for batch in batches:
        assert 0 < sum(stop - start for _, start, stop in batch) <= max_batch
        names = {name for name, _, _ in batch}
        assert len(names) == 1 or not any(jobs[int(name)][1] for name in names)
    # Nothing waits while there is room: what may share a batch fills it.
    if not any(alone for _, alone in jobs):
        assert len(batches) == -(-sum(rows for rows, _ in jobs) // max_batch)


@given(
    jobs=jobs,
    max_batch=st.integers(1, 17),
    failing=st.sets(st.integers(1, 12)),
    cancelled=st.dictionaries(st.integers(0, 11), st.integers(0, 8), max_size=6),
)
def test_cancelled_and_failing_jobs_take_nobody_with_them(
    jobs: list[tuple[int, bool]], max_batch: int, failing: set[int], cancelled: dict[int, int]
) -> None:
    """`cancelled` maps a job to the batch during which it is given up."""
    bench = Bench(max_batch, fail=lambda number: number in failing)
    bench.hold()
    made = [bench.submit(f"{index}", rows, alone=alone) for index, (rows, alone) in enumerate(jobs)]
    counts: list[tuple[int, int]] = []

    def during(number: int) -> None:
        for index, when in cancelled.items():
            if when == number and index < len(made):
                bench.scheduler.cancel(made[index])
                bench.scheduler.cancel(made[index])  # twice is once
        waiting = sum(job.rows - job.taken for job in made if not job.cancelled)
        counts.append((bench.scheduler.queued_rows, waiting))

    bench.during = during
    batches = bench.end()
    assert all(queued == waiting for queued, waiting in counts)
    for index, (rows, _) in enumerate(jobs):
        ran = rows_of(batches, f"{index}")
        assert ran == list(range(len(ran)))
        touched = [bench.batches.index(batch) for batch in batches if any(name == f"{index}" for name, _, _ in batch)]
        failed = any(number in failing for number in touched)
        ended = bench.finished.get(f"{index}", [])
        if index not in cancelled:
            assert len(ended) == 1
            assert isinstance(ended[0], ValueError) if failed else ended[0] is None
            assert failed or len(ran) == rows
        assert len(ended) <= 1


def test_a_small_job_leaves_with_the_next_batch(benches: Callable[..., Bench]) -> None:
    bench = benches(max_batch=8)
    bench.submit("huge", 1000)
    bench.wait_running()
    bench.submit("small", 1)
    bench.step()
    bench.wait_running()
    assert "small" in {name for name, _, _ in bench.batches[1]}
    # And the room it leaves is not wasted.
    assert sum(stop - start for _, start, stop in bench.batches[1]) == 8


def test_large_jobs_share_alike(benches: Callable[..., Bench]) -> None:
    bench = benches(max_batch=8)
    bench.hold()
    for name in "abcd":
        bench.submit(name, 100)
    bench.step()
    for _ in range(20):
        bench.wait_running()
        bench.step()
    taken = {name: len(rows_of(bench.batches[:20], name)) for name in "abcd"}
    assert max(taken.values()) - min(taken.values()) <= 8


def test_more_jobs_than_rows_take_turns(benches: Callable[..., Bench]) -> None:
    bench = benches(max_batch=4)
    bench.hold()
    for index in range(10):
        bench.submit(f"{index}", 2)
    batches = bench.end()
    first_turn = [name for batch in batches for name, start, _ in batch if start == 0]
    assert first_turn == [f"{index}" for index in range(10)]


def test_an_alone_job_never_waits_for_ever(benches: Callable[..., Bench]) -> None:
    bench = benches(max_batch=4)
    bench.hold()
    bench.submit("huge", 100)
    bench.submit("alone", 1, alone=True)
    bench.step()
    bench.wait_running()
    bench.step()
    bench.wait_running()
    assert bench.batches[2] == [("alone", 0, 1)]


def test_a_failing_batch_fails_its_jobs_only(benches: Callable[..., Bench]) -> None:
    bench = benches(max_batch=4, fail=lambda number: number == 1)
    bench.hold()
    bench.submit("first", 4)
    bench.submit("long", 50)
    bench.submit("later", 2, alone=True)
    batches = bench.end()
    assert isinstance(bench.finished["first"][0], ValueError)
    assert isinstance(bench.finished["long"][0], ValueError)
    assert bench.finished["later"] == [None]
    # The other rows of a job that failed are not run.
    assert len(rows_of(batches, "long")) <= 4


def test_a_full_queue_says_so_and_when_to_come_again(benches: Callable[..., Bench]) -> None:
    bench = benches(max_batch=4, max_rows=10)
    bench.hold()
    bench.submit("a", 10)
    assert bench.scheduler.queued_rows == 10
    with pytest.raises(Full) as caught:
        bench.submit("b", 1)
    assert caught.value.retry_after == 1.0  # nothing has been measured yet
    bench.step()
    bench.wait_running()
    assert bench.scheduler.queued_rows == 6
    bench.submit("c", 4)
    with pytest.raises(Full) as caught:
        bench.submit("d", 3)
    assert caught.value.retry_after == pytest.approx(3 / bench.scheduler.rate)
    bench.end()
    assert "d" not in bench.finished
    assert bench.finished["c"] == [None]


def test_giving_up_frees_room(benches: Callable[..., Bench]) -> None:
    bench = benches(max_batch=4, max_rows=10)
    bench.hold()
    gone = bench.submit("gone", 9)
    with pytest.raises(Full):
        bench.submit("next", 5)
    bench.scheduler.cancel(gone)
    assert bench.scheduler.queued_rows == 0
    bench.submit("next", 5)
    batches = bench.end()
    assert rows_of(batches, "gone") == []
    assert "gone" not in bench.finished


def test_giving_up_within_a_batch(benches: Callable[..., Bench]) -> None:
    bench = benches(max_batch=4)
    job = bench.submit("gone", 10)
    bench.wait_running()
    bench.scheduler.cancel(job)
    assert bench.scheduler.queued_rows == 0
    assert rows_of(bench.end(), "gone") == [0, 1, 2, 3]
    assert "gone" not in bench.finished


def test_stopping_finishes_what_is_queued(benches: Callable[..., Bench]) -> None:
    bench = benches(max_batch=4)
    bench.hold()
    for index in range(5):
        bench.submit(f"{index}", 3)
    batches = bench.end()
    assert sum(stop - start for batch in batches for _, start, stop in batch) == 15
    assert set(bench.finished) == {"hold", *(f"{index}" for index in range(5))}
    with pytest.raises(RuntimeError):
        bench.submit("late", 1)


def test_many_threads_submit_and_give_up() -> None:
    """As in life: jobs come and go while batches run, and the count of rows ends at nought."""
    bench = Bench(max_batch=16, max_rows=300)
    bench.step(100_000)

    def client(number: int) -> None:
        for index in range(60):
            try:
                job = bench.submit(f"{number}-{index}", 1 + (number * 7 + index * 13) % 50)
            except Full:
                continue
            if index % 3 == 0:
                bench.scheduler.cancel(job)
            assert 0 <= bench.scheduler.queued_rows <= 300

    threads = [threading.Thread(target=client, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    batches = bench.end()
    assert all(error is None for errors in bench.finished.values() for error in errors)
    for name, errors in bench.finished.items():
        assert len(errors) == 1
        ran = rows_of(batches, name)
        assert ran == list(range(len(ran)))
