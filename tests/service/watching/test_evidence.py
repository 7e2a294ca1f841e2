"""Evidence: the promised run length, whatever the blocks; a drift is found, said once, renewed and taken back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from latentserve.service.watching.evidence import (
    DOUBT,
    Evidence,
    accumulate,
    bin_bets,
    log_mean,
    run_length,
    signal_tolerance,
    tolerance,
    tolerant,
)
from latentserve.service.watching.reference import BINS, Distribution
from tests.conftest import examples

ARMS, SIGNALS = 3, 4
UNIFORM = np.full(BINS, 1 / BINS)
Array = np.ndarray[Any, Any]


def moved(shift: float, spread: float = 1.0) -> Array:
    """The mass of each bin once a Gaussian signal has moved."""
    edges = stats.norm.ppf(np.arange(BINS + 1) / BINS)
    return np.diff(stats.norm.cdf(edges, shift, spread))


def draw(rng: np.random.Generator, rows: int, masses: Array = UNIFORM) -> Array:
    """One block: counts [ARMS, SIGNALS, BINS], of which the first stream has the given masses."""
    counts = rng.multinomial(rows, UNIFORM, (ARMS, SIGNALS))
    counts[0, 0] = rng.multinomial(rows, masses)
    return counts


def evidence(threshold: float = 1e4, reference_rows: int = 100_000) -> Evidence:
    return Evidence([reference_rows] * SIGNALS, ARMS, threshold)


def feed(watched: Evidence, rng: np.random.Generator, blocks: int, rows: int = 10, masses: Array = UNIFORM) -> bool:
    """Whether an alarm stood at the end of one of the blocks."""
    alarmed = False
    for _ in range(blocks):
        watched.update(draw(rng, rows, masses), np.full(ARMS, rows))
        alarmed |= watched.alarm is not None
    return alarmed


def test_bets_are_likelihood_ratios_of_the_reference() -> None:
    ratios, weights = bin_bets()
    assert np.allclose(ratios @ UNIFORM, 1)
    assert weights.sum() == pytest.approx(1)
    # Wherever the mass goes, some bet gains: also if all samples are one.
    assert (ratios.max(axis=0) > 1.02).all()


@pytest.mark.parametrize("reference_rows", [1, 40, 300, 20_000])
def test_within_the_tolerance_no_bet_has_a_mean_above_one(reference_rows: int) -> None:
    """The tolerance is a ball N KL(m | p) <= log(claims / DOUBT), and the safe bets are fair at its worst point."""
    ratios, _ = bin_bets()
    claims = 12 * len(ratios)
    safe = np.exp(tolerant(ratios, UNIFORM, reference_rows, claims))
    budget = np.log(claims / DOUBT) / reference_rows
    directions = np.random.default_rng(1).dirichlet(np.ones(BINS), 3000)
    directions = np.concatenate([directions, np.eye(BINS), ratios / BINS])
    low, high = np.zeros(len(directions)), np.ones(len(directions))
    for _ in range(50):  # as far from the middle in each direction as the ball goes
        middle = (low + high) / 2
        masses = UNIFORM + middle[:, None] * (directions - UNIFORM)
        with np.errstate(divide="ignore"):
            beyond = (UNIFORM * np.log(UNIFORM / masses)).sum(axis=1) > budget
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    means = (UNIFORM + low[:, None] * (directions - UNIFORM)) @ safe.T
    assert (means <= 1 + 1e-9).all()
    # Nor is more taken off than that: towards its own alternative each bet is nearly fair.
    assert (np.diag(means[-len(ratios) :]) > 1 - 0.3 * tolerance(reference_rows, claims)).all()


def test_the_tolerance_is_what_is_taken_off_every_bet() -> None:
    ratios, _ = bin_bets()
    rows, cells = np.array([100_000, 2_000_000, 20_000]), 4
    found = signal_tolerance(rows, cells)
    assert found == pytest.approx(np.sqrt(2 * np.log(len(ratios) * len(rows) * cells / DOUBT) / rows))
    taken = np.log(ratios) - Evidence(rows, ARMS, 1e4, cells)._bets
    deviation = ratios.std(axis=1, keepdims=True)  # all bins are equally likely
    assert np.allclose(taken, np.log1p(found[:, None, None] * deviation), rtol=0.05)
    assert tolerance(20_000, len(ratios) * len(rows) * cells) == found[2] == found.max()


@pytest.mark.parametrize("reference_rows", [40, 300, 20_000])
def test_references_beyond_the_tolerance_are_as_rare_as_said(reference_rows: int) -> None:
    ratios, _ = bin_bets()
    signals, models = 12, 4_000
    safe = np.exp(tolerant(ratios, UNIFORM, reference_rows, signals * len(ratios)))
    # The masses between the quantiles of a continuous sample.
    masses = np.random.default_rng(1).dirichlet(np.full(BINS, reference_rows / BINS), (models, signals))
    beyond = (masses @ safe.T > 1).any(axis=(1, 2)).mean()
    assert beyond <= DOUBT


def test_mean_evidence_never_exceeds_the_rows() -> None:
    """The promise itself: E[M] <= rows, for blocks of any size, at the edge of the tolerance."""
    ratios, weights = bin_bets()
    reference_rows, claims = 20_000, len(ratios)
    safe = tolerant(ratios, UNIFORM, reference_rows, claims)
    deviation = (ratios[0] - 1) / np.sqrt(((ratios[0] - 1) ** 2).mean())
    worst = UNIFORM * (1 + stats.norm.ppf(1 - DOUBT / claims) / np.sqrt(reference_rows) * deviation)
    rng = np.random.default_rng(1)
    streams, log_m, rows = 20_000, np.full((20_000, len(ratios)), -np.inf), 0
    for block in (1, 1, 5, 1, 20, 3, 1, 10):
        log_m = accumulate(log_m, np.log(block), rng.multinomial(block, worst, streams) @ safe.T)
        rows += block
        value = np.exp(log_mean(log_m, np.log(weights)))
        assert value.mean() <= rows + 3 * value.std() / np.sqrt(streams)
    assert value.mean() > 0.5 * rows


def test_run_length_is_at_least_the_promised() -> None:
    """Streams of PIT bins from references redrawn, stopped at five times the promise."""
    rng = np.random.default_rng(1)
    ratios, weights = bin_bets()
    threshold, streams, most = 300, 200, 1500
    safe = tolerant(ratios, UNIFORM, 20_000, len(ratios))
    bins = np.stack(
        [Distribution.of(rng.exponential(size=20_000)).bins(rng.exponential(size=most), rng) for _ in range(streams)]
    )
    log_m, stopped = np.full((streams, len(ratios)), -np.inf), np.full(streams, most)
    for row in range(most):
        log_m = accumulate(log_m, 0.0, safe.T[bins[:, row]])
        over = log_mean(log_m, np.log(weights)) >= np.log(threshold)
        stopped = np.where(over & (stopped == most), row + 1, stopped)
    alarms = int((stopped < most).sum())
    # The upper limit of an exponential's mean by its censored total; alarms are rarer than that at the start.
    assert 2 * stopped.sum() / stats.chi2.ppf(0.05, 2 * alarms + 2) >= threshold
    assert alarms > 20


@settings(max_examples=examples(30), deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    workers=st.integers(1, 5),
    blocks=st.lists(st.integers(0, 40), min_size=1, max_size=8),
)
def test_merged_increments_of_workers_are_one_stream(seed: int, workers: int, blocks: list[int]) -> None:
    rng = np.random.default_rng(seed)
    one, merged = evidence(), evidence()
    totals, rows_total = np.zeros((workers, ARMS, SIGNALS, BINS), np.int64), np.zeros((workers, ARMS), np.int64)
    for rows in blocks:
        parts = np.stack([draw(rng, rows) for _ in range(workers)])
        one.update(parts.sum(axis=0), np.full(ARMS, rows * workers))
        totals += parts
        rows_total += rows
        merged.observe(totals.sum(axis=0), rows_total.sum(axis=0))
    assert np.array_equal(one.per_stream(), merged.per_stream())
    assert one.rows == merged.rows == ARMS * workers * sum(blocks)


@settings(max_examples=examples(30), deadline=None)
@given(seed=st.integers(0, 2**32 - 1), before=st.integers(0, 20), shift=st.sampled_from([0.0, 2.0]))
def test_the_state_survives_a_restart(seed: int, before: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    kept = evidence(100)
    feed(kept, rng, before, masses=moved(shift))
    restored = evidence(100)
    assert restored.restore(kept.to_json())
    assert restored.alarm == kept.alarm
    for _ in range(5):
        counts = draw(rng, 10, moved(shift))
        for watched in (kept, restored):
            watched.observe(counts, np.full(ARMS, 10))
    assert np.array_equal(kept.per_stream(), restored.per_stream())
    assert kept.alarm == restored.alarm
    assert kept.to_json() == restored.to_json()


def test_a_damaged_or_foreign_state_is_refused_whole() -> None:
    other = evidence()
    feed(other, np.random.default_rng(1), 3)
    good = other.to_json()
    damaged = json.loads(good)
    damaged["log_m"][0][0][0] = float("nan")
    short = json.loads(good)
    short["totals"] = short["totals"][:1]
    wrong = [json.dumps(damaged), json.dumps(short), "", "[]", "null", "{}", good[:-20], good.replace('"rows"', '"r"')]
    for text in wrong:
        fresh = evidence()
        assert not fresh.restore(text)
        assert fresh.to_json() == evidence().to_json()
    assert not evidence(reference_rows=50_000).restore(good)
    assert evidence(threshold=1e6).restore(good)


def test_a_counter_that_starts_again_counts_from_there() -> None:
    rng = np.random.default_rng(1)
    watched, expected = evidence(), evidence()
    first, after, last = draw(rng, 500), draw(rng, 20), draw(rng, 30)
    rows = np.full(ARMS, 500)
    watched.observe(first, rows)
    expected.update(first, rows)
    watched.observe(after, np.full(ARMS, 20))  # fell: noted only
    watched.observe(after + last, np.full(ARMS, 50))
    expected.update(last, np.full(ARMS, 30))
    assert np.array_equal(watched.per_stream(), expected.per_stream())


def test_what_is_not_finite_or_empty_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    watched = evidence()
    assert watched.log_value == -np.inf
    watched.update(np.zeros((ARMS, SIGNALS, BINS), np.int64), np.zeros(ARMS, np.int64))
    assert watched.log_value == -np.inf
    totals = draw(rng, 100).astype(float)
    watched.observe(totals, np.full(ARMS, 100.0))
    before = watched.per_stream()
    totals[0, 0, 0] = np.nan
    watched.observe(totals, np.array([101.0, np.inf, 100.0]))
    assert np.array_equal(watched.per_stream(), before)
    assert watched.rows == 300
    with pytest.raises(ValueError, match="negative"):
        watched.update(-draw(rng, 1), np.full(ARMS, 1))


def test_a_signal_that_saw_nothing_keeps_its_evidence() -> None:
    watched = evidence()
    counts = draw(np.random.default_rng(1), 10)
    watched.update(counts, np.full(ARMS, 10))
    before = watched.per_stream()
    counts[:, 1:] = 0
    watched.update(counts, np.full(ARMS, 10))
    assert np.array_equal(watched.per_stream()[:, 1:], before[:, 1:])
    assert (watched.per_stream()[:, 0] != before[:, 0]).all()


@pytest.mark.parametrize("masses", [moved(0.5), moved(0.0, 1.5), moved(0.0, 0.6), np.eye(BINS)[7]])
def test_a_drift_is_found_and_dated(masses: Array) -> None:
    rng = np.random.default_rng(1)
    watched = evidence(1e6)
    assert not feed(watched, rng, 100)
    blocks = 0
    while watched.alarm is None:
        feed(watched, rng, 1, masses=masses)
        blocks += 1
        assert blocks < 40
    alarm = watched.alarm
    assert (alarm.arm, alarm.signal, alarm.again) == (0, 0, 0)
    assert alarm.rows == watched.rows == 30 * (100 + blocks)
    assert 30 * 85 <= alarm.began <= 30 * 120
    assert watched.log_value == -np.inf  # it starts again from nothing


def test_an_alarm_stands_while_the_drift_does_and_then_clears() -> None:
    rng = np.random.default_rng(1)
    watched = evidence(1e6)
    feed(watched, rng, 100)
    feed(watched, rng, 40, masses=moved(0.5))
    raised = watched.alarm
    assert raised is not None
    for _ in range(300):
        feed(watched, rng, 1, masses=moved(0.5))
        assert watched.alarm is not None
    last = watched.alarm
    assert last is not None
    assert last.again > 3
    while watched.alarm is not None:
        feed(watched, rng, 1)
        assert watched.rows <= last.clears + 30
    assert watched.rows >= last.clears


def test_an_error_of_the_reference_within_the_tolerance_never_alarms() -> None:
    """Enough rows see a small reference's own error as clearly as a drift; the tolerance tells them apart."""
    rng = np.random.default_rng(1)
    reference_rows = 500
    masses = moved(3 / np.sqrt(reference_rows))  # three standard errors of the reference's mean
    watched = evidence(1e12, reference_rows)
    naive, weights = bin_bets()
    log_m = np.full((ARMS, SIGNALS, len(weights)), -np.inf)
    for _ in range(1000):
        counts = rng.multinomial(100, masses, (ARMS, SIGNALS))
        watched.update(counts, np.full(ARMS, 100))
        assert watched.alarm is None
        log_m = accumulate(log_m, np.log(100), counts @ np.log(naive).T)
    assert log_mean(log_m, np.log(weights)).max() > np.log(1e12)


def test_the_threshold_is_rows_in_thirty_days() -> None:
    assert run_length(100) == 100 * 86_400 * 30
    assert run_length(100, days=1, detectors=2) == 2 * 100 * 86_400


@pytest.mark.parametrize(("rows", "threshold"), [([], 10.0), ([0], 10.0), ([10], 0.5), ([10], float("nan"))])
def test_a_reference_or_threshold_of_nothing_is_refused(rows: list[int], threshold: float) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Evidence(rows, 1, threshold)
