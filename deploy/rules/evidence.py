"""Evidence of a drift from all replicas' counts together: `latentserve.service.watching.evidence`, in PromQL.

Its log is linear in the counts, so increases of a minute, summed over replicas, are a block like any other, and each
bet's M is carried on in a record that reads its own value of a minute ago:

    M <- (rows + M) * exp(sum_b c_b * log L_b - n * log(1 + sd * tolerance + q * tolerance^2))

It is what one process would have that saw all rows and was asked once a minute, and keeps the promise of the run
length. Three things differ from the service, and all only make M smaller: a bet's worst mean is bounded by a parabola,
whose q holds for every reference of 100 rows or more; a scrape that is lost loses its rows; and M is held where the
alarm stands (the service begins anew there), so that it falls as soon as the drift is over.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from deploy.names import MONITORED, REFERENCE_TOLERANCE, THRESHOLD
from deploy.rules.counts import MODEL, by, increase, joined
from deploy.rules.rule import Record
from deploy.rules.statistics import ARM, SIGNAL
from deploy.windows import BLOCK, Times
from latentserve.service.sampling.request import ARMS
from latentserve.service.watching.evidence import bin_bets, tolerance, tolerant
from latentserve.service.watching.reference import BINS

EVIDENCE = "model:latentserve_drift_evidence:log"
EVIDENCE_THRESHOLD = "model:latentserve_drift_evidence_threshold:log"
GENERATED, ASKED = "generated", "asked"

_STREAM = "model_arm_signal:latentserve_drift_evidence:log"
_BET = "model_arm_signal_bet:latentserve_drift_evidence:log"
_ROWS = "model_arm:latentserve_monitored_samples:increase1m"
_STARTS = "model_arm_signal:latentserve_drift_evidence:starts1m"
_TOLERANCE = "model:latentserve_reference_tolerance:max"
_COUNTS = "model_arm_signal_bin:latentserve_output_signal_bin:increase1m"
_TOTALS = "model_arm_signal:latentserve_output_signal_bin:increase1m"
_BEYOND = 4.0  # the threshold, where M is held: an average over signals is less than the one that drifts
_TOLERANCES = np.linspace(0.01, 0.6, 60)
_LEAST, _MOST = -100.0, 600.0  # exponents, short of what a float can hold


def evidence_rules(times: Times) -> Iterator[Record]:
    """By bet, by stream, and of the model: of rows whose latents the server drew, and of those that clients chose."""
    yield Record(_TOLERANCE, f"max {by(*MODEL)} ({REFERENCE_TOLERANCE})")
    # Replicas that each say what rate they are good for are good for the sum of it.
    yield Record(EVIDENCE_THRESHOLD, f"max {by(*MODEL)} ({THRESHOLD}) + ln(count {by(*MODEL)} ({THRESHOLD}))")
    yield Record(_ROWS, increase(MONITORED, BLOCK, times, ARM))
    yield Record(_STARTS, f"({_TOTALS} > bool 0) * {joined(*ARM)} {_ROWS}")
    ratios, weights = bin_bets()
    spreads = np.sqrt(np.sum((ratios - 1) ** 2, axis=1) / BINS)
    bends = np.max([(_worst(ratios, size) - 1 - spreads * size) / size**2 for size in _TOLERANCES], axis=0)
    for bet, (ratio, weight) in enumerate(zip(ratios, weights, strict=True)):
        cost = f"1 + {spreads[bet]:.12g} * {_TOLERANCE} + {bends[bet]:.12g} * {_TOLERANCE} ^ 2"
        name = f"{bet:02}"
        yield Record(_BET, _carried_on(np.log(ratio).tolist(), cost, float(weight), name, times), {"bet": name})
    yield Record(_STREAM, f"clamp_min(ln(sum {by(*SIGNAL)} (exp({_BET}))), 0)")
    signals = f"count {by(*MODEL)} (count {by(*MODEL, 'signal')} ({_STREAM}))"
    others = "|".join(arm for arm in ARMS if arm != "client")
    for of, arms in ((GENERATED, others), (ASKED, "client")):
        total = f'sum {by(*MODEL)} (exp({_BET}{{arm=~"{arms}"}}))'
        yield Record(EVIDENCE, f"clamp_min(ln({total} / {signals}), 0)", {"of": of})


def _worst(ratios: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    """The largest mean that each bet may have by the error of a reference of this tolerance."""
    rows = float((tolerance(1, 1) / size) ** 2)
    safe = tolerant(ratios, np.full(BINS, 1 / BINS), rows, 1)
    return np.exp(np.log(ratios) - safe)[:, 0]


def _carried_on(logs: list[float], worst: str, weight: float, bet: str, times: Times) -> str:
    """The log of a bet's M times its weight, so that the mean over bets is a sum."""
    on = f"on ({', '.join(SIGNAL)})"
    gain = f" + {on}\n  ".join(f'{log:.12g} * {_COUNTS}{{bin="{b:02}"}}' for b, log in enumerate(logs))
    cost = f"{_TOTALS} * {joined(*MODEL)} ln({worst})"
    before = f'{_BET}{{bet="{bet}"}} offset {times.text(BLOCK)}'
    held = f"{before} - clamp_min({before} - {joined(*MODEL)} ({EVIDENCE_THRESHOLD} + {_BEYOND:g}), 0)"
    carried = f"sum {by(*SIGNAL)} (exp({held})) or {_STARTS} * 0"
    return (
        f"clamp_max(clamp_min((\n  {gain}\n) - {on} ({cost})\n"
        f"+ {on} ln({weight:.12g} * {_STARTS} + {on} ({carried})), {_LEAST:g}), {_MOST:g})"
    )
