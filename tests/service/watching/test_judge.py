"""The judge: one of several weighs, all say the same, and another goes on where one has ended."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from latentserve.service.bundle import read_bundle
from latentserve.service.watching.detectors import GENERATED, LABELS, layout
from latentserve.service.watching.judge import Judge
from latentserve.service.watching.reference import Reference
from latentserve.service.watching.signals import signal_names
from latentserve.service.watching.verdict import LEAST_ROWS
from tests.service.watching.test_detectors import Known, block

RATE = 0.01

Make = Callable[[], Judge]


@pytest.fixture(scope="module")
def known(bundle: Path) -> Known:
    read = read_bundle(bundle)
    assert read.reference is not None
    return read.manifest, Reference.from_bytes(read.reference, signal_names(read.manifest.sample, has_critic=True))


@pytest.fixture
def make(known: Known, tmp_path: Path) -> Make:
    """Judges of one folder, as several workers have them."""
    return lambda: Judge(tmp_path, *known, RATE)


def feed(judge: Judge, known: Known, *drifts: str, rounds: int = 30, seed: int = 1) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(rounds):
        judge.ledger.add(block(known, rng, 100, *drifts))
        judge.hold()


def test_one_of_two_holds_and_both_say_the_same(make: Make, known: Known) -> None:
    first, second = make(), make()
    assert first.hold()
    assert not second.hold()
    second.ledger.add(block(known, np.random.default_rng(1), 3000))
    assert first.hold()
    assert second.verdict() == first.verdict()
    assert second.verdict()["cause"] == "none"
    assert sum(second.verdict()["evidence"]["rows"].values()) == 9000


def test_before_the_first_round_there_is_a_verdict_too(make: Make) -> None:
    verdict = make().verdict()
    assert verdict["cause"] == "not_enough_samples"
    assert verdict["evidence"]["workers_whose_probes_fail"] == 0


def test_another_takes_over_with_the_alarm(make: Make, known: Known) -> None:
    first, second = make(), make()
    feed(first, known, GENERATED)
    before = first.verdict()
    assert before["cause"] == "unknown"
    assert list(before["evidence"]["alarms"]) == [GENERATED]
    assert not second.hold()
    first.stop()
    assert second.hold()
    assert second.verdict() == before
    feed(second, known, GENERATED, rounds=10, seed=2)
    after = second.verdict()["evidence"]
    assert after["alarms"][GENERATED]["again"] >= before["evidence"]["alarms"][GENERATED]["again"]
    assert after["rows"]["server"] == before["evidence"]["rows"]["server"] + 1000
    assert not first.hold()


def test_an_alarm_says_when_it_clears_and_does(make: Make, known: Known) -> None:
    judge = make()
    feed(judge, known, LABELS, rounds=30)
    alarm = judge.verdict()["evidence"]["alarms"][LABELS]
    assert judge.verdict()["cause"] == "label_mix"
    rng = np.random.default_rng(3)
    while judge.verdict()["cause"] == "label_mix":
        judge.ledger.add(block(known, rng, 100))
        judge.hold()
        asked = sum(judge.verdict()["evidence"]["labels"].values())
        assert asked < alarm["clears_at_row"] + 200
    assert asked >= alarm["clears_at_row"]
    assert judge.verdict()["cause"] == "none"


def test_a_state_that_is_damaged_begins_anew(make: Make, known: Known, tmp_path: Path) -> None:
    first, second = make(), make()
    feed(first, known, GENERATED)
    first.stop()
    (tmp_path / "state.json").write_text('{"generated": "{}')
    assert second.hold()
    # The counts are all there: what they hold is found again, as one block.
    assert second.verdict()["cause"] == "unknown"


def test_the_verdict_is_whole_at_any_time(make: Make, known: Known, tmp_path: Path) -> None:
    judge = make()
    judge.hold()
    ending = threading.Event()

    def write() -> None:
        rng = np.random.default_rng(1)
        while not ending.is_set():
            judge.ledger.add(block(known, rng, 10))
            judge.hold()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(2000):
            assert {"cause", "sentence", "evidence", "judged"} == json.loads(
                (tmp_path / "verdict.json").read_text()
            ).keys()
    finally:
        ending.set()
        writer.join()


def test_probes_of_one_worker_fail_and_pass_again(make: Make) -> None:
    first, second = make(), make()
    first.hold()
    second.report_probes("golden probes are off by 0.5, more than 1e-05")
    first.hold()
    verdict = first.verdict()
    assert verdict["cause"] == "weights_or_hardware"
    assert "off by 0.5" in verdict["sentence"]
    assert verdict["evidence"]["workers_whose_probes_fail"] == 1
    second.report_probes(None)
    first.hold()
    assert first.verdict()["cause"] == "not_enough_samples"


def test_probes_of_a_worker_that_ended_are_no_fault(make: Make, tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f"probes-{ended.pid}-1").write_text("golden probes are off by 0.5")
    judge = make()
    judge.hold()
    assert judge.verdict()["evidence"]["workers_whose_probes_fail"] == 0
    assert judge.verdict()["cause"] == "not_enough_samples"


def test_probes_that_come_and_go_disturb_nobody(make: Make) -> None:
    judge, other = make(), make()
    ending = threading.Event()

    def flicker() -> None:
        while not ending.is_set():
            other.report_probes("golden probes are off")
            other.report_probes(None)

    flickering = threading.Thread(target=flicker)
    flickering.start()
    try:
        for _ in range(300):
            assert judge.hold()
    finally:
        ending.set()
        flickering.join()


def test_files_damaged_and_put_back(make: Make) -> None:
    judge = make()
    judge.report_files("golden.npz is not what the manifest says")
    judge.hold()
    assert judge.verdict()["cause"] == "weights_or_hardware"
    assert "files on disk" in judge.verdict()["sentence"]
    judge.report_files(None, "toy 1a runs, toy 2b lies there")
    judge.hold()
    assert judge.verdict()["cause"] == "not_enough_samples"
    assert "toy 2b lies there" in judge.verdict()["sentence"]
    assert judge.verdict()["evidence"]["on_disk"] == "toy 1a runs, toy 2b lies there"
    judge.report_files(None)
    judge.hold()
    assert "on disk" not in json.dumps(judge.verdict())


def test_rows_that_are_not_finite_are_of_late_and_forgotten(make: Make, known: Known) -> None:
    """One among many is none; three close together are a cause, until it is long ago; another judge knows it, too."""
    judge, other = make(), make()
    nothing = {name: np.zeros(shape) for name, shape in layout(*known).items()}
    rng = np.random.default_rng(1)
    for _ in range(5):
        judge.ledger.add(block(known, rng, LEAST_ROWS))
        judge.ledger.add({**nothing, "nonfinite": np.ones(1)})
        judge.hold()
        assert judge.verdict()["cause"] == "none"
    judge.ledger.add({**nothing, "nonfinite": np.full(1, 3)})
    judge.hold()
    found = judge.verdict()
    assert found["cause"] == "weights_or_hardware"
    assert found["evidence"]["rows_not_finite"] == 8
    clears = found["evidence"]["not_finite_clears_at_row"]
    judge.stop()
    other.hold()
    while other.verdict()["cause"] == "weights_or_hardware":
        evidence = other.verdict()["evidence"]
        assert 0 <= evidence["not_finite_clears_at_row"] - clears <= 300  # by what a look comes late
        assert sum(evidence["rows"].values()) < evidence["not_finite_clears_at_row"]
        other.ledger.add(block(known, rng, 100))
        other.hold()
    found = other.verdict()
    assert found["cause"] == "none"
    assert sum(found["evidence"]["rows"].values()) >= clears
    assert "not_finite_clears_at_row" not in found["evidence"]


def test_a_verdict_says_how_old_it_is(make: Make, known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    judge, other = make(), make()
    assert judge.verdict()["age_seconds"] is None
    assert judge.verdict()["sentence"] == "Nothing was judged yet."
    feed(judge, known)
    assert judge.verdict()["age_seconds"] == 0
    now = time.monotonic()
    for later, old in ((8.1, False), (37.2, True)):
        monkeypatch.setattr(time, "monotonic", lambda later=later: now + later)
        assert other.verdict()["age_seconds"] == int(later)
        assert ("37 seconds ago" in other.verdict()["sentence"]) == old
    monkeypatch.setattr(time, "monotonic", lambda: now - 1e6)  # the machine has started again
    assert other.verdict()["age_seconds"] is None


def test_a_judge_that_fails_lets_another_try(make: Make, known: Known, tmp_path: Path) -> None:
    """Counts that are damaged, and are no more: no row is lost or weighed twice."""
    first, second = make(), make()
    feed(first, known)
    before = first.verdict()
    own = next(tmp_path.glob("*.counts"))
    damaged = own.with_name(f"{own.stem}0.counts")
    np.full(own.stat().st_size // 8, np.nan).tofile(damaged)
    for judge in (first, second, first):
        with pytest.raises(ValueError, match="NaN"):
            judge.hold()
    assert {**second.verdict(), "age_seconds": 0} == before
    damaged.unlink()
    assert second.hold()
    assert not first.hold()
    assert second.verdict()["evidence"] == before["evidence"]


def test_damaged_counts_before_the_first_round_are_no_error_of_the_page(make: Make, tmp_path: Path) -> None:
    judge = make()
    own = next(tmp_path.glob("*.counts"))
    np.full(own.stat().st_size // 8, np.nan).tofile(own)
    judge.report_probes("golden probes are off by 0.5, more than 1e-05")
    assert judge.verdict()["cause"] == "weights_or_hardware"


def test_repeats_are_of_late(make: Make, known: Known) -> None:
    """Many good latents sent long ago do not hide that one is now sent again and again; nor the other way round."""
    judge = make()
    nothing = {name: np.zeros(shape) for name, shape in layout(*known).items()}
    rng = np.random.default_rng(1)
    feed(judge, known, rounds=20)
    judge.ledger.add(block(known, rng, 200_000))
    judge.hold()
    for _ in range(4):
        judge.ledger.add({**nothing, "repeated": np.array([LEAST_ROWS])})
        judge.hold()
    assert judge.verdict()["cause"] == "client_latents"
    for _ in range(4):
        judge.ledger.add(block(known, rng, LEAST_ROWS))
        judge.hold()
    assert judge.verdict()["cause"] == "none"


def test_the_page_has_what_the_contract_says(make: Make, known: Known) -> None:
    judge = make()
    feed(judge, known, LABELS)
    evidence = judge.verdict()["evidence"]
    assert set(evidence["rows"]) == {"server", "client", "control"}
    assert evidence["log_evidence"].keys() >= {"generated", "asked", "latents", "labels"}
    assert evidence["log_threshold"] > 0
    assert evidence["alarms"][LABELS].keys() == {"rows", "began", "arm", "signal", "again", "clears_at_row"}
    assert set(evidence["labels"]) == set(known[0].labels or ())
    assert evidence["rows_not_finite"] == evidence["latents_repeated"] == 0
    assert evidence["latents_sent"] == 3000
    with suppress(StopIteration):
        json.dumps(judge.verdict(), allow_nan=False)
