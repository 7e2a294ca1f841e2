"""The verdict: every cause, which of two goes first, and the numbers in its sentence."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import get_args

import pytest

from latentserve.service.watching.verdict import (
    CAUSES,
    LEAST_ROWS,
    NONFINITE_ROWS,
    Cause,
    Suspicion,
    Symptoms,
    diagnose,
    least_rows,
)

SEEN = Suspicion(rows=9000, began=4000, arm="server", signal="critic_score", again=2, clears_at_row=29_000)
OF_LATENTS = replace(SEEN, arm="", signal="input_norm")
OF_CONDITIONS = replace(SEEN, arm="", signal="energy of 10 to 20 GeV more often")
OF_LABELS = replace(SEEN, arm="", signal="digit 3")
CALM = Symptoms(rows=LEAST_ROWS)

# One fault each, by falling priority: what there is to see, the cause, and what its sentence must hold.
FAULTS: list[tuple[dict[str, object], Cause, list[str]]] = [
    (
        {"probe_fault": "golden probes are off by 0.25, more than 1e-05"},
        "weights_or_hardware",
        ["golden probes", "0.25", "1e-05"],
    ),
    ({"nonfinite": 17, "looked_at": 8000}, "weights_or_hardware", ["17 of the last 8000 rows", "not finite"]),
    ({"files_fault": "golden.npz is not"}, "weights_or_hardware", ["files on disk", "golden.npz is not"]),
    ({"recorded": 64, "differing": 5}, "unknown", ["5 of the last 64 rows", "recorded at export", "probes pass"]),
    ({"generated": SEEN}, "unknown", ["critic_score", "arm server", "4000", "9000", "golden probes pass"]),
    (
        {"real": "at a kernel distance of 0.2 from it"},
        "stale_reference",
        ["real data of today", "kernel distance of 0.2"],
    ),
    ({"latents": OF_LATENTS}, "client_latents", ["input_norm", "4000", "9000"]),
    ({"sent": 20_000, "repeated": 15_000}, "client_latents", ["75%", "20000"]),
    ({"labels": OF_LABELS}, "label_mix", ["digit 3", "4000", "9000"]),
    ({"conditions": OF_CONDITIONS}, "condition_mix", ["energy of 10 to 20 GeV more often", "4000", "9000"]),
    ({"asked": replace(SEEN, arm="client")}, "unknown", ["critic_score", "arm client", "4000", "9000"]),
]
IDS = [next(iter(fault)) for fault, _, _ in FAULTS]


def facts(*faults: dict[str, object], rows: int = LEAST_ROWS) -> Symptoms:
    """These faults at once."""
    return replace(CALM, rows=rows, **{name: value for fault in faults for name, value in fault.items()})  # type: ignore[arg-type]


def test_the_causes_are_the_contracts() -> None:
    assert get_args(Cause) == CAUSES
    assert set(CAUSES) == {
        "none",
        "weights_or_hardware",
        "client_latents",
        "label_mix",
        "condition_mix",
        "stale_reference",
        "unknown",
        "not_enough_samples",
    }


@pytest.mark.parametrize(("fault", "cause", "words"), FAULTS, ids=IDS)
def test_a_fault_has_its_cause_and_its_numbers(fault: dict[str, object], cause: str, words: list[str]) -> None:
    verdict = diagnose(facts(fault))
    assert verdict.cause == cause
    for word in words:
        assert word in verdict.sentence
    assert "\n" not in verdict.sentence


def test_of_two_faults_the_graver_is_named() -> None:
    for (first, _, _), (second, _, _) in combinations(FAULTS, 2):
        assert diagnose(facts(second, first)).sentence == diagnose(facts(first)).sentence


def test_nothing_wrong() -> None:
    assert diagnose(CALM).cause == "none"
    assert diagnose(facts({"sent": 20_000, "repeated": 10_000})).cause == "none"
    assert diagnose(facts({"sent": LEAST_ROWS - 1, "repeated": LEAST_ROWS - 1})).cause == "none"


def test_a_row_in_millions_that_is_not_finite_is_no_cause() -> None:
    assert diagnose(facts({"nonfinite": NONFINITE_ROWS - 1, "looked_at": 10_000})).cause == "none"


def test_another_bundle_on_disk_is_said_and_is_no_fault() -> None:
    words = "toy 1a runs, toy 2b lies there"
    for fault, cause, _ in [({}, "none", []), *FAULTS]:
        verdict = diagnose(facts(fault, {"on_disk": words}))
        assert verdict.cause == cause
        assert verdict.sentence.endswith(f": {words}.")


def test_without_a_reference_nothing_wrong_is_nothing_known() -> None:
    bare = replace(CALM, compared=False)
    assert diagnose(bare).cause == "not_enough_samples"
    assert "no reference" in diagnose(bare).sentence
    assert diagnose(replace(bare, labels=OF_LABELS)).cause == "label_mix"
    assert diagnose(replace(bare, nonfinite=3)).cause == "weights_or_hardware"


def test_a_recorded_row_in_hundreds_that_differs_is_no_cause() -> None:
    assert diagnose(facts({"recorded": 500, "differing": 2})).cause == "none"
    assert diagnose(facts({"recorded": 2000, "differing": 3})).cause == "none"
    assert diagnose(facts({"recorded": 2000, "differing": 4}, rows=0)).cause == "unknown"


def test_of_rows_that_cannot_be_compared_nothing_is_said() -> None:
    few = replace(CALM, rows=50_000, rows_compared=179)
    verdict = diagnose(few)
    assert verdict.cause == "not_enough_samples"
    for word in ("50000", "179", "180", "conditions"):
        assert word in verdict.sentence
    assert diagnose(replace(few, rows_compared=180)).cause == "none"
    for fault, cause, _ in FAULTS:
        assert diagnose(replace(few, **fault)).cause == cause  # type: ignore[arg-type]


@pytest.mark.parametrize(("reference", "needed"), [(0, 5000), (64, 1000), (3000, 3000), (5000, 5000), (100_000, 5000)])
def test_beside_a_small_reference_fewer_rows_are_needed(reference: int, needed: int) -> None:
    assert least_rows(reference) == needed
    assert diagnose(Symptoms(rows=needed - 1, least=needed)).cause == "not_enough_samples"
    assert diagnose(Symptoms(rows=needed, least=needed, generated=SEEN)).cause == "unknown"


@pytest.mark.parametrize("rows", [0, 1, LEAST_ROWS - 1])
def test_few_rows_are_no_verdict_from_samples(rows: int) -> None:
    verdict = diagnose(facts(rows=rows))
    assert verdict.cause == "not_enough_samples"
    assert str(rows) in verdict.sentence
    assert str(LEAST_ROWS) in verdict.sentence
    for fault in ({"generated": SEEN}, {"latents": OF_LATENTS}, {"labels": OF_LABELS}, {"asked": SEEN}):
        assert diagnose(facts(fault, rows=rows)).cause == "not_enough_samples"


@pytest.mark.parametrize("fault", [fault for fault, cause, _ in FAULTS if cause == "weights_or_hardware"], ids=IDS[:3])
def test_weights_and_hardware_need_no_rows(fault: dict[str, object]) -> None:
    assert diagnose(facts(fault, rows=0)).cause == "weights_or_hardware"


def test_repeats_are_rows_too() -> None:
    """One latent again and again: what is looked at is one row, and the cause is plain all the same."""
    assert diagnose(facts({"sent": LEAST_ROWS, "repeated": LEAST_ROWS - 1}, rows=1)).cause == "client_latents"
    assert diagnose(facts({"sent": LEAST_ROWS - 1, "repeated": LEAST_ROWS - 2}, rows=1)).cause == "not_enough_samples"


def test_the_numbers_go_with_it() -> None:
    numbers = {"rows": {"server": 3}}
    assert diagnose(replace(CALM, numbers=numbers)).evidence == numbers
