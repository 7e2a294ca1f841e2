"""Who learnt rows by heart is called so, who did not is not; in tables of mixed columns and in pictures."""

from collections.abc import Callable

import numpy as np
import pytest

from latentserve.service.bundle import Column
from latentserve.training.data import Dataset, load
from latentserve.training.evaluation.features import plain_space
from latentserve.training.evaluation.findings import of_privacy
from latentserve.training.evaluation.privacy import DCR, MEMBERSHIP, PrivacyBaseline, unmeasured
from latentserve.training.evaluation.reals import HALVES, SEPARATE, Reals
from latentserve.training.evaluation.statistic import Statistic
from latentserve.training.evaluation.views import view_of

FEW, MANY = range(2), range(2, 12)  # seeds
COLUMNS = [
    Column(name="age", type="float32", missing=-1.0),
    Column(name="income", type="float32"),
    Column(name="debt", type="float32"),
    Column(name="job", type="string", categories=["none", "cook", "smith", "nurse"]),
    Column(name="town", type="string", categories=[f"town {at}" for at in range(12)]),
]


def people(count: int, seed: int, richer: float = 0.0) -> Dataset:
    rng = np.random.default_rng(seed)
    age = rng.uniform(20, 60, count)
    job = rng.integers(0, 4, count)
    income = 100 * age + 400 * job + rng.gamma(2, 300, count) + richer
    debt = np.where(rng.random(count) < 0.5, 0, rng.gamma(1, 500, count))
    age[rng.random(count) < 0.1] = -1
    rows = np.stack([age, income, debt, job, rng.integers(0, 12, count)], axis=1).astype(np.float32)
    return Dataset("people", rows, np.zeros(count, np.int64), [], "table", columns=COLUMNS)


def reals(train: Dataset, held: Dataset) -> Reals:
    return Reals(train, held, SEPARATE, "", ())


def baseline(train: Dataset, held: Dataset) -> PrivacyBaseline:
    return PrivacyBaseline(reals(train, held), plain_space(view_of(train), train))


def table(seed: int) -> tuple[Dataset, Dataset, Dataset]:
    return people(900, 3 * seed), people(600, 3 * seed + 1), people(900, 3 * seed + 2)


def pictures(seed: int) -> tuple[Dataset, Dataset, Dataset]:
    train, held = load("digits", None), load("digits", None, "test")
    samples = np.concatenate([train.samples, held.samples])
    order = np.random.default_rng(seed).permutation(len(samples))
    whole = Dataset("digits", samples, np.zeros(len(samples), np.int64), [], "image", train.stored_range)
    return whole.subset(order[:600]), whole.subset(order[600:1_200]), whole.subset(order[1_200:])


def measured(known: PrivacyBaseline, samples: np.ndarray) -> dict[str, Statistic]:
    return {statistic.name: statistic for statistic in known.measure(known.features(samples))}


def learnt_by_heart(train: Dataset, seed: int) -> np.ndarray:
    """Rows of it, each number a little changed."""
    rng = np.random.default_rng(seed)
    rows = train.take(rng.integers(0, len(train), len(train)))
    changed = [at for at, column in enumerate(train.columns or []) if column.categories is None]
    noise = 1e-3 * rows.std(axis=0) * rng.standard_normal(rows.shape).astype(np.float32)
    if train.kind == "table":
        noise[:, [at for at in range(rows.shape[1]) if at not in changed]] = 0
    return rows + noise


@pytest.mark.parametrize("seeds", [FEW, pytest.param(MANY, marks=pytest.mark.full)])
@pytest.mark.parametrize("kind", [table, pictures])
def test_a_generator_that_learnt_rows_by_heart_is_called_so_and_an_honest_one_is_not(
    kind: Callable[[int], tuple[Dataset, Dataset, Dataset]], seeds: range
) -> None:
    for seed in seeds:
        train, held, others = kind(seed)
        known = baseline(train, held)
        honest = measured(known, others.take(slice(0, len(others))))
        assert [finding.sentence for finding in of_privacy(honest)] == []
        found = measured(known, learnt_by_heart(train, seed))
        said = {finding.name: finding for finding in of_privacy(found)}
        assert MEMBERSHIP in said  # the other has less to go by: a part of the training rows, of few
        assert "Privacy: samples give away what it was trained on" in said[MEMBERSHIP].sentence
        for name, statistic in found.items():
            low, high = statistic.interval or (0, 0)
            assert low <= statistic.value <= high
            assert statistic.floor == pytest.approx(0.5, abs=0.12)
            assert low > honest[name].value
        assert found[MEMBERSHIP].more["recognised"] > 0.2 > honest[MEMBERSHIP].more["recognised"]


def test_half_of_what_was_learnt_by_heart_is_half_as_visible() -> None:
    train, held, others = table(0)
    known = baseline(train, held)
    made = learnt_by_heart(train, 0)
    made[::2] = others.take(slice(0, None, 2))
    whole, half = measured(known, learnt_by_heart(train, 0)), measured(known, made)
    for name in (DCR, MEMBERSHIP):
        assert 0.5 < half[name].value < whole[name].value
    assert any(of_privacy(half))


def test_rows_of_a_few_kinds_give_nobody_away() -> None:
    """Where all are alike there is nothing to be told apart, however they were learnt."""
    towns = [Column(name="town", type="string", categories=["here", "there"])]
    rows = np.random.default_rng(0).integers(0, 2, (900, 1)).astype(np.float32)
    whole = Dataset("towns", rows, np.zeros(900, np.int64), [], "table", columns=towns)
    train, held = whole.subset(np.arange(450)), whole.subset(np.arange(450, 900))
    found = measured(baseline(train, held), train.take(slice(0, 450)))
    assert found[DCR].value == found[DCR].floor == 0.5
    assert found[MEMBERSHIP].value == pytest.approx(0.5, abs=0.05)
    assert list(of_privacy(found)) == []


def test_an_honest_generator_is_not_blamed_for_held_out_rows_of_another_year() -> None:
    train, held, others = people(900, 0), people(900, 1, richer=2_500), people(900, 2)
    found = measured(baseline(train, held), others.take(slice(0, 900)))
    assert found[DCR].value > 0.6
    assert found[DCR].more["training_rows"] == pytest.approx(found[DCR].value, abs=0.05)
    assert list(of_privacy(found)) == []


def test_large_samples_are_looked_at_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    train, held, others = pictures(0)
    whole = measured(baseline(train, held), others.take(slice(0, 300)))
    monkeypatch.setattr("latentserve.training.evaluation.privacy.CHUNK", 70 * 64 * 4)
    monkeypatch.setattr("latentserve.training.evaluation.privacy._AT_ONCE", 110)
    parts = measured(baseline(train, held), others.take(slice(0, 300)))
    for name, statistic in whole.items():
        assert parts[name].value == pytest.approx(statistic.value, abs=1e-6)


def test_why_it_is_not_measured() -> None:
    train, held = people(300, 0), people(50, 1)
    assert unmeasured(reals(train, train)) is None
    assert "50 real samples of a part are too few" in (unmeasured(reals(train, held)) or "")
    assert "were not trained on" in (unmeasured(Reals(train, train, HALVES, "", ())) or "")
