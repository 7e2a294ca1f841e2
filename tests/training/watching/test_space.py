import numpy as np
import pytest

from latentserve.training.data import Dataset, load
from latentserve.training.watching.space import Space


@pytest.fixture(scope="module")
def reals(digits: Dataset) -> np.ndarray:
    return digits.take(slice(None))


def test_other_reals_are_near_and_what_differs_is_further(digits: Dataset, reals: np.ndarray) -> None:
    space = Space(reals[:450], digits.labels[:450], 10, standardise=False)
    rest, labels = reals[450:], digits.labels[450:]
    floor = space.distance(rest, labels)
    noise = np.random.default_rng(0).standard_normal(rest.shape).astype(np.float32)
    assert 0 < floor < 0.1
    assert space.distance(rest, np.random.default_rng(0).permutation(labels)) > 3 * floor  # labels are joined
    assert space.distance(rest[labels < 5], labels[labels < 5]) > 3 * floor
    assert space.distance(np.repeat(rest[:1], 400, 0), labels[:400]) > 3 * floor
    assert space.distance(rest + 0.5 * noise, labels) > 3 * floor  # mostly beyond the components' plane
    assert np.isnan(space.distance(np.where(noise > 3, np.nan, rest), labels))


def test_samples_for_something_else_than_was_asked_for_are_further() -> None:
    blobs = load("blobs", None)
    made_for = blobs.conditions_of(slice(0, 900))
    assert made_for is not None
    reals, none = blobs.take(slice(0, 900)), np.zeros(900, np.int64)
    space = Space(reals[:450], none[:450], 0, False, made_for[:450])
    floor, _ = space.floor(reals, none, 450, made_for)
    assert space.distance(reals[450:], none[450:], made_for[450:]) < 2 * floor
    for column in (0, 1):
        other = made_for[450:].copy()
        other[:, column] = np.random.default_rng(0).permutation(other[:, column])
        assert space.distance(reals[450:], none[450:], other) > 3 * floor


def test_numbers_with_units_of_their_own_count_alike() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal((400, 3)).astype(np.float32) * np.array([1e-3, 1, 1e3], np.float32)
    none = np.zeros(400, np.int64)
    space = Space(numbers, none, 0, standardise=True)
    assert space.distance(numbers, none) == pytest.approx(0, abs=1e-6)
    moved = [space.distance(numbers + 2 * np.eye(3, dtype=np.float32)[at] * numbers.std(0), none) for at in range(3)]
    assert moved == pytest.approx([4 / 3] * 3, rel=0.05)


def test_a_number_that_never_changes_has_no_unit_of_its_own() -> None:
    rng, none, distances = np.random.default_rng(0), np.zeros(100, np.int64), []
    numbers = rng.standard_normal((100, 2)).astype(np.float32)
    for constant in (0.0, 0.1):  # the mean of which is another number in float32
        numbers[:, 1] = constant
        moved = numbers + np.array([0, 0.5], np.float32)
        distances.append(Space(numbers, none, 0, standardise=True).distance(moved, none))
    assert distances[1] == pytest.approx(distances[0], rel=1e-3)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [0.0, 1.0, 0.1])
def test_reals_that_are_all_the_same_can_be_compared_with(value: float) -> None:
    same, none = np.full((40, 1, 4, 4), value, np.float32), np.zeros(40, np.int64)
    space = Space(same, none, 0, standardise=False)
    assert space.distance(same, none) == pytest.approx(0, abs=1e-6)
    assert space.distance(same + 1, none) == pytest.approx(16, rel=1e-3)  # there is no variance to be a unit


def test_the_floor_is_what_other_draws_are_like() -> None:
    """In two dimensions a single draw says little: the floor is of many, and knows how much they differ."""
    rng, none = np.random.default_rng(0), np.zeros(400, np.int64)
    reals = rng.standard_normal((400, 2)).astype(np.float32)
    space = Space(reals[100:], none[100:], 0, standardise=True)
    floor, deviation = space.floor(reals, none, 100)
    others = [space.distance(rng.standard_normal((100, 2)).astype(np.float32), none[:100]) for _ in range(200)]
    assert np.median(others) / 2 < floor < 2 * np.median(others)
    assert deviation > floor / 5
    assert np.mean(np.array(others) > floor + 5 * deviation) < 0.02
