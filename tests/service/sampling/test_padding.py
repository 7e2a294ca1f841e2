"""Golden probes in the padding: nobody's rows change by them, each has its turn, and a bucket that is off is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from latentserve.service.bundle import Golden, read_bundle
from latentserve.service.sampling import padding as padding_module
from latentserve.service.sampling.cuda import CudaRunner
from latentserve.service.sampling.padding import Padding
from latentserve.service.sampling.served_graph import Output
from tests.generators import dense_generator
from tests.service.sampling.runners import corrupt, open_runner
from tests.service.sampling.test_cuda import ALL, IMAGE, latents


@pytest.fixture(scope="module")
def golden(bundle: Path) -> Golden:
    return read_bundle(bundle).golden


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes ride whenever there is room and the last ones were collected."""
    monkeypatch.setattr(padding_module, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(padding_module, "_SHARE", np.inf)


def carrying(golden: Golden, max_batch: int, **generator: bool) -> tuple[CudaRunner, Padding]:
    runner, padding = open_runner(dense_generator(**generator), IMAGE, max_batch), Padding(golden)
    assert runner.carry(padding)
    return runner, padding


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("places", [False, True], ids=["", "places"])
def test_rows_are_the_same_bits_whether_or_not_probes_ride(golden: Golden, places: bool) -> None:
    """Also where a row depends on its place and on the size of its batch, as on a GPU."""
    bare = open_runner(dense_generator(places=places), IMAGE, 48)
    runner, padding = carrying(golden, 48, places=places)
    for rows in range(1, 49):
        feed = latents(rows)
        for found, expected in zip(runner.run(feed, ALL), bare.run(feed, ALL), strict=True):
            assert found.tobytes() == expected.tobytes()
        size = next(size for size in (1, 2, 4, 8, 16, 32, 48) if size >= rows)
        padded = padding.collect()
        assert (None if padded is None else (padded.batch, len(padded.probes))) == (
            None if size == rows else (size, size - rows)
        )


def test_padding_stays_zeros_where_rows_depend_on_each_other(golden: Golden) -> None:
    bare, runner = (open_runner(dense_generator(batch_mean=True), IMAGE, 16) for _ in range(2))
    padding = Padding(golden)
    assert not runner.carry(padding)
    for rows in (3, 5, 11):
        feed = latents(rows)
        assert runner.run(feed, ("sample",))[0].tobytes() == bare.run(feed, ("sample",))[0].tobytes()
        assert padding.collect() is None


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("asked", [("sample",), ("sample_uint8", "signals"), ()], ids=str)
def test_every_probe_has_its_turn_and_matches(golden: Golden, asked: tuple[Output, ...]) -> None:
    runner, padding = carrying(golden, 16)
    seen: list[int] = []
    for rows in (9, 13, 5, 11, 3, 9):
        runner.run(latents(rows), asked)
        padded = padding.collect()
        assert padded is not None
        assert padded.differences.max() <= golden.tolerance
        seen += padded.probes.tolist()
    assert seen == [number % len(golden.z) for number in range(len(seen))]
    assert set(seen) == set(range(len(golden.z)))


def test_probes_ride_seldom(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before the last ones were looked at, and not before their time."""
    monkeypatch.setattr(padding_module, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(padding_module, "_SHARE", np.inf)
    runner, padding = carrying(golden, 16)
    runner.run(latents(9), ("sample",))
    runner.run(latents(5), ("sample",))
    padded = padding.collect()
    assert padded is not None
    assert padded.batch == 16
    assert padding.collect() is None
    monkeypatch.setattr(padding_module, "EVERY_SECONDS", 3600.0)
    for expected in (True, False, False):
        runner.run(latents(5), ("sample",))
        assert (padding.collect() is not None) == expected


def test_what_takes_long_to_fetch_is_fetched_seldom(golden: Golden) -> None:
    padding = Padding(golden)
    probes = padding.take(2)
    assert probes is not None
    padding.give(probes, 4, golden.sample[probes], seconds=1e6)
    assert padding.collect() is not None
    assert padding.take(2) is None


@pytest.mark.usefixtures("always")
def test_one_bucket_of_other_weights(golden: Golden) -> None:
    runner, padding = carrying(golden, 64)
    corrupt(runner, 64, dense_generator(seed=1), IMAGE)
    for rows, batch in ((5, 8), (40, 64), (20, 32)):
        runner.run(latents(rows), ("sample_uint8",))
        padded = padding.collect()
        assert padded is not None
        assert padded.batch == batch
        matches: NDArray[np.bool_] = padded.differences <= golden.tolerance
        assert not matches.any() if batch == 64 else matches.all()


@pytest.mark.usefixtures("always")
def test_values_that_are_not_finite_do_not_match(golden: Golden) -> None:
    padding = Padding(golden)
    probes = padding.take(3)
    assert probes is not None
    samples = golden.sample[probes]
    samples[0, 0, 0, 0], samples[1, 0, 0, 0] = np.nan, -np.inf
    padding.give(probes, 8, samples, 0.0)
    padded = padding.collect()
    assert padded is not None
    assert padded.differences.tolist() == [np.inf, np.inf, 0.0]


@pytest.mark.usefixtures("always")
def test_a_generator_without_labels(plain_bundle: Path) -> None:
    bundle = read_bundle(plain_bundle)
    runner = open_runner(dense_generator(dim=5, shape=(6,), labels=None), bundle.manifest.sample, 8)
    padding = Padding(bundle.golden)
    assert runner.carry(padding)
    z = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)
    runner.run({"z": z}, ("sample",))
    padded = padding.collect()
    assert padded is not None
    assert padded.differences.max() <= bundle.golden.tolerance
