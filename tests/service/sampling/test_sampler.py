"""The sampler: any mix of requests at once, and each gets its own rows, bit for bit what the engine gives alone."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from latentserve.service.bundle import Inputs, read_bundle
from latentserve.service.errors import EngineError, QueueFullError
from latentserve.service.sampling import padding
from latentserve.service.sampling import sampler as sampler_module
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.memory import held_bytes
from latentserve.service.sampling.request import ARMS, RowsRequest
from latentserve.service.sampling.sampler import BatchDone, Sampler, Wanted
from latentserve.service.sampling.samples import Samples
from tests.generators import dense_generator
from tests.service.sampling.runners import open_runner


@pytest.fixture(scope="module")
def sampler(engine: Engine) -> Iterator[Sampler]:
    sampler = Sampler(engine, 65_536)
    sampler.start()
    yield sampler
    sampler.stop()


@pytest.fixture(scope="module")
def fixed_sampler(bundle: Path) -> Iterator[Sampler]:
    """Of a generator whose rows depend on their batch: deterministic requests go through the fixed bucket."""
    read = read_bundle(bundle)
    engine = Engine(replace(read, generator_file=dense_generator(places=True).SerializeToString()), "cpu")
    engine.warm_up()
    assert not engine.batch_invariant
    sampler = Sampler(engine, 65_536)
    sampler.start()
    yield sampler
    sampler.stop()


class Gate:
    """Holds batches up until it is opened; `watch` is a Sampler's `on_batch`."""

    def __init__(self) -> None:
        self.batches: list[BatchDone] = []
        self.closed = threading.Event()
        self.open = threading.Event()

    def watch(self, batch: BatchDone) -> None:
        self.batches.append(batch)
        self.closed.set()
        assert self.open.wait(30)


def alone(engine: Engine, request: RowsRequest) -> NDArray[Any]:
    (samples,) = engine.run(request.inputs(engine.bundle.manifest, 0, request.n), [request.output])
    return samples


def run(sampler: Sampler, *requests: RowsRequest) -> list[Samples]:
    async def together() -> list[Samples]:
        return await asyncio.gather(*(sampler.rows(request) for request in requests))

    return asyncio.run(together())


requests = st.builds(
    RowsRequest,
    n=st.integers(1, 600),
    seed=st.integers(0, 2**53 - 1),
    offset=st.integers(0, 2**53 - 1000),
    latents=st.none(),
    numbers=st.none(),
    labels=st.none(),
    arm=st.just("client"),
    truncation=st.sampled_from([1.0, 0.5]),
    deterministic=st.booleans(),
    output=st.sampled_from(["sample", "sample_uint8"]),
)


@given(mix=st.lists(requests, min_size=1, max_size=8))
def test_any_mix_of_requests(sampler: Sampler, engine: Engine, mix: list[RowsRequest]) -> None:
    for request, rows in zip(mix, run(sampler, *mix), strict=True):
        assert rows.samples.dtype == (np.uint8 if request.output == "sample_uint8" else np.float32)
        assert np.array_equal(rows.samples, alone(engine, request))
        assert rows.labels is not None
        assert np.array_equal(rows.labels, request.inputs(engine.bundle.manifest, 0, request.n)[1])
    assert sampler.queued_rows == 0


@pytest.fixture(scope="module")
def shower(shower_bundle: Path) -> Iterator[Sampler]:
    """Of a generator with noise, labels and conditions."""
    engine = Engine(read_bundle(shower_bundle), "cpu")
    engine.warm_up()
    assert engine.batch_invariant
    sampler = Sampler(engine, 65_536)
    sampler.start()
    yield sampler
    sampler.stop()


@st.composite
def any_requests(draw: st.DrawFn) -> RowsRequest:
    """Latents drawn, sent, or sent without their noise; labels and conditions drawn, sent, or some of them sent."""
    n = draw(st.integers(1, 300))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    columns = draw(st.sampled_from([None, 7, 12]))
    conditions = rng.uniform(0.5, 0.7, (n, 2)).astype(np.float32)
    conditions[rng.random((n, 2)) < draw(st.sampled_from([0.0, 0.5, 1.0]))] = np.nan
    return RowsRequest(
        n=n,
        seed=draw(st.integers(0, 2**53 - 1)),
        offset=draw(st.integers(0, 2**53 - 1000)),
        latents=None if columns is None else rng.normal(size=(n, columns)).astype(np.float32),
        labels=rng.integers(0, 3, n) if draw(st.booleans()) else None,
        conditions=conditions if draw(st.booleans()) else None,
        truncation=draw(st.sampled_from([1.0, 0.5])),
        deterministic=draw(st.booleans()),
    )


@given(mix=st.lists(any_requests(), min_size=1, max_size=8))
def test_any_mix_of_what_rows_are_made_from(shower: Sampler, mix: list[RowsRequest]) -> None:
    """Whatever shares their batches, rows are those of their request alone, and what they were made for is told."""
    for request, rows in zip(mix, run(shower, *mix), strict=True):
        inputs = request.inputs(shower.bundle.manifest, 0, request.n)
        assert np.array_equal(rows.samples, alone(shower.engine, request))
        assert np.array_equal(rows.labels, inputs.label)
        assert np.array_equal(rows.conditions, inputs.condition)
        if request.conditions is not None:
            asked = ~np.isnan(request.conditions)
            assert np.array_equal(rows.conditions[asked], request.conditions[asked])
        if request.latents is not None:
            assert np.array_equal(inputs.z[:, : request.latents.shape[1]], request.latents)


def test_latents_and_labels_of_the_client(sampler: Sampler, engine: Engine) -> None:
    rng = np.random.default_rng(0)
    z, labels = rng.normal(size=(700, 8)).astype(np.float32), rng.integers(0, 10, 700)
    (rows,) = run(sampler, RowsRequest(n=700, latents=z, labels=labels))
    assert np.array_equal(rows.samples, engine.generate(Inputs(z, labels)))
    assert np.array_equal(rows.labels, labels)


def test_an_unconditional_model(plain_engine: Engine) -> None:
    sampler = Sampler(plain_engine, 1000)
    sampler.start()
    (rows,) = run(sampler, RowsRequest(n=300, seed=4))
    sampler.stop()
    assert rows.labels is None
    assert np.array_equal(rows.samples, alone(plain_engine, RowsRequest(n=300, seed=4)))


@given(offset=st.integers(0, 2**53 - 1000), n=st.integers(1, 300), cuts=st.lists(st.integers(0, 300), max_size=5))
def test_the_fixed_bucket_gives_the_same_bits_for_any_split(
    fixed_sampler: Sampler, offset: int, n: int, cuts: list[int]
) -> None:
    def ask(start: int, rows: int) -> RowsRequest:
        return RowsRequest(n=rows, seed=9, offset=offset + start, deterministic=True)

    edges = sorted({0, n, *(cut for cut in cuts if cut < n)})
    noise = RowsRequest(n=200, seed=1)
    (whole,) = run(fixed_sampler, ask(0, n))
    *parts, _ = run(fixed_sampler, *(ask(start, stop - start) for start, stop in pairwise(edges)), noise)
    assert np.array_equal(np.concatenate([part.samples for part in parts]), whole.samples)


def test_deterministic_bytes_are_the_same_whether_or_not_probes_ride(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bucket has 16 rows; a device that takes 10 at once runs the last 6 padded to 8."""
    monkeypatch.setattr(padding, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(padding, "_SHARE", np.inf)
    read, generator = read_bundle(bundle), dense_generator(places=True)
    engine = Engine(replace(read, generator_file=generator.SerializeToString()), "cpu", max_batch=10)
    engine._runner = open_runner(generator, read.manifest.sample, 10)
    sampler = Sampler(engine, 65_536)
    sampler.start()
    request = RowsRequest(n=23, seed=9, deterministic=True)
    (without,) = run(sampler, request)  # not warmed yet: zeros
    engine.warm_up()
    assert not engine.batch_invariant
    for _ in range(3):
        (found,) = run(sampler, request)
        assert found.samples.tobytes() == without.samples.tobytes()
        padded = engine.probed_in_padding()
        assert padded is not None
        assert (padded.batch, len(padded.probes)) == (8, 2)
    sampler.stop()


def test_without_the_fixed_bucket_such_a_generator_varies(fixed_sampler: Sampler) -> None:
    """Or the test above would show nothing."""
    (whole,) = run(fixed_sampler, RowsRequest(n=40, seed=9))
    (part,) = run(fixed_sampler, RowsRequest(n=10, seed=9))
    assert not np.array_equal(part.samples, whole.samples[:10])


def test_slices_of_rows_with_places_end_with_a_whole_batch(
    fixed_sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of large samples a slice has fewer rows than a batch: what is left of it would be run in vain."""
    engine, request = fixed_sampler.engine, RowsRequest(n=100, seed=3, offset=5, deterministic=True)
    inputs = request.inputs(engine.bundle.manifest, 0, request.n)
    (whole,) = engine.run_fixed(inputs, ["sample"], request.offset)
    ran: list[int] = []
    run_all = engine.run
    monkeypatch.setattr(engine, "run", lambda inputs, outputs: ran.append(len(inputs.z)) or run_all(inputs, outputs))
    monkeypatch.setattr(fixed_sampler, "slice_rows", 10)
    (rows,) = run(fixed_sampler, request)
    assert np.array_equal(rows.samples, whole)
    assert ran == [engine.fixed_batch] * 7  # of rows 5 to 104, in batches of 16 from row 0 on


def test_a_long_stream_comes_in_bounded_slices(sampler: Sampler, engine: Engine) -> None:
    request = RowsRequest(n=5000, seed=2)

    async def read() -> tuple[list[Samples], int]:
        parts, most = [], 0
        async for part in sampler.stream(request):
            most = max(most, sampler.queued_rows)
            parts.append(part)
        return parts, most

    parts, most = asyncio.run(read())
    assert all(len(part.samples) <= sampler.most_slice_rows for part in parts)
    assert most <= 3 * sampler.most_slice_rows
    assert np.array_equal(np.concatenate([part.samples for part in parts]), alone(engine, request))


def test_pieces_of_rows_with_places_end_with_a_whole_batch(
    fixed_sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of 64 rows from row 5 on would end within a batch of 16, and the next begin there."""
    engine, ran = fixed_sampler.engine, []
    run_all = engine.run
    monkeypatch.setattr(engine, "run", lambda inputs, outputs: ran.append(len(inputs.z)) or run_all(inputs, outputs))
    run(fixed_sampler, RowsRequest(n=200, seed=3, offset=5, deterministic=True))
    assert ran == [engine.fixed_batch] * 13  # of rows 5 to 204


def test_many_streams_wait_a_slice_each(engine: Engine) -> None:
    """However many there are, the first rows of each come before the second ones of any."""
    gate = Gate()
    sampler = Sampler(engine, 65_536, on_batch=gate.watch)
    sampler.start()
    streams = [sampler.stream(RowsRequest(n=5000, seed=seed)) for seed in range(70)]
    order: list[int] = []

    async def read(place: int) -> None:
        for _ in range(2):
            await anext(streams[place])
            order.append(place)
        await streams[place].aclose()

    async def together() -> None:
        readers = asyncio.gather(*map(read, range(70)))
        assert await asyncio.to_thread(gate.closed.wait, 30)
        assert sampler.queued_rows <= 80 * sampler.slice_rows
        gate.open.set()
        await readers

    asyncio.run(together())
    sampler.stop()
    first = [order.index(place) for place in range(70)]
    assert first == sorted(first)
    assert max(first) < 70 + 10


def test_a_stream_given_up_frees_the_queue(engine: Engine) -> None:
    gate = Gate()
    sampler = Sampler(engine, 2048, on_batch=gate.watch)
    sampler.start()

    async def give_up() -> None:
        stream: AsyncIterator[Samples] = sampler.stream(RowsRequest(n=100_000, seed=1))
        first = asyncio.ensure_future(anext(stream))
        assert await asyncio.to_thread(gate.closed.wait, 30)
        assert sampler.queued_rows > 0
        gate.open.set()
        assert 1 <= len((await first).samples) <= sampler.slice_rows
        await stream.aclose()  # type: ignore[attr-defined]
        assert sampler.queued_rows == 0

    asyncio.run(give_up())
    sampler.stop()
    assert sum(len(batch.inputs.z) for batch in gate.batches) <= 5 * sampler.slice_rows


def test_a_reader_cancelled_while_it_waits_frees_the_queue(engine: Engine) -> None:
    gate = Gate()
    sampler = Sampler(engine, 2048, on_batch=gate.watch)
    sampler.start()

    async def cancel() -> None:
        reader = asyncio.ensure_future(sampler.rows(RowsRequest(n=100_000, seed=1)))
        assert await asyncio.to_thread(gate.closed.wait, 30)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert sampler.queued_rows == 0
        gate.open.set()
        rows = await sampler.rows(RowsRequest(n=10, seed=3))
        assert np.array_equal(rows.samples, alone(engine, RowsRequest(n=10, seed=3)))

    asyncio.run(cancel())
    sampler.stop()


def give_back(bundle: str) -> None:
    """Have many samples in memory, then few; print what was given back, and the size of the samples."""
    sampler_module._MUCH_BYTES = 8 << 20
    engine = Engine(read_bundle(Path(bundle)), "cpu", max_batch=256)
    engine.warm_up()
    sampler = Sampler(engine, 65_536)
    sampler.start()

    async def read() -> tuple[int, int]:
        jobs = [sampler.submit(RowsRequest(n=256, seed=seed)) for seed in range(256)]
        size = sum([(await sampler.collect(job)).samples.nbytes for job in jobs])
        most = held_bytes()
        for job in jobs:
            job.payload.samples.clear()
            sampler.release(job.rows)
        await sampler.rows(RowsRequest(n=1))
        return most - held_bytes(), size

    print(*asyncio.run(read()))
    sampler.stop()


def test_memory_of_many_samples_is_given_back(bundle: Path) -> None:
    """In a process of its own: what others left in this one's memory is none of it."""
    code = "import sys; from tests.service.sampling.test_sampler import give_back; give_back(sys.argv[1])"
    top = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code, bundle], cwd=top, capture_output=True, text=True, check=True)
    given_back, size = map(int, done.stdout.split())
    assert given_back > size / 2


def test_requests_that_take_long_yield(engine: Engine) -> None:
    """A row that is asked for beside many requests of a few hundred rows is made before nearly all of them."""
    made: list[int] = []

    def work(batch: BatchDone) -> None:
        rows = sum(count for _, _, count in batch.parts)
        made.append(rows)
        time.sleep(rows / 2000)

    sampler = Sampler(engine, 65_536, on_batch=work)
    sampler.start()

    async def ask() -> None:
        await sampler.rows(RowsRequest(n=64))  # how fast it is, is known now
        others = [asyncio.create_task(sampler.rows(RowsRequest(n=200, seed=seed))) for seed in range(4)]
        await asyncio.sleep(0)
        await sampler.rows(RowsRequest(n=1, seed=9))
        before = len(made)
        await sampler.rows(RowsRequest(n=1, seed=10))
        assert max(made[before:]) <= 32  # the batch that ran meanwhile was a short one
        await asyncio.gather(*others)
        assert sum(made) == 64 + 800 + 2

    asyncio.run(ask())
    sampler.stop()


def test_many_large_requests_are_all_begun_before_any_goes_on(engine: Engine) -> None:
    made = 0

    def work(batch: BatchDone) -> None:
        nonlocal made
        rows = sum(count for _, _, count in batch.parts)
        made += rows
        time.sleep(rows / 1000)

    sampler = Sampler(engine, 65_536, on_batch=work)
    sampler.start()

    async def begin() -> None:
        await sampler.rows(RowsRequest(n=20))  # how fast it is, is known now
        streams = [sampler.stream(RowsRequest(n=5000, seed=seed)) for seed in range(8)]
        firsts = await asyncio.gather(*(anext(stream) for stream in streams))
        assert made < 8 * sampler.slice_rows / 2
        for seed, first in enumerate(firsts):
            rows = RowsRequest(n=len(first.samples), seed=seed)
            assert np.allclose(first.samples, alone(engine, rows), atol=1e-5)
        for stream in streams:
            await stream.aclose()

    asyncio.run(begin())
    sampler.stop()


def test_a_full_queue_refuses_whom_it_cannot_take_at_all(engine: Engine) -> None:
    """A request under way waits for room instead, and gets all its rows."""
    gate = Gate()
    sampler = Sampler(engine, 900, on_batch=gate.watch)
    sampler.start()
    large = RowsRequest(n=3000, seed=1)

    async def refuse() -> None:
        first = asyncio.ensure_future(sampler.rows(large))
        assert await asyncio.to_thread(gate.closed.wait, 30)
        with pytest.raises(QueueFullError) as caught:
            await sampler.rows(RowsRequest(n=200, seed=2))
        assert caught.value.retry_after >= 1
        gate.open.set()
        assert np.array_equal((await first).samples, alone(engine, large))
        await sampler.rows(RowsRequest(n=200, seed=2))

    asyncio.run(refuse())
    sampler.stop()


def test_many_large_requests_over_a_small_queue_all_end(engine: Engine) -> None:
    sampler = Sampler(engine, 300)
    sampler.start()

    async def ask(seed: int) -> bool | None:
        request = RowsRequest(n=900, seed=seed)
        for _ in range(1000):
            try:
                return np.array_equal((await sampler.rows(request)).samples, alone(engine, request))
            except QueueFullError:
                await asyncio.sleep(0.01)
        return None

    async def together() -> list[bool | None]:
        return await asyncio.gather(*map(ask, range(6)))

    assert asyncio.run(together()) == [True] * 6
    assert sampler.queued_rows == 0
    sampler.stop()


def test_an_engine_that_fails_fails_its_batch_only(engine: Engine) -> None:
    """Labels beyond the generator's embedding make the runtime itself raise."""
    sampler = Sampler(engine, 1000)
    sampler.start()
    bad = RowsRequest(n=3, seed=1, labels=np.full(3, 99))
    for _ in range(3):
        with pytest.raises(EngineError, match="engine failed"):
            run(sampler, bad)
        (rows,) = run(sampler, RowsRequest(n=3, seed=1))
        assert np.array_equal(rows.samples, alone(engine, RowsRequest(n=3, seed=1)))
    assert sampler.queued_rows == 0
    sampler.stop()


def test_a_lone_request_runs_where_it_asks_and_many_that_arrive_together_share_batches(engine: Engine) -> None:
    sizes: list[int] = []
    sampler = Sampler(engine, 65_536, on_batch=lambda batch: sizes.append(len(batch.inputs.z)))
    sampler.start()

    async def ask(seed: int) -> bool:
        job = sampler.submit(RowsRequest(n=1, seed=seed))
        here = job.payload.future.done()
        await sampler.collect(job)
        sampler.release(1)
        return here

    async def together(count: int) -> list[bool]:
        return await asyncio.gather(*map(ask, range(count)))

    async def measured() -> tuple[bool, list[bool], list[int]]:
        await together(1)
        while sampler._scheduler.rate < 16 * 1000:  # a busy machine may have held a batch up
            await together(32)
        await asyncio.sleep(0.1)
        (here,) = await together(1)
        await asyncio.sleep(0.1)
        sizes.clear()
        return here, await together(32), sizes[:]

    here, of_many, batches = asyncio.run(measured())
    sampler.stop()
    assert here
    assert not any(of_many[1:])
    assert sum(batches) == 32
    assert len(batches) <= 8


def test_watchers_see_every_row_with_its_arm(engine: Engine) -> None:
    gate = Gate()
    gate.open.set()
    sampler = Sampler(engine, 65_536, on_batch=gate.watch)
    sampler.start()
    chance = random.Random(0)
    mix: list[dict[str, Any]] = [{"n": chance.randint(1, 300), "arm": chance.choice(ARMS)} for _ in range(30)]
    run(sampler, *(RowsRequest(seed=seed, **fields) for seed, fields in enumerate(mix)))
    sampler.stop()
    for arm in ARMS:
        asked = sum(fields["n"] for fields in mix if fields["arm"] == arm)
        assert sum(rows for batch in gate.batches for request, _, rows in batch.parts if request.arm == arm) == asked
    for batch in gate.batches:
        assert len(batch.inputs.z) == sum(rows for _, _, rows in batch.parts) <= engine.max_batch
        assert batch.seconds > 0
        assert not batch.chosen


def test_watchers_get_what_they_want_beside_what_clients_asked(engine: Engine) -> None:
    gate = Gate()
    gate.open.set()
    sampler = Sampler(
        engine, 1024, on_batch=gate.watch, wanted=lambda _parts: Wanted(("signals", "sample"), chosen=True)
    )
    sampler.start()
    (rows,) = run(sampler, RowsRequest(n=5, seed=1, output="sample_uint8"))
    sampler.stop()
    (batch,) = gate.batches
    assert batch.chosen
    assert set(batch.made) == {"sample", "signals", "sample_uint8"}
    assert np.array_equal(batch.made["sample"], alone(engine, RowsRequest(n=5, seed=1)))
    assert np.array_equal(rows.samples, batch.made["sample_uint8"])
