"""Staleness: data that moved is told from data that did not, and from a difference that is certain and too small."""

from __future__ import annotations

import numpy as np
import pytest

from latentserve.service.bundle import SampleSpec
from latentserve.service.watching.feature_space import FeatureSpace
from latentserve.service.watching.features import FeatureHead
from latentserve.service.watching.staleness import LEAST_CHANCE, LEAST_DISTANCE, Staleness

SPEC = SampleSpec(kind="array", shape=[12])


def compared(shift: float, rows: int = 400, seed: int = 0, generator: float = 0.0) -> Staleness:
    """Data that moved by `shift` standard deviations in each of its twelve values."""
    rng = np.random.default_rng(seed)
    today, stored, generated = ((rng.normal(size=(rows, 12)) + moved).astype(np.float32) for moved in (shift, 0.0, 0.0))
    space = FeatureSpace.of_samples(stored, SPEC)
    mapper = space.mapper(SPEC)
    features = [mapper.features(samples, None) for samples in (today, stored, generated)]
    head = FeatureHead.of(space, features[1], np.zeros(rows, np.int64), 1, 1)
    features[2] += np.float32(generator)
    return Staleness.of(head, *features)


def test_data_that_did_not_move() -> None:
    found = [compared(0, seed=seed) for seed in range(3)]
    assert not any(each.moved for each in found)
    assert all(each.chance > LEAST_CHANCE for each in found)
    assert found[0].halves.low < 0 < found[0].halves.high


def test_data_that_moved() -> None:
    found = compared(0.5)
    assert found.moved
    assert found.chance == 1 / 2000
    assert found.from_reference.low > LEAST_DISTANCE
    assert found.from_generator is not None
    assert found.from_generator.low > 0  # the generator makes what the data was
    assert found.samples == 400
    assert "kernel distance" in str(found)
    numbers = found.numbers()
    assert numbers["from_reference"] == pytest.approx(list(found.from_reference))
    assert set(numbers) == {"samples", "from_reference", "from_generator", "halves", "chance"}


def test_a_certain_difference_may_be_too_small_to_matter() -> None:
    rng = np.random.default_rng(0)
    stored, today = (rng.normal(size=(1500, 32)).astype(np.float32) for _ in range(2))
    head = FeatureHead.of(FeatureSpace("critic", 0), stored, np.zeros(1500, np.int64), 1, 1)
    found = Staleness.of(head, today + np.float32(0.05), stored, stored[:100])
    assert found.chance <= LEAST_CHANCE
    assert 0 < found.from_reference.low < LEAST_DISTANCE
    assert not found.moved


def test_a_generator_that_gives_nothing_finite_has_no_distance() -> None:
    found = compared(0.5, generator=np.nan)
    assert found.from_generator is None
    assert found.moved
    assert found.numbers()["from_generator"] is None
