"""Bins of conditions hold what their priors give them; a mix that moved is named, with where and which way."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from latentserve.service.bundle import Condition, Latent
from latentserve.service.sampling.latents import condition_at, condition_probability, draw_conditions
from latentserve.service.watching.conditions import (
    CONDITION_BINS,
    ConditionBins,
    ConditionEvidence,
    condition_bins,
)

ROWS = 400_000
ENERGY = Condition(name="energy", unit="GeV", range=(1, 100), prior="log-uniform")
ANGLE = Condition(name="angle", range=(-45, 45))
PRIORS = [
    ENERGY,
    ANGLE,
    Condition(name="size", range=(0, 3), prior="normal"),
    Condition(name="age", range=(0, 9), prior="quantiles", quantiles=[0, 1, 1, 1, 1.5, 4, 8, 8, 9]),
    Condition(name="count", range=(1, 3), prior="quantiles", quantiles=[*[1] * 40, *[2] * 40, *[3] * 40]),
    # Few float32 numbers, and values that are none.
    Condition(name="coarse", range=(1e6, 1e6 + 1)),
    Condition(name="tenths", range=(0.1, 0.7), prior="quantiles", quantiles=[0.1, 0.1, 0.3, 0.3, 0.3, 0.7, 0.7]),
    Condition(name="one", range=(16777216, 16777217)),
]
IDS = [one.name for one in PRIORS]


def drawn(*conditions: Condition, rows: int = ROWS, seed: int = 3) -> NDArray[np.float32]:
    return draw_conditions(Latent(dim=4), conditions, seed, 0, rows)


@pytest.mark.parametrize("condition", PRIORS, ids=IDS)
def test_a_bin_is_as_likely_as_it_says(condition: Condition) -> None:
    bins = ConditionBins(condition)
    assert bins.masses.sum() == pytest.approx(1)
    assert 1 <= len(bins) <= CONDITION_BINS
    assert (bins.masses > 0).all()
    found = np.bincount(bins.of(drawn(condition)[:, 0]), minlength=len(bins)) / ROWS
    assert np.abs(found - bins.masses).max() < 5 / np.sqrt(ROWS)


@pytest.mark.parametrize("condition", PRIORS[:3], ids=IDS[:3])
def test_of_a_smooth_prior_all_bins_are_alike(condition: Condition) -> None:
    bins = ConditionBins(condition)
    assert bins.masses == pytest.approx(np.full(CONDITION_BINS, 1 / CONDITION_BINS), abs=1e-6)
    assert bins.edges[[0, -1]] == pytest.approx(condition.range)
    ends = np.array([bins.edges[0], *bins.edges[1:-1], bins.edges[-1]])
    assert bins.of(ends).tolist() == [*range(CONDITION_BINS), CONDITION_BINS - 1]
    beyond = np.array([condition.range[0] - 1, condition.range[1] + 1], np.float32)
    assert bins.of(beyond).tolist() == [0, CONDITION_BINS - 1]


@given(u=st.lists(st.floats(0, 1), min_size=1, max_size=20), which=st.integers(0, 3))
def test_probability_is_the_inverse_of_the_value(u: list[float], which: int) -> None:
    condition = PRIORS[which]
    values = condition_at(condition, np.sort(u)).astype(np.float64)
    below, above = (
        condition_probability(condition, np.nextafter(values.astype(np.float32), np.float32(side)).astype(np.float64))
        for side in (-np.inf, np.inf)
    )
    assert (below <= np.sort(u) + 1e-6).all()
    assert (above >= np.sort(u) - 1e-6).all()
    assert ((below >= 0) & (above <= 1)).all()


def test_names_say_from_where_to_where() -> None:
    assert ConditionBins(ENERGY).names[:2] == ["1 to 1.585", "1.585 to 2.512"]
    assert len(set(ConditionBins(PRIORS[5]).names)) == len(ConditionBins(PRIORS[5]))
    assert condition_bins(None) == []


def counts(rng: np.random.Generator, bins: list[ConditionBins], rows: int, *masses: NDArray[np.float64]) -> NDArray:
    """What `rows` rows add, of other masses where they are given."""
    found = np.zeros((len(bins), CONDITION_BINS))
    for own, one, of in zip(found, bins, masses or [one.masses for one in bins], strict=True):
        own[: len(one)] = rng.multinomial(rows, of)
    return found


def test_a_mix_that_moved_is_named_with_where_and_which_way() -> None:
    bins = condition_bins([ENERGY, ANGLE])
    even = np.full(CONDITION_BINS, 0.1)
    more, less = (np.full(CONDITION_BINS, (1 - share) / 9) for share in (0.4, 0.001))
    more[3], less[9] = 0.4, 0.001
    for masses, told in (
        ((more, even), "energy of 3.981 to 6.31 GeV more often"),
        ((even, more), "angle of -18 to -9 more often"),
        ((even, less), "angle of 36 to 45 less often"),
    ):
        rng = np.random.default_rng(1)
        evidence = ConditionEvidence(bins, 1e10)
        total = np.zeros((2, CONDITION_BINS))
        for _ in range(50):
            total += counts(rng, bins, 50)
            evidence.observe(total)
        assert evidence.alarm is None
        for _ in range(300):
            total += counts(rng, bins, 50, *masses)
            evidence.observe(total)
        alarm = evidence.alarm
        assert alarm is not None
        assert evidence.names[alarm.signal] == told
        assert 2000 <= alarm.began <= 3500


@pytest.mark.parametrize("rows", [5, 50])
def test_all_conditions_together_keep_the_promise(rows: int) -> None:
    """A mean run length of the threshold at the least, with five conditions, whose priors give what is asked for."""
    bins = condition_bins(PRIORS[:5])
    rng = np.random.default_rng(2)
    threshold, most, lengths = 200, 4000, []
    for _ in range(40):
        evidence, total, length = ConditionEvidence(bins, threshold), np.zeros((5, CONDITION_BINS)), most
        for step in range(most // rows):
            total += counts(rng, bins, rows)
            evidence.observe(total)
            if evidence.alarm is not None:
                length = (step + 1) * rows
                break
        lengths.append(length)
    assert np.mean(lengths) - 3 * np.std(lengths) / np.sqrt(len(lengths)) >= threshold


def test_a_saved_state_goes_on_as_if_nothing_had_been() -> None:
    bins = condition_bins([*PRIORS])
    rng = np.random.default_rng(4)
    whole, taken_on = ConditionEvidence(bins, 1e4), ConditionEvidence(bins, 1e4)
    skewed = [np.arange(1, len(one) + 1) / np.arange(1, len(one) + 1).sum() for one in bins]
    total = np.zeros((len(bins), CONDITION_BINS))
    for _ in range(20):
        other = ConditionEvidence(bins, 1e4)
        assert other.restore(taken_on.to_json())
        taken_on = other
        total += counts(rng, bins, 40, *skewed)
        whole.observe(total)
        taken_on.observe(total)
    assert whole.alarm == taken_on.alarm is not None
    assert whole.log_value == taken_on.log_value
    assert whole.to_json() == taken_on.to_json()
    for damage in ("", "{", "[]", "null", json.dumps(["{}"] * len(bins)), ConditionEvidence(bins[:2], 1.0).to_json()):
        assert not taken_on.restore(damage)


def test_a_condition_of_one_value_says_nothing() -> None:
    (one,) = bins = condition_bins([PRIORS[-1]])
    evidence = ConditionEvidence(bins, 1e4)
    evidence.observe(np.full((1, CONDITION_BINS), 1e6))
    assert (evidence.alarm, evidence.log_value) == (None, -math.inf) or len(one) > 1
    assert list(pairwise(one.edges))
