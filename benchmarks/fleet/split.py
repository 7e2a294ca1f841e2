"""Detection on the clock: the same traffic split over eight replicas, and all of it on one; the same drift in each.

Real servers of one worker each. One Prometheus watches those that get the traffic, and merges what they counted. What
is timed is the alert on merged evidence, from the moment at which all clients change; where the generator is faulty,
from the first request.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks.drift.faults import CASES, Traffic
from benchmarks.fleet.fleet import Fleet
from benchmarks.fleet.load import mixed
from benchmarks.fleet.prometheus import Rules

EVIDENCE = "LatentserveDriftEvidence"
SPLIT_CASES = ("latents N(0, 1.1^2)", "mode dropped, whole")

_CALM_SECONDS = 25.0  # healthy traffic before


def detection(fleet: Fleet, rules: Rules, name: str, over: int, rate: float, patience: float) -> dict[str, Any]:
    """Seconds from the change to the alert, with `rate` requests a second over the first `over` replicas.

    None where nobody was told within `patience` seconds; `early` is what fired before.
    """
    healthy_before = CASES[name].fault is None
    _ask(fleet, mixed, over, rate if healthy_before else 0.0)
    with fleet.watched(rules, slice(over)) as (_, webhook):
        time.sleep(_CALM_SECONDS)
        early = [str(notice) for notice in webhook.firing()]
        began = time.monotonic()
        _ask(fleet, CASES[name].traffic, over, rate)
        found = webhook.wait(lambda notice: notice.name == EVIDENCE, patience, began)
    return {
        "case": name,
        "over": over,
        "seconds": None if found is None else round(found.at - began, 2),
        "early": early,
    }


def _ask(fleet: Fleet, traffic: Traffic, over: int, rate: float) -> None:
    for index, load in enumerate(fleet.loads):
        load.send(traffic)
        load.rate = rate / over if index < over else 0.0


def detections(
    fleet: Fleet, rules: Rules, name: str, rate: float, repetitions: int, patience: float
) -> list[dict[str, Any]]:
    """One replica and all of them in turn, so many times."""
    found = []
    for repetition in range(repetitions):
        for over in (1, len(fleet.replicas)) if repetition % 2 else (len(fleet.replicas), 1):
            found.append({"repetition": repetition, **detection(fleet, rules, name, over, rate, patience)})
            print(f"{name} over {over}: {found[-1]['seconds']} s", flush=True)
    return found


def ratio(found: list[dict[str, Any]]) -> float | None:
    """Median time over all replicas, over the median time of one; None where half of either saw nothing."""
    medians = []
    for over in (max(one["over"] for one in found), 1):
        seconds = [
            one["seconds"] if one["seconds"] is not None else float("inf") for one in found if one["over"] == over
        ]
        medians.append(statistics.median(seconds))
    return medians[0] / medians[1] if max(medians) < float("inf") else None
