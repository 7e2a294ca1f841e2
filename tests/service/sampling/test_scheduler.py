"""The scheduler: every row once, in order, in bounded batches and fair turns, whatever is asked, given up or fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentserve.service.sampling.jobs import Job, Piece
from latentserve.service.sampling.scheduler import BULK_BATCH_SECONDS, Finished, Full, Scheduler

SHORT_SECONDS = 0.002

Batches = list[list[tuple[str, int, int]]]


class Bench:
    """A scheduler whose batches are recorded, and which waits before each for leave to run."""

    def __init__(self, max_batch: int = 8, max_rows: int = 10_000, poison: dict[str, int] | None = None):
        """`poison` maps a job to its row that cannot be run."""
        self.batches: Batches = []  # as they were tried
        self.ran: Batches = []  # of them, those that did not fail
        self.finished: dict[str, list[BaseException | None]] = {}
        self._poison = poison or {}
        self.during: Callable[[int], None] = lambda _: None  # called within each batch, on the scheduler's thread
        self._leave = threading.Semaphore(0)
        self.running = threading.Semaphore(0)
        self.scheduler: Scheduler[str] = Scheduler(self._run, self._finish, max_batch, max_rows)
        self.scheduler.start()

    def _run(self, pieces: Sequence[Piece[str]]) -> None:
        batch = [(piece.job.payload, piece.start, piece.stop) for piece in pieces]
        self.batches.append(batch)
        number = len(self.batches) - 1
        self.during(number)
        self.running.release()
        assert self._leave.acquire(timeout=30)
        if any(start <= self._poison.get(name, -1) < stop for name, start, stop in batch):
            raise ValueError("a row that cannot be run")
        self.ran.append(batch)

    def _finish(self, finished: Finished[str]) -> None:
        for job, error in finished:
            self.finished.setdefault(job.payload, []).append(error)

    def submit(self, name: str, rows: int, *, alone: bool = False, bulk: bool = False, wake: bool = True) -> Job[str]:
        job = Job(rows, name, alone=alone, bulk=bulk)
        self.scheduler.submit(job, wake=wake)
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
        return [batch for batch in self.ran if batch != [("hold", 0, 1)]]


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
    poison=st.dictionaries(st.integers(0, 11), st.integers(0, 39), max_size=4),
    cancelled=st.dictionaries(st.integers(0, 11), st.integers(0, 8), max_size=6),
    bulk=st.sets(st.integers(0, 11)),
)
def test_cancelled_and_failing_jobs_take_nobody_with_them(
    jobs: list[tuple[int, bool]], max_batch: int, poison: dict[int, int], cancelled: dict[int, int], bulk: set[int]
) -> None:
    """`cancelled` maps a job to the try at a batch during which it is given up."""
    bench = Bench(max_batch, poison={f"{index}": row for index, row in poison.items()})
    bench.hold()
    made = [bench.submit(f"{index}", rows, alone=alone, bulk=index in bulk) for index, (rows, alone) in enumerate(jobs)]
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
        ended = bench.finished.get(f"{index}", [])
        if poison.get(index, rows) < rows:
            assert poison[index] not in ran
            assert index in cancelled or [type(error) for error in ended] == [ValueError]
        elif index not in cancelled:
            assert ran == list(range(rows))
            assert ended == [None]
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


def test_equal_jobs_end_in_their_order(benches: Callable[..., Bench]) -> None:
    bench = benches(max_batch=8)
    bench.hold()
    for name in "abcd":
        bench.submit(name, 12)
    batches = bench.end()
    assert [name for batch in batches for name, _, stop in batch if stop == 12] == ["a", "b", "c", "d"]
    assert len(batches) == 6


def test_more_jobs_than_rows_begin_in_their_order(benches: Callable[..., Bench]) -> None:
    bench = benches(max_batch=4)
    bench.hold()
    for index in range(10):
        bench.submit(f"{index}", 2)
    batches = bench.end()
    first_turn = [name for batch in batches for name, start, _ in batch if start == 0]
    assert first_turn == [f"{index}" for index in range(10)]


def test_an_alone_job_that_ended_a_batch_has_the_next(benches: Callable[..., Bench]) -> None:
    bench = benches(max_batch=4)
    bench.hold()
    bench.submit("small", 1)
    bench.submit("alone", 2, alone=True)
    bench.step()
    bench.wait_running()
    assert bench.batches[1] == [("small", 0, 1)]
    bench.submit("later", 1)
    bench.step()
    bench.wait_running()
    assert bench.batches[2] == [("alone", 0, 2)]


def test_a_row_that_cannot_be_run_fails_its_job_only(benches: Callable[..., Bench]) -> None:
    bench = benches(max_batch=8, poison={"long": 1})
    bench.hold()
    bench.submit("first", 4)
    bench.submit("long", 50)
    bench.submit("later", 2)
    batches = bench.end()
    assert isinstance(bench.finished["long"][0], ValueError)
    assert rows_of(batches, "first") == [0, 1, 2, 3]
    assert rows_of(batches, "later") == [0, 1]
    assert bench.finished["first"] == bench.finished["later"] == [None]
    # Rows after the one that failed are not run.
    assert len(rows_of(batches, "long")) <= 8


def test_interactive_rows_go_first_and_bulk_rows_fill_the_batch(benches: Callable[..., Bench]) -> None:
    bench = benches(max_batch=8)
    bench.submit("hold", 1, bulk=True)
    bench.wait_running()
    bench.submit("bulk", 100, bulk=True)
    bench.submit("small", 3)
    bench.step()
    bench.wait_running()
    assert bench.batches[1][0] == ("small", 0, 3)
    assert bench.batches[1][1][0] == "bulk"
    batches = bench.end()
    assert rows_of(batches, "bulk") == list(range(100))


def test_bulk_batches_are_short_while_interactive_rows_come(benches: Callable[..., Bench]) -> None:
    bench = benches(max_batch=64)
    bench.during = lambda _: time.sleep(0.02)  # so that a batch of one row a job takes 20 ms at least
    bench.step(10_000)
    for index in range(5):
        bench.submit(f"{index}", 1)
        while f"{index}" not in bench.finished:
            time.sleep(0.001)
    assert bench.scheduler.rate < 64 / BULK_BATCH_SECONDS / 2
    bench.submit("bulk", 100, bulk=True)
    while not any(name == "bulk" for batch in bench.batches for name, _, _ in batch):
        time.sleep(0.001)
    (first,) = (batch for batch in bench.batches if batch[0][0] == "bulk" and batch[0][1] == 0)
    assert first[0][2] < 32
    assert rows_of(bench.end(), "bulk") == list(range(100))


def test_bulk_rows_of_a_slow_engine_run_one_at_a_time(benches: Callable[..., Bench]) -> None:
    """Not even one of its rows fits the time of a short batch, and a batch of one row has none to reserve."""
    bench = benches(max_batch=1)
    bench.during = lambda _: time.sleep(0.02)
    bench.step(10_000)
    bench.submit("first", 1)
    bench.submit("bulk", 5, bulk=True)
    batches = bench.end()
    assert rows_of(batches, "bulk") == list(range(5))
    assert bench.finished["bulk"] == [None]


def test_bulk_jobs_do_not_starve(benches: Callable[..., Bench]) -> None:
    bench = benches(max_batch=4)
    bench.hold()
    bench.submit("bulk", 6, bulk=True)
    bench.submit("alone", 2, bulk=True, alone=True)
    for index in range(20):
        bench.submit(f"{index}", 3)
    bench.end()
    order = [name for batch in bench.ran for name, _, _ in batch]
    assert order.index("bulk") < order.index("19")
    assert order.index("alone") < order.index("19")


@pytest.mark.parametrize(("max_batch", "alone", "bulk_alone"), [(4, True, False), (4, False, True), (1, False, False)])
def test_bulk_jobs_that_cannot_share_a_batch_have_the_next(
    benches: Callable[..., Bench], max_batch: int, alone: bool, bulk_alone: bool
) -> None:
    bench = benches(max_batch=max_batch)
    bench.hold()
    bench.submit("bulk", 2, bulk=True, alone=bulk_alone)
    for index in range(20):
        bench.submit(f"{index}", 1, alone=alone)
    bench.end()
    order = [name for batch in bench.ran for name, _, _ in batch]
    assert max(place for place, name in enumerate(order) if name == "bulk") < 10


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


@pytest.mark.parametrize("offers", [False, True])
def test_many_threads_submit_and_give_up(offers: bool) -> None:
    """As in life: jobs come and go while batches run, and the count of rows ends at nought."""
    bench = Bench(max_batch=16, max_rows=300)
    bench.step(100_000)

    def client(number: int) -> None:
        for index in range(60):
            try:
                job = bench.submit(f"{number}-{index}", 1 + (number * 7 + index * 13) % 50, wake=not offers)
            except Full:
                continue
            if offers:
                bench.scheduler.run_short(SHORT_SECONDS)
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


class Here:
    """A scheduler whose rows take `seconds` each, and the threads that its batches ran on."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.threads: list[int] = []
        self._done = threading.Semaphore(0)
        self.scheduler: Scheduler[str] = Scheduler(self._run, lambda done: self._done.release(len(done)), 8, 100)
        self.scheduler.start()

    def _run(self, pieces: Sequence[Piece[str]]) -> None:
        self.threads.append(threading.get_ident())
        time.sleep(self._seconds * sum(piece.rows for piece in pieces))

    def offer(self, *jobs: Job[str]) -> None:
        """Submit, offer this thread, and wait for all of it."""
        for job in jobs:
            self.scheduler.submit(job, wake=False)
        self.scheduler.run_short(SHORT_SECONDS)
        for _ in jobs:
            assert self._done.acquire(timeout=30)


def test_a_short_batch_runs_where_it_was_offered_to() -> None:
    here = Here(0)
    here.offer(Job(1, "the first: nobody knows how long it takes"))
    assert here.threads == [here.scheduler._thread.ident]
    while here.scheduler.rate < 10 / SHORT_SECONDS:  # a busy machine may have held one up
        here.offer(Job(7, "more"))
    here.offer(Job(1, "a"), Job(2, "b"))
    here.scheduler.stop()
    assert here.threads[-1] == threading.get_ident()


@pytest.mark.parametrize("job", [Job(1, "slow"), Job(8, "as many as a batch holds")], ids=lambda job: job.payload)
def test_other_batches_run_on_the_scheduler_s_thread(job: Job[str]) -> None:
    here = Here(SHORT_SECONDS * 2 if job.rows == 1 else 0)
    here.offer(Job(1, "first"))
    here.offer(job)
    here.scheduler.stop()
    assert threading.get_ident() not in here.threads


def test_an_offer_while_a_batch_runs_changes_nothing(benches: Callable[..., Bench]) -> None:
    bench = benches()
    bench.hold()
    bench.scheduler.submit(Job(1, "a"), wake=False)
    bench.scheduler.run_short(SHORT_SECONDS)
    assert bench.end() == [[("a", 0, 1)]]


def test_an_offer_of_nothing_returns(benches: Callable[..., Bench]) -> None:
    benches().scheduler.run_short(SHORT_SECONDS)


def test_as_many_as_may_wait_are_given_up_together() -> None:
    """The last first: looked for from the front, each would be passed by all that wait before it."""
    scheduler: Scheduler[int] = Scheduler(lambda _: None, lambda _: None, max_batch=8, max_rows=65_536)
    jobs = [Job(1, index, bulk=index % 2 == 0) for index in range(65_536)]
    for job in jobs:
        scheduler.submit(job)
    for job in reversed(jobs):
        scheduler.cancel(job)
    assert scheduler.queued_rows == 0
