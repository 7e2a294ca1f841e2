"""The verdict: whether the samples changed, and whose doing it is. Symptoms in, one cause and one sentence out.

Probes tell the weights from everything else, for a generator is a pure function. Rows whose latents the server drew
tell the generator from its clients. What clients choose (latents, labels) is measured by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Cause = Literal[
    "none",
    "weights_or_hardware",
    "client_latents",
    "label_mix",
    "condition_mix",
    "stale_reference",
    "unknown",
    "not_enough_samples",
]
CAUSES: tuple[Cause, ...] = get_args(Cause)
LEAST_ROWS = 5_000  # for a verdict from samples
_LEAST_OF_ALL = 1_000  # where the reference is small
_LEAST_COMPARED = 180  # of rows that can be compared with it: what control samples come to by then, where others cannot

# Rows, among the last LEAST_ROWS to twice as many, that name a cause. One in a million alarms less than once in 30 days
# at 1,000 rows a second, one in a thousand within 10,000 rows: what is rarer is no model that computes something else.
NONFINITE_ROWS = 3
# Of recorded rows made again, among the last RECORDED_ROWS to twice as many, that name a cause: rounding makes none,
# but where a sample hangs on a comparison it may make one of another.
DIFFERING_ROWS, DIFFERING_SHARE, RECORDED_ROWS = 3, 0.002, 1_000
OLD_SECONDS = 8  # of a verdict that is judged every two

_REPEATED = 0.5  # of the latents that clients sent: a share that says something


@dataclass(frozen=True)
class Suspicion:
    """An alarm that stands, of whichever `signal` (and `arm`) spoke loudest when it was raised: the likeliest start of
    the drift at row `began`, raised or last renewed at `rows`, `again` times renewed."""

    rows: int
    began: int
    arm: str
    signal: str
    again: int
    clears_at_row: int


@dataclass(frozen=True)
class Symptoms:
    """What is known of one model, over all workers.

    Attributes:
        rows: whose signals were computed, repeated latents counted once.
        probe_fault: how far the golden probes are off, in words, where two replays in a row did not match.
        files_fault: what is wrong with the bundle's files on disk, in words.
        on_disk: which other bundle lies there by now, whole, in words: no fault of what runs.
        looked_at, nonfinite: rows of late, and those of them with values that are not finite, though their latents are
            plausible draws.
        compared: there is a reference.
        rows_compared: rows that it knows the like of; None: all of them. Of a row whose conditions a client chose there
            is none.
        recorded, differing: rows of late of which spots were recorded at export, and those of them that differ.
        generated: the output's distribution changed, in rows whose latents the server drew.
        asked: the same in rows whose latents or seeds clients chose.
        latents: those that clients sent are not drawn from the prior.
        sent, repeated: rows whose latents clients sent of late, and how many of them were there before.
        labels, conditions: the mix of those asked for is not the reference's.
        real: how far the real data of today is from that of the export, in words, where it is another.
        least: rows that a verdict from samples needs.
        numbers: whatever else stands behind the verdict.
    """

    rows: int
    probe_fault: str | None = None
    files_fault: str | None = None
    on_disk: str | None = None
    looked_at: int = 0
    nonfinite: int = 0
    compared: bool = True
    rows_compared: int | None = None
    recorded: int = 0
    differing: int = 0
    generated: Suspicion | None = None
    asked: Suspicion | None = None
    latents: Suspicion | None = None
    sent: int = 0
    repeated: int = 0
    labels: Suspicion | None = None
    conditions: Suspicion | None = None
    real: str | None = None
    least: int = LEAST_ROWS
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """A cause, a sentence on it, and the numbers behind it."""

    cause: Cause
    sentence: str
    evidence: Mapping[str, Any]


def probe_fault(difference: float, tolerance: float) -> str | None:
    """How far the golden probes are off, in words; None where they match."""
    if difference <= tolerance:
        return None
    return f"golden probes are off by {difference:.3g}, more than {tolerance:.3g}"


def least_rows(reference_samples: int) -> int:
    """How many rows a verdict needs beside so many reference samples: beyond as many again, the reference's own error
    is the greater part of every difference, and more rows tell little more."""
    return min(LEAST_ROWS, max(_LEAST_OF_ALL, reference_samples)) if reference_samples else LEAST_ROWS


def critic_fault(off: float) -> str | None:
    """How far the critic's judgement of the golden samples is off, in tolerances, in words; None where it matches."""
    if off <= 1:
        return None
    return f"judgement of critic.onnx on the golden samples is off by {off:.3g} times what is tolerated"


def differs(recorded: int, differing: int) -> bool:
    """Whether so many of the rows made again differ from what was recorded that the generator is another."""
    return differing >= max(DIFFERING_ROWS, DIFFERING_SHARE * recorded)


def diagnose(symptoms: Symptoms) -> Verdict:
    """The verdict on these symptoms."""
    cause, sentence = _cause(symptoms)
    if symptoms.on_disk is not None:
        sentence += f" On disk the bundle is another by now, for the next start: {symptoms.on_disk}."
    return Verdict(cause, sentence, symptoms.numbers)


def _cause(symptoms: Symptoms) -> tuple[Cause, str]:
    if symptoms.probe_fault is not None:
        return "weights_or_hardware", f"The {symptoms.probe_fault}: the model computes something else than at export."
    if symptoms.nonfinite >= NONFINITE_ROWS:
        return "weights_or_hardware", (
            f"{symptoms.nonfinite} of the last {symptoms.looked_at} rows hold values that are not finite."
        )
    if symptoms.files_fault is not None:
        return "weights_or_hardware", (
            "The bundle's files on disk are no longer those that were loaded and verified, and would not start: "
            f"{symptoms.files_fault}."
        )
    if differs(symptoms.recorded, symptoms.differing):
        return "unknown", (
            f"{symptoms.differing} of the last {symptoms.recorded} rows that were recorded at export are others now, "
            "while the golden probes pass: the generator changed where the probes do not reach."
        )
    if symptoms.rows >= symptoms.least and symptoms.generated is not None:
        return "unknown", (
            f"{_seen(symptoms.generated)}, in latents that the server drew, while the golden probes pass: "
            "the generator changed where the probes do not reach, or the reference is another's."
        )
    if symptoms.real is not None:
        return "stale_reference", f"The real data of today is {symptoms.real}: the generator was trained on another."
    repeats = symptoms.sent >= LEAST_ROWS and symptoms.repeated > _REPEATED * symptoms.sent
    if symptoms.rows < symptoms.least and not repeats:
        return "not_enough_samples", f"{symptoms.rows} rows were looked at; a verdict needs {symptoms.least}."
    if symptoms.latents is not None:
        return "client_latents", f"Latents that clients send are not drawn from the prior: {_seen(symptoms.latents)}."
    if repeats:
        share = symptoms.repeated / symptoms.sent
        return "client_latents", f"{share:.0%} of the {symptoms.sent} latents that clients sent had been sent before."
    if symptoms.labels is not None:
        return "label_mix", f"The labels asked for are not mixed as in the reference: {_seen(symptoms.labels)}."
    if symptoms.conditions is not None:
        moved = symptoms.conditions
        return "condition_mix", (
            f"Conditions are asked for in another mix than in the reference: {moved.signal}, since about row "
            f"{moved.began} of {moved.rows} that were asked for with one."
        )
    if symptoms.asked is not None:
        return "unknown", f"{_seen(symptoms.asked)}, while probes, latents and labels are as they should be."
    if not symptoms.compared:
        return "not_enough_samples", "The bundle has no reference to compare its samples with; its golden probes match."
    compared = symptoms.rows if symptoms.rows_compared is None else symptoms.rows_compared
    if compared < _LEAST_COMPARED:
        return "not_enough_samples", (
            f"{symptoms.rows} rows were looked at, and {compared} of them can be compared with the reference; a "
            f"verdict needs {_LEAST_COMPARED}. The others were asked for in ways that it does not know, as with "
            "conditions of their own."
        )
    return "none", "The samples are as the reference has them."


def _seen(suspicion: Suspicion) -> str:
    arm = f" (arm {suspicion.arm})" if suspicion.arm else ""
    return f"{suspicion.signal}{arm} differs from the reference since about row {suspicion.began} of {suspicion.rows}"
