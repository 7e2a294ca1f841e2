"""The detectors: counts of any workers weigh what one worker's would; each kind of drift tips its own detector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentserve.service.bundle import Manifest, read_bundle
from latentserve.service.sampling.request import ARMS
from latentserve.service.watching.detectors import (
    ASKED,
    DETECTORS,
    GENERATED,
    JOINT,
    LABELS,
    LATENTS,
    Detectors,
    layout,
)
from latentserve.service.watching.inputs import INPUTS
from latentserve.service.watching.ledger import Counts
from latentserve.service.watching.reference import BINS, Reference
from latentserve.service.watching.signals import signal_names
from tests.conftest import examples

SERVER, CLIENT = ARMS.index("server"), ARMS.index("client")
RATE = 0.01  # rows a second: a threshold that short streams can reach
LOW = 0.15 / BINS  # of the lower half of the bins, for a signal that moved up

Known = tuple[Manifest, Reference]


@pytest.fixture(scope="module")
def known(bundle: Path) -> Known:
    read = read_bundle(bundle)
    assert read.reference is not None
    names = signal_names(read.manifest.sample, has_critic=True)
    return read.manifest, Reference.from_bytes(read.reference, names)


def block(known: Known, rng: np.random.Generator, rows: int, *drifts: str) -> Counts:
    """What `rows` rows of each arm add, with drifts in the detectors named."""
    manifest, reference = known
    even = np.full(BINS, 1 / BINS)
    moved = np.where(np.arange(BINS) < BINS // 2, LOW, 2 / BINS - LOW)
    counts: dict[str, Any] = {name: np.zeros(shape) for name, shape in layout(manifest, reference).items()}
    counts["rows"] += rows
    counts["compared"] += rows
    counts["bins"] += rng.multinomial(rows, even, counts["bins"].shape[:2])
    for name, arm in ((GENERATED, SERVER), (ASKED, CLIENT)):
        if name in drifts:
            counts["bins"][arm, 0] = rng.multinomial(rows, moved)
    counts["sent"] += rows
    counts["inputs"] += rng.multinomial(rows, moved if LATENTS in drifts else even, len(INPUTS))
    labels = len(manifest.labels or ())
    favoured = np.array([0.5, *[0.5 / (labels - 1)] * (labels - 1)])
    counts["labels"] += rng.multinomial(2 * rows, favoured if LABELS in drifts else np.full(labels, 1 / labels))
    return counts


def added(*parts: Counts) -> Counts:
    return {name: np.sum([part[name] for part in parts], axis=0) for name in parts[0]}


def nothing(known: Known) -> Counts:
    return {name: np.zeros(shape) for name, shape in layout(*known).items()}


def suspects(detectors: Detectors) -> set[str]:
    return {name for name in DETECTORS if detectors.suspicion(name) is not None}


@settings(max_examples=examples(20))
@given(
    seed=st.integers(0, 2**32 - 1),
    rounds=st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=4), min_size=1, max_size=6),
    drifts=st.sets(st.sampled_from([GENERATED, ASKED, LATENTS, LABELS])),
)
def test_any_split_over_workers_is_one_worker(
    known: Known, seed: int, rounds: list[list[int]], drifts: set[str]
) -> None:
    """Exactly: what is added up are whole numbers, before anything is weighed."""
    rng = np.random.default_rng(seed)
    one, fleet = Detectors(*known, RATE), Detectors(*known, RATE)
    workers = [nothing(known) for _ in range(4)]
    alone = nothing(known)
    for rows in rounds:
        for worker, n in enumerate(rows):
            new = block(known, rng, n, *drifts)
            workers[worker] = added(workers[worker], new)
            alone = added(alone, new)
        fleet.weigh(added(*reversed(workers)))
        one.weigh(alone)
    assert fleet.to_json() == one.to_json()
    assert fleet.log_evidence() == one.log_evidence()


@pytest.mark.parametrize("drifts", [(), (GENERATED, ASKED, LATENTS, LABELS)], ids=["clean", "drift"])
def test_other_rounds_move_the_starts_only(known: Known, drifts: tuple[str, ...]) -> None:
    """Not exactly: a start counts from the beginning of its block. M of coarse rounds is off by no more than what the
    rows of one round can add."""
    rng = np.random.default_rng(1)
    fine, coarse = Detectors(*known, 1e9), Detectors(*known, 1e9)
    total, most = nothing(known), 0.0
    before = fine.log_evidence()
    for step in range(1, 201):
        total = added(total, block(known, rng, 1, *drifts))
        fine.weigh(total)
        if step % 4:
            continue
        coarse.weigh(total)
        now = fine.log_evidence()
        most = max(most, *(abs(now[name] - before[name]) for name in now))
        before = now
    for name, value in fine.log_evidence().items():
        assert coarse.log_evidence()[name] == pytest.approx(value, abs=most + 1e-3)


@pytest.mark.parametrize("drift", [GENERATED, ASKED, LATENTS, LABELS])
def test_a_drift_tips_its_own_detector(known: Known, drift: str) -> None:
    rng = np.random.default_rng(2)
    detectors = Detectors(*known, RATE)
    total = nothing(known)
    for _ in range(20):
        total = added(total, block(known, rng, 50))
        detectors.weigh(total)
    assert suspects(detectors) == set()
    assert max(detectors.log_evidence().values()) < detectors.log_threshold
    for _ in range(40):
        total = added(total, block(known, rng, 50, drift))
        detectors.weigh(total)
    assert suspects(detectors) == {drift}
    found = detectors.suspicion(drift)
    assert found is not None
    manifest, reference = known
    expected = {
        GENERATED: ("server", next(iter(reference.signals))),
        ASKED: ("client", next(iter(reference.signals))),
        LATENTS: ("", found.signal),  # both moved
        LABELS: ("", (manifest.labels or [""])[0]),
    }
    assert (found.arm, found.signal) == expected[drift]
    assert found.began < found.rows


@settings(max_examples=10)
@given(stop=st.integers(0, 30), drifts=st.sets(st.sampled_from([GENERATED, ASKED, LATENTS, LABELS]), min_size=1))
def test_saved_scales_go_on_as_if_nothing_had_been(known: Known, stop: int, drifts: set[str]) -> None:
    rng = np.random.default_rng(3)
    whole, taken_on = Detectors(*known, RATE), Detectors(*known, RATE)
    total = nothing(known)
    for step in range(30):
        if step == stop:
            other = Detectors(*known, RATE)
            assert other.restore(taken_on.to_json())
            taken_on = other
        total = added(total, block(known, rng, 30, *drifts))
        whole.weigh(total)
        taken_on.weigh(total)
    assert taken_on.to_json() == whole.to_json()
    assert suspects(taken_on) == suspects(whole)


def test_an_alarm_of_the_features_is_taken_on_too(known: Known) -> None:
    """Right after it was raised there is no evidence to save."""
    rng = np.random.default_rng(6)
    joint = known[1].joint
    assert joint is not None
    detectors, other = Detectors(*known, RATE), Detectors(*known, RATE)
    total = nothing(known)
    while detectors.suspicion(JOINT) is None:
        total = added(total, block(known, rng, 50))
        moved = 1 + rng.normal(size=(50, joint.size))
        total["joint"][SERVER] += joint.vectors(moved, np.zeros(50, np.int64), rng).sum(axis=0)
        total["joint_rows"][SERVER] += 50
        detectors.weigh(total)
        assert total["joint_rows"][SERVER] < 5000
    assert other.restore(detectors.to_json())
    assert other.suspicion(JOINT) == detectors.suspicion(JOINT)


def test_a_part_that_does_not_fit_begins_anew(known: Known) -> None:
    rng = np.random.default_rng(4)
    detectors = Detectors(*known, RATE)
    total = nothing(known)
    for _ in range(20):
        total = added(total, block(known, rng, 50, GENERATED, LABELS))
        detectors.weigh(total)
    saved = json.loads(detectors.to_json())
    saved[LABELS] = "nonsense"
    other = Detectors(*known, RATE)
    assert not other.restore(json.dumps(saved))
    assert suspects(other) == {GENERATED}
    for text in ("", "{", "[]", "null", "3"):
        assert not Detectors(*known, RATE).restore(text)


def test_counters_that_begin_again_are_no_drift(known: Known) -> None:
    rng = np.random.default_rng(5)
    detectors = Detectors(*known, RATE)
    for _ in range(10):
        total = block(known, rng, 3)
        for _ in range(10):
            detectors.weigh(total)
            total = added(total, block(known, rng, 50))
    assert suspects(detectors) == set()
    assert max(detectors.log_evidence().values()) > 0


def test_without_reference_and_labels_latents_are_left(plain_bundle: Path) -> None:
    manifest = read_bundle(plain_bundle).manifest
    known = manifest, Reference(0, {})
    detectors = Detectors(*known, RATE)
    detectors.weigh(nothing(known))
    assert set(detectors.log_evidence()) == {LATENTS}
    assert detectors.restore(detectors.to_json())
    assert all(detectors.suspicion(name) is None for name in DETECTORS)
