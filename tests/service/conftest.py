"""Fixtures of the service's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from latentserve.service.bundle import read_bundle
from latentserve.service.sampling.engine import Engine
from tests.conftest import make_bundle
from tests.generators import dense_generator
from tests.server import Server


@pytest.fixture(scope="session")
def engine(bundle: Path) -> Engine:
    """The conditional toy generator, warmed."""
    engine = Engine(read_bundle(bundle), "cpu")
    engine.warm_up()
    return engine


@pytest.fixture(scope="session")
def plain_engine(plain_bundle: Path) -> Engine:
    """The unconditional one, warmed."""
    engine = Engine(read_bundle(plain_bundle), "cpu")
    engine.warm_up()
    return engine


@pytest.fixture(scope="session")
def slow_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator that needs milliseconds a call."""
    return make_bundle(
        tmp_path_factory.mktemp("bundles") / "slow",
        name="slow",
        generator=dense_generator(rounds=20_000).SerializeToString(),
        reference_samples=64,
    )


@pytest.fixture(scope="session")
def poison_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator that gives NaN where z[0] > 3, which none of its golden and reference samples has."""
    return make_bundle(
        tmp_path_factory.mktemp("bundles") / "poison",
        name="poison",
        generator=dense_generator(poison=True).SerializeToString(),
        reference_samples=64,
    )


@pytest.fixture(scope="session")
def tight_server(slow_bundle: Path, poison_bundle: Path) -> Iterator[Server]:
    """A slow generator behind a small queue and a short deadline, and a poisoned one beside it."""
    with Server(
        slow_bundle, poison_bundle, max_batch=1, threads=1, max_queue_rows=256, deadline_seconds=0.5
    ) as running:
        yield running
