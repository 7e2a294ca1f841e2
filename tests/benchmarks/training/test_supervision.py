import argparse
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs latentserve[training]")

from benchmarks.environments import AbsentError
from benchmarks.machine import describe_machine
from benchmarks.runner import Results
from benchmarks.training import healthy, supervision
from benchmarks.training.faults import DISTINCT, FAULTS, HEALTHY, Clock, duplicated, shuffled
from benchmarks.training.supervision_report import report
from latentserve.training import supervising
from latentserve.training.data import load
from latentserve.training.recipe import load_config
from latentserve.training.run.loop import batch_rows


def test_every_fault_has_names_that_a_supervisor_gives() -> None:
    for fault in FAULTS.values():
        assert set(fault.accepted) <= set(supervising.FAULTS)
        assert fault.accepted
    assert {name for name, fault in FAULTS.items() if not fault.mendable} == {
        "duplicated data",
        "gradients zeroed",
        "labels shuffled",
    }


def test_data_are_spoilt_as_they_say() -> None:
    digits = load("digits", None)
    assert len(np.unique(duplicated(digits, 0).take(slice(None)), axis=0)) <= DISTINCT
    wrong = shuffled(digits, 0)
    assert sorted(wrong.labels) == sorted(digits.labels)
    assert (wrong.labels != digits.labels).mean() > 0.8


def test_rows_are_spoilt_only_while_the_fault_lasts() -> None:
    from latentserve.training.run import loop

    digits, clock = load("digits", None), Clock()
    config = load_config("digits", supervision.TINY)
    fault = FAULTS["half of the classes missing"]
    with fault.inject(config, digits, clock):  # type: ignore[misc]
        before, after = (loop.batch_rows(len(digits), 64, 0, seen).numpy() for seen in (0, config.images // 2))
    assert digits.labels[before].max() > 4 >= digits.labels[after].max()
    assert clock.images_seen == config.images // 2
    assert loop.batch_rows is batch_rows


def test_the_page_counts_what_was_found(tmp_path: Path) -> None:
    run = {"fault": "labels shuffled", "agreement": 0.1, "images": 16_000, "journal": []}
    runs = [
        run
        | {"seed": seed, "supervise": mode, "frechet": 0.5, "detected_after": 800 if mode == "act" and seed else None}
        for seed in range(2)
        for mode in ("off", "act")
    ]
    good = [{"recipe": "digits", "seed": 0, "actions": [[64, "stall", "tell"]], "same_weights": True}]
    page = "\n".join(report({"faulty": runs, "healthy": good}))
    assert "| labels shuffled | mismatched data | no | 1/2 | 800 | 0.500, 0.500 | 0.10, 0.10 | 0/2 |" in page
    assert "1 of 2 (9% to 91%, Wilson)" in page
    assert "| digits | 1 | 0 | 1 | 1 |" in page


def test_results_of_another_supervisor_are_not_gone_on_with(tmp_path: Path) -> None:
    """Thresholds that moved since would stand in one table with those that hold now."""
    given = given_of("--seeds", "--no-healthy")
    old = Results(supervision, tmp_path / "old", {"faulty": [{}], "healthy": []})
    with pytest.raises(AbsentError, match="of another supervisor"):
        supervision.measure(given, old)
    new = Results(supervision, tmp_path / "new", {})
    supervision.measure(given, new)
    again = Results(supervision, tmp_path / "new", {**new, "healthy": [{}]})
    supervision.measure(given, again)
    assert again["healthy"] == [{}]


def given_of(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    supervision.options(parser)
    given = parser.parse_args(list(words))
    given.short = False
    return given


def test_healthy_runs_come_after_faults_and_those_without_a_supervisor_last_and_once() -> None:
    jobs = supervision._jobs(
        given_of("--seeds", "300", "--faults", "labels shuffled", "--kinds", "ring", "ring, tick / 10")
    )
    parts = [job.part for job in jobs]
    assert parts == sorted(parts, key=["faulty", "healthy", "plain"].index)
    assert [job[1:] for job in jobs if job.part == "plain"] == [("ring", seed, "off") for seed in healthy.SEEDS]
    assert len(jobs) == len(HEALTHY) + 2 + 2 * 3 + 3


def test_weights_are_held_against_those_without_as_soon_as_these_are_known() -> None:
    def of(kind: str, weights: str) -> dict[str, object]:
        return {"recipe": kind, "seed": 300, "actions": [], "weights": weights}

    results = {"faulty": [], "healthy": [of("ring", "a"), of("ring, tick / 10", "b"), of("grid", "c")], "plain": []}
    results["plain"] = [of("ring", "a")]
    supervision._compare(results)  # type: ignore[arg-type]
    assert [one["same_weights"] for one in results["healthy"]] == [True, False, None]
    assert "| grid | 1 | 0 | 0 | 0 of 0 compared |" in "\n".join(report(results))


@pytest.mark.full
def test_runs_are_shared_by_processes_and_written_down(tmp_path: Path) -> None:
    results = Results(supervision, tmp_path / "found", {"machine": describe_machine()})
    given = given_of("--seeds", "--kinds", "digits, briefly", "adult", "--processes", "2")
    supervision.measure(given, results)
    assert [one["same_weights"] for one in results["healthy"]] == [True] * 3  # adult is not here
    assert len({one["weights"] for one in results["healthy"]}) == 3
    assert "| digits, briefly | 3 | 0 | 0 | 3 |" in (tmp_path / "found.md").read_text()
