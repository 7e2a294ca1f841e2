"""Faults on one replica of the fleet, again and again: the alerts, whom they name, and how long they took."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.drift.faults import CASES
from benchmarks.fleet.fleet import Fleet
from benchmarks.fleet.prometheus import Rules

FAULTY = {name: case for name, case in CASES.items() if case.cause != "none"}

_CALM_SECONDS = 5.0  # watched healthy before each fault


def trial(fleet: Fleet, rules: Rules, name: str, index: int, seed: int, patience: float) -> dict[str, Any]:
    """One case on one replica, which is healed after it.

    `seconds` is from the fault (of a bundle: from when it is served) to the webhook, None where nobody was told so
    within `patience` seconds; `others` are alerts that named another replica.
    """
    replica = fleet.replicas[index]
    with fleet.watched(rules) as (prometheus, webhook):
        time.sleep(_CALM_SECONDS)
        before = [str(notice) for notice in webhook.firing()]
        fleet.inject(name, index, seed)
        began = time.monotonic()
        found = webhook.wait(lambda notice: fleet.names(notice, name, index), patience)
        fired = [notice for notice in webhook.since() if notice.firing]
        failed = prometheus.failing_rules()
    fleet.heal(index)
    return {
        "case": name,
        "cause": FAULTY[name].cause,
        "replica": index,
        "seed": seed,
        "seconds": None if found is None else round(max(0.0, found.at - began), 1),
        "alerts": sorted({notice.name for notice in fired}),
        "others": [
            str(notice) for notice in fired if notice.labels.get("instance", replica.instance) != replica.instance
        ],
        "before": before,
        "failing_rules": failed,
    }


def trials(fleet: Fleet, rules: Rules, repetitions: int, patience: float) -> list[dict[str, Any]]:
    """Every case so many times, each time on a replica drawn at random."""
    rng = np.random.default_rng(0)
    results = []
    for repetition in range(repetitions):
        for name in FAULTY:
            found = trial(fleet, rules, name, int(rng.integers(len(fleet.replicas))), repetition, patience)
            print(f"{name}: {found['seconds']} s, {found['alerts']}, {found['others']}", flush=True)
            results.append(found)
    return results
