import numpy as np
import pytest

from latentserve.service.bundle import Column
from latentserve.training.evaluation.resampling import Resampling
from latentserve.training.evaluation.tables import TableBaseline

COLUMNS = [
    Column(name="age", type="float32", missing=-1.0),
    Column(name="income", type="float32"),
    Column(name="job", type="string", categories=["none", "cook", "smith"]),
]


def people(count: int, seed: int) -> np.ndarray:
    """Whose income goes with their age, and some of whose ages are missing."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(20, 60, count)
    income = 100 * age + rng.normal(0, 50, count)
    age[rng.random(count) < 0.1] = -1
    return np.stack([age, income, rng.integers(0, 3, count)], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def baseline() -> TableBaseline:
    chances = Resampling.of(2_000, 1), Resampling.of(2_000, 2)
    return TableBaseline(COLUMNS, people(2_000, 0), people(2_000, 1), chances)


def test_rows_like_real_ones_differ_by_the_floor(baseline: TableBaseline) -> None:
    for measured, floor, rows in (baseline.columns(people(2_000, 2)), baseline.pairs(people(2_000, 2))):
        assert measured.value == pytest.approx(floor, abs=0.02)
        assert len(rows) == 3
        assert measured.interval()[0] < measured.value < measured.interval()[1]


def test_columns_that_do_not_go_together_are_seen_in_pairs_only(baseline: TableBaseline) -> None:
    rows = people(2_000, 2)
    rows[:, 1] = np.random.default_rng(0).permutation(rows[:, 1])
    alone, floor, _ = baseline.columns(rows)
    assert alone.value == pytest.approx(floor, abs=0.02)
    together, floor, pairs = baseline.pairs(rows)
    assert max(pairs, key=lambda row: row.difference).name == "age and income"
    assert together.value > floor + 0.15


def test_a_column_that_is_off_is_named(baseline: TableBaseline) -> None:
    rows = people(2_000, 2)
    rows[:, 2] = 1
    rows[:, 1] += 500
    _, _, columns = baseline.columns(rows)
    found = {row.name: row for row in columns}
    assert found["job"].difference == pytest.approx(2 / 3, abs=0.05)
    assert found["job"].wasserstein is None
    assert found["income"].wasserstein == pytest.approx(500, rel=0.1)
    assert found["age"].difference == pytest.approx(found["age"].floor, abs=0.03)
