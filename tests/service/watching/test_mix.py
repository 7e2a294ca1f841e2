"""Evidence on the mix of labels: quiet for as long as was promised, an alarm on another mix, state that goes on."""

from __future__ import annotations

import json
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from latentserve.service.watching.alarm import CALM
from latentserve.service.watching.mix import MixEvidence, mix_bets
from tests.conftest import examples

EVEN = np.full(10, 0.1)
SKEWED = np.array([0.9, 0.05, 0.03, 0.02])
THRESHOLD = 200.0
Floats = NDArray[np.float64]


def totals(rng: np.random.Generator, shares: Floats, blocks: int, rows: int) -> Floats:
    """Counters after each block, float64 [blocks, labels]."""
    return rng.multinomial(rows, shares, blocks).cumsum(axis=0).astype(np.float64)


def rows_until_alarm(watched: MixEvidence, counters: Floats) -> int | None:
    for now in counters:
        watched.observe(now)
        if watched.alarm is not None:
            return int(now.sum())
    return None


@pytest.mark.parametrize("shares", [EVEN, SKEWED, np.array([0.5, 0.5]), np.array([0.7, 0.3, 0.0])], ids=str)
def test_bets_have_a_mean_of_one_at_most(shares: Floats) -> None:
    own, other, masses = mix_bets(shares)
    assert own.shape == other.shape == (len(shares), 4)
    assert masses.sum() == pytest.approx(1)
    assert masses.min() > 0
    assert masses[:, None] * np.exp(own) + (1 - masses[:, None]) * np.exp(other) == pytest.approx(1)


def test_as_many_labels_as_are_allowed_take_memory_by_the_label() -> None:
    """One number for each pair of labels would be 34 GB."""
    labels = 65_536
    tracemalloc.start()
    watched = MixEvidence(np.full(labels, 1 / labels), 1e6)
    asked = np.random.default_rng(7).multinomial(200_000, np.full(labels, 1 / labels)).astype(np.float64)
    watched.observe(asked)
    assert watched.alarm is None
    asked = asked + 2000 * (np.arange(labels) == 7)
    watched.observe(asked)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert watched.alarm is not None
    assert watched.alarm.signal == 7
    assert peak < 1000 * labels


@pytest.mark.parametrize("rows", [1, 10])
@pytest.mark.parametrize("shares", [EVEN, SKEWED], ids=["even", "skewed"])
def test_the_run_length_is_the_promised(shares: Floats, rows: int) -> None:
    """100 clean streams up to a first alarm or 40 times the threshold: the mean is a lower bound on the run length."""
    rng = np.random.default_rng(1)
    most = 40 * int(THRESHOLD)
    lengths, alarms = [], 0
    for _ in range(100):
        length = rows_until_alarm(MixEvidence(shares, THRESHOLD), totals(rng, shares, most // rows, rows))
        alarms += length is not None
        lengths.append(most if length is None else length)
    assert np.mean(lengths) - 3 * np.std(lengths) / 10 >= THRESHOLD
    assert alarms > 0  # or the threshold is far from what it says


def test_long_clean_traffic_raises_nothing_at_a_real_threshold() -> None:
    watched = MixEvidence(EVEN, 1e10)
    assert rows_until_alarm(watched, totals(np.random.default_rng(2), EVEN, 2000, 500)) is None
    assert watched.log_value < math.log(1e10)


@pytest.mark.parametrize(
    ("shares", "asked"),
    [
        (EVEN, np.array([0.5, *[0.5 / 9] * 9])),
        (EVEN, np.array([0.2, *[0.8 / 9] * 9])),
        (EVEN, np.array([0.0, *[1 / 9] * 9])),
        (SKEWED, np.full(4, 0.25)),
        (np.array([0.5, 0.5]), np.array([1.0, 0.0])),
        (np.array([0.7, 0.3, 0.0]), np.array([0.0, 0.0, 1.0])),
    ],
    ids=str,
)
def test_another_mix_is_found_within_5000_rows(shares: Floats, asked: Floats) -> None:
    rng = np.random.default_rng(3)
    watched = MixEvidence(shares, 1e10)
    clean = totals(rng, shares, 100, 50)
    assert rows_until_alarm(watched, clean) is None
    found = rows_until_alarm(watched, clean[-1] + totals(rng, asked, 100, 50))
    assert found is not None
    assert watched.alarm is not None
    assert watched.alarm.rows == found
    assert 4000 <= watched.alarm.began <= 5500
    assert watched.log_value == -np.inf  # gathered anew


def test_the_alarm_names_the_label_whose_share_moved_most() -> None:
    asked = np.array([0.1] * 8 + [0.2, 0.0])
    asked[8] = 0.45
    asked[:8] = 0.55 / 8
    watched = MixEvidence(EVEN, 1e6)
    rows_until_alarm(watched, totals(np.random.default_rng(4), asked, 100, 50))
    assert watched.alarm is not None
    assert watched.alarm.signal == 8


def test_an_alarm_clears_once_the_mix_is_back() -> None:
    rng = np.random.default_rng(5)
    watched = MixEvidence(EVEN, 1e6)
    shifted = totals(rng, np.array([0.5, *[0.5 / 9] * 9]), 100, 20)
    assert rows_until_alarm(watched, shifted) is not None
    alarm = watched.alarm
    assert alarm is not None
    clears = alarm.rows + CALM * (alarm.rows - alarm.began)
    clean = shifted[alarm.rows // 20 - 1] + totals(rng, EVEN, 200, 20)
    for now in clean:
        watched.observe(now)
        assert (watched.alarm is not None) == (now.sum() < clears)


def test_a_falling_counter_is_only_noted() -> None:
    rng = np.random.default_rng(6)
    watched = MixEvidence(EVEN, 1e6)
    counters = totals(rng, EVEN, 20, 100)
    for now in counters:
        watched.observe(now)
    before = watched.log_value
    watched.observe(np.array([1e6, *[0.0] * 9]))  # one label grew, the others fell
    assert watched.log_value == before
    watched.observe(np.zeros(10))
    assert watched.log_value == before
    watched.observe(np.full(10, 10.0))
    assert watched.log_value != before
    assert watched.alarm is None


def test_no_rows_say_nothing() -> None:
    watched = MixEvidence(EVEN, 1e6)
    watched.observe(np.zeros(10))
    assert watched.log_value == -np.inf
    assert watched.alarm is None


@settings(max_examples=examples(25))
@given(
    seed=st.integers(0, 2**32 - 1),
    blocks=st.lists(st.integers(0, 200), min_size=1, max_size=8),
    stop=st.integers(0, 8),
    shifted=st.booleans(),
)
def test_a_saved_state_goes_on_as_if_nothing_had_been(seed: int, blocks: list[int], stop: int, shifted: bool) -> None:
    rng = np.random.default_rng(seed)
    asked = SKEWED[::-1] if shifted else SKEWED
    counters = np.cumsum([rng.multinomial(rows, asked) for rows in blocks], axis=0).astype(np.float64)
    whole, taken_on = MixEvidence(SKEWED, 1e4), MixEvidence(SKEWED, 1e4)
    for index, now in enumerate(counters):
        if index == stop:
            other = MixEvidence(SKEWED, 1e4)
            assert other.restore(taken_on.to_json())
            taken_on = other
        whole.observe(now)
        taken_on.observe(now)
    assert taken_on.alarm == whole.alarm
    assert taken_on.log_value == whole.log_value
    assert taken_on.to_json() == whole.to_json()


@pytest.mark.parametrize(
    "damage",
    ["", "{", "null", "[]", "{}", '{"log_m": [0]}'],
)
def test_a_damaged_state_changes_nothing(damage: str) -> None:
    watched = MixEvidence(EVEN, 1e6)
    watched.observe(np.full(10, 5.0))
    before = watched.to_json()
    assert not watched.restore(damage)
    assert not watched.restore(MixEvidence(SKEWED, 1e6).to_json())
    broken = json.loads(before)
    for field, value in (("rows", [1]), ("totals", [math.nan] * 10), ("alarm", {"rows": 1}), ("log_m", None)):
        assert not watched.restore(json.dumps({**broken, field: value}))
    assert watched.to_json() == before


@pytest.mark.parametrize(("share", "less"), [(0.0, True), (0.03, True), (0.3, False)])
def test_the_alarm_says_which_way(share: float, less: bool) -> None:
    asked = np.array([*[(1 - share) / 9] * 4, share, *[(1 - share) / 9] * 5])
    watched = MixEvidence(EVEN, 1e6)
    rows_until_alarm(watched, totals(np.random.default_rng(8), asked, 200, 50))
    assert watched.alarm is not None
    assert (watched.alarm.signal, watched.alarm.less) == (4, less)
