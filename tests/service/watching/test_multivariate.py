"""Joint evidence: sums of any workers; drifts of mean, spread and modes; quiet while only the mix of cells moves."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentserve.service.watching.feature_space import FeatureSpace
from latentserve.service.watching.features import FeatureHead
from latentserve.service.watching.joint_head import CLUSTERS, JointHead
from latentserve.service.watching.multivariate import JointEvidence, MultivariateEvidence
from latentserve.service.watching.reference import BINS

ARMS, MODES, SIZE = 3, 10, 16
Array = np.ndarray[Any, Any]

_CENTRES = 4 * np.random.default_rng(0).normal(size=(MODES, SIZE)) * (np.arange(SIZE) < 4)


def features(rng: np.random.Generator, rows: int, modes: int = MODES) -> Array:
    """White components of a generator with modes and tails."""
    raw = _CENTRES[rng.integers(0, modes, rows)] + rng.standard_t(6, (rows, SIZE)) * np.sqrt(4 / 6)
    spread = np.sqrt(_CENTRES.var(axis=0) + 1)
    return (raw - _CENTRES.mean(axis=0)) / spread


def cell(rows: int) -> Array:
    return np.zeros(rows, np.int64)


@pytest.fixture(scope="module")
def head() -> JointHead:
    reference = features(np.random.default_rng(1), 100_000)
    return JointHead.of(reference, cell(len(reference)), 1)


def block(head: JointHead, rng: np.random.Generator, rows: int, **drift: Any) -> Array:
    """The sums of each arm."""
    moved = drift.pop("shift", 0.0), drift.pop("spread", 1.0)
    made = features(rng, ARMS * rows, **drift) * moved[1] + moved[0]
    return head.vectors(made, cell(len(made)), rng).reshape(ARMS, rows, head.width).sum(axis=1)


def test_vectors_are_centred_white_and_bounded(head: JointHead) -> None:
    rng = np.random.default_rng(2)
    vectors = head.vectors(features(rng, 50_000), cell(50_000), rng)
    assert vectors.shape == (50_000, head.width) == (50_000, SIZE + BINS + CLUSTERS)
    white = vectors[:, :SIZE]
    assert np.abs(white.mean(axis=0)).max() < 0.03
    assert np.abs(np.cov(white.T) - np.eye(SIZE)).max() < 0.05
    assert np.square(white).sum(axis=1).var() < 2.2 * SIZE  # clipping took the tails
    assert np.abs(vectors[:, SIZE : SIZE + BINS].mean(axis=0) - 1 / BINS).max() < 0.01
    assert np.array_equal(vectors[:, SIZE + BINS :].sum(axis=1), np.ones(50_000))
    wild = features(rng, 5)
    wild[1, 3], wild[2] = np.inf, 1e12
    vectors = head.vectors(wild, cell(5), rng)
    assert np.isnan(vectors[1]).all()
    assert np.isfinite(np.delete(vectors, 1, axis=0)).all()
    assert np.abs(vectors[2]).max() < 20


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), workers=st.integers(1, 4), blocks=st.lists(st.integers(0, 20), max_size=6))
def test_merged_sums_of_workers_are_one_stream(head: JointHead, seed: int, workers: int, blocks: list[int]) -> None:
    rng = np.random.default_rng(seed)
    one, merged = MultivariateEvidence(head, ARMS, 1e6), MultivariateEvidence(head, ARMS, 1e6)
    for rows in blocks:
        parts = [block(head, rng, rows) for _ in range(workers)]
        one.update(np.sum(parts, axis=0), np.full(ARMS, rows * workers))
        merged.update(sum(parts[1:], parts[0]), np.full(ARMS, rows * workers))
    assert merged.log_value == pytest.approx(one.log_value, abs=1e-6)
    assert one.rows == ARMS * workers * sum(blocks)


def test_mean_evidence_does_not_exceed_the_rows(head: JointHead) -> None:
    rng = np.random.default_rng(3)
    streams, rows = 2000, 0
    joint = JointEvidence(head, streams)
    for size in (1, 3, 1, 10, 2, 15):
        made = features(rng, streams * size)
        sums = head.vectors(made, cell(len(made)), rng).reshape(streams, size, -1).sum(axis=1)
        value = np.exp(joint.update(sums, np.full(streams, size)))
        rows += size
        assert value.mean() <= rows + 3 * value.std() / np.sqrt(streams)


def test_run_length_is_at_least_the_promised(head: JointHead) -> None:
    rng = np.random.default_rng(4)
    streams, most, threshold = 50, 400, 100
    made = features(rng, streams * most)
    vectors = head.vectors(made, cell(len(made)), rng).reshape(streams, most, -1)
    joint, stopped = JointEvidence(head, streams), np.full(streams, most)
    for row in range(most):
        over = joint.update(vectors[:, row], np.ones(streams, np.int64)) >= np.log(threshold)
        stopped = np.where(over & (stopped == most), row + 1, stopped)
    alarms = int((stopped < most).sum())
    assert alarms > 5
    assert stopped.sum() / alarms >= threshold


@pytest.mark.parametrize("drift", [{"shift": 0.3}, {"spread": 1.2}, {"modes": 9}, {"modes": 5}, {"spread": 0.7}])
def test_drifts_are_found_and_dated(head: JointHead, drift: dict[str, Any]) -> None:
    rng = np.random.default_rng(5)
    watched = MultivariateEvidence(head, ARMS, 1e5)
    for _ in range(60):
        watched.update(block(head, rng, 5), np.full(ARMS, 5))
        assert watched.alarm is None
    before = watched.rows
    while watched.alarm is None:
        watched.update(block(head, rng, 5, **drift), np.full(ARMS, 5))
        assert watched.rows < before + 1500
    assert before - 600 <= watched.alarm.began < watched.alarm.rows
    assert watched.log_value == -np.inf


def test_an_alarm_clears_once_the_drift_is_gone(head: JointHead) -> None:
    rng = np.random.default_rng(6)
    watched = MultivariateEvidence(head, ARMS, 1e4)
    for _ in range(100):
        watched.update(block(head, rng, 5, shift=0.5), np.full(ARMS, 5))
    last = watched.alarm
    assert last is not None
    assert last.again > 3
    while watched.alarm is not None:
        watched.update(block(head, rng, 5), np.full(ARMS, 5))
        assert watched.rows < last.clears + 30


def test_another_mix_of_cells_is_no_drift() -> None:
    """Cells of other spreads and tails: each row is judged by its own."""
    rng = np.random.default_rng(7)

    def rows(cells: Array) -> Array:
        return np.where((cells == 0)[:, None], rng.normal(size=(len(cells), 8)), rng.laplace(0, 0.7, (len(cells), 8)))

    cells = rng.integers(0, 2, 40_000)
    head = JointHead.of(rows(cells), cells, 2)
    assert head.width == 8 + BINS
    watched = MultivariateEvidence(head, 1, 1e5)
    for share in (0.5, 0.0, 1.0):
        for _ in range(200):
            cells = (rng.random(20) < share).astype(np.int64)
            watched.update(head.vectors(rows(cells), cells, rng).sum(axis=0)[None], np.array([20]))
            assert watched.alarm is None


def test_the_state_survives_a_restart(head: JointHead) -> None:
    rng = np.random.default_rng(8)
    kept, restored = MultivariateEvidence(head, ARMS, 1e4), MultivariateEvidence(head, ARMS, 1e4)
    for _ in range(40):
        kept.update(block(head, rng, 5, shift=0.2), np.array([5, 5, 0]))
    assert restored.restore(kept.to_json())
    for _ in range(10):
        sums = block(head, rng, 5)
        for watched in (kept, restored):
            watched.update(sums, np.full(ARMS, 5))
    assert kept.to_json() == restored.to_json()
    assert kept.log_value == restored.log_value
    damaged = json.loads(kept.to_json())
    damaged["sums"][0].pop()
    for text in ("", "{}", "[]", json.dumps(damaged), kept.to_json()[:-9]):
        fresh = MultivariateEvidence(head, ARMS, 1e4)
        assert not fresh.restore(text)
        assert fresh.to_json() == MultivariateEvidence(head, ARMS, 1e4).to_json()


def test_sums_that_grow_are_their_increments(head: JointHead) -> None:
    rng = np.random.default_rng(11)
    told, seen = MultivariateEvidence(head, ARMS, 1e6), MultivariateEvidence(head, ARMS, 1e6)
    sums, rows = np.zeros((ARMS, head.width)), np.zeros(ARMS)
    for _ in range(20):
        new = block(head, rng, 5)
        sums, rows = sums + new, rows + 5
        told.update(new, np.full(ARMS, 5))
        seen.observe(sums, rows)
    assert seen.log_value == pytest.approx(told.log_value, abs=1e-6)
    again = MultivariateEvidence(head, ARMS, 1e6)
    assert again.restore(seen.to_json())
    again.observe(sums, rows)  # nothing is counted twice
    assert again.rows == seen.rows == 20 * 5 * ARMS
    again.observe(sums * 0, rows * 0)  # counters that began again are only noted
    assert again.rows == seen.rows
    again.observe(block(head, rng, 5), np.full(ARMS, 5))
    assert again.rows == seen.rows + 5 * ARMS


def test_rows_of_other_cells_are_no_evidence_on_clusters() -> None:
    rng = np.random.default_rng(12)
    cells = rng.integers(0, 2, 20_000)
    reference = np.where((cells == 0)[:, None], features(rng, 20_000), 0.5 * features(rng, 20_000))
    head = JointHead.of(reference, cells, 2, 1)
    assert len(head.centroids) == CLUSTERS
    vectors = head.vectors(reference, cells, rng)
    assert np.array_equal(vectors[:, SIZE + BINS :].sum(axis=1), (cells == 0).astype(float))


def test_what_is_not_finite_or_empty_changes_nothing(head: JointHead) -> None:
    watched = MultivariateEvidence(head, ARMS, 1e4)
    watched.update(np.full((ARMS, head.width), np.nan), np.full(ARMS, 5))
    watched.update(np.zeros((ARMS, head.width)), np.zeros(ARMS, np.int64))
    assert watched.rows == 0
    assert watched.log_value == -np.inf
    with pytest.raises(ValueError, match="1 row"):
        MultivariateEvidence(head, ARMS, 0.0)


@pytest.mark.parametrize("different", [1, 3])
def test_features_that_hardly_vary_are_watched_too(different: int) -> None:
    rng = np.random.default_rng(9)
    same = np.repeat(rng.normal(size=(different, 4)), 2000, axis=0)
    head = JointHead.of(same, cell(len(same)), 1)
    assert head.shares.sum() == pytest.approx(1)
    watched = MultivariateEvidence(head, 1, 1e4)
    for _ in range(50):
        watched.update(head.vectors(rng.permutation(same)[:20], cell(20), rng).sum(axis=0)[None], np.array([20]))
        assert watched.alarm is None


@pytest.mark.parametrize("reference_rows", [40, 300, 3000])
def test_a_small_references_own_error_is_no_drift(reference_rows: int) -> None:
    """Axes, means, norms and clusters of few rows, fitted as a bundle's are; rows to come are judged for long."""
    worst = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        mix = rng.normal(size=(40, 40)) * np.geomspace(1, 0.01, 40)

        def rows(count: int, rng: np.random.Generator = rng, mix: Array = mix) -> Array:
            return np.asarray(np.maximum(rng.normal(size=(count, 40)), -0.5) @ mix.T, np.float32)

        known = rows(reference_rows)
        features = FeatureHead.of(FeatureSpace("critic", 0), known, cell(len(known)), 1, 1)
        head = JointHead.of(features.components(known, cell(len(known))), cell(len(known)), 1)
        watched = MultivariateEvidence(head, 1, 1e10)
        for _ in range(40):
            made = features.components(rows(1000), cell(1000))
            watched.update(head.vectors(made, cell(1000), rng).sum(axis=0)[None], np.array([1000]))
            assert watched.alarm is None
        worst.append(watched.log_value)
    assert max(worst) < np.log(40_000) + 2


def test_a_head_of_an_older_release_counts_on_its_mean_alone_where_it_is_small(head: JointHead) -> None:
    """It was measured on the rows that it was fitted to: norms of rows to come are longer."""
    arrays = head.to_arrays()
    del arrays["apart"]
    large = JointHead.from_arrays(arrays, 1, SIZE)
    small = JointHead.from_arrays({**arrays, "rows": np.int64(3000)}, 1, SIZE)
    assert (head.measured, large.measured, small.measured) == (True, True, False)
    rng = np.random.default_rng(13)
    for old, found in ((large, True), (small, False)):
        watched = MultivariateEvidence(old, ARMS, 1e5)
        for _ in range(100):
            watched.update(block(old, rng, 5, spread=0.7), np.full(ARMS, 5))
        assert (watched.alarm is not None) == found
