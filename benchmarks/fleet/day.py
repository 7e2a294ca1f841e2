"""A healthy day, so many times as fast: load that changes, other kinds of clean traffic, one rolling restart."""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import Any

import numpy as np

from benchmarks.drift.faults import Traffic, by_seed, requested_truncation, without_seed
from benchmarks.fleet.fleet import Fleet
from benchmarks.fleet.load import mixed
from benchmarks.fleet.prometheus import Rules

_DAY_SECONDS = 86_400.0
_STEP_SECONDS = 2.0
_SWING = 0.8  # of the rate, over the day
_TRAFFIC: tuple[Traffic, ...] = (mixed, mixed, by_seed, without_seed, requested_truncation)
_CHANGES = 100.0  # of one replica's kind of traffic, a day


def healthy_day(fleet: Fleet, rules: Rules, faster: float, rate: float, days: float = 1.0) -> dict[str, Any]:
    """Every alert of the day. From noon on each replica is replaced by another, one at a time."""
    rng = np.random.default_rng(0)
    seconds = days * _DAY_SECONDS / faster
    restarted = 0
    with fleet.watched(rules) as (prometheus, webhook):
        began = time.monotonic()
        while (now := time.monotonic() - began) < seconds:
            share = now / seconds
            for index, load in enumerate(fleet.loads):
                load.rate = rate * (1 + _SWING * math.sin(2 * math.pi * (share + index / len(fleet.loads) / 4)))
                if rng.random() < _CHANGES * days * _STEP_SECONDS / seconds:
                    load.send(_TRAFFIC[rng.integers(len(_TRAFFIC))])
            due = 0.5 + 0.1 * restarted / len(fleet.replicas)
            if restarted < len(fleet.replicas) and share > due:
                fleet.replace(restarted, prometheus)
                restarted += 1
            time.sleep(_STEP_SECONDS)
        minutes = f"[{int(seconds)}s]"
        failed = prometheus.failing_rules()
        scrapes = _one(prometheus.query(f"sum(count_over_time(up{minutes}))"))
        missed = scrapes - _one(prometheus.query(f"sum(sum_over_time(up{minutes}))"))
        notices = webhook.since()
    answers: Counter[int] = sum((load.statuses for load in fleet.loads), Counter())
    return {
        "seconds": round(seconds),
        "faster": faster,
        "days": days,
        "restarts": restarted,
        "requests": answers.total(),
        "requests_not_answered": answers.total() - answers[200],
        "scrapes": scrapes,
        "scrapes_missed": missed,
        "failing_rules": failed,
        "alerts": [{"at": round(notice.at - began, 1), **notice.labels} for notice in notices if notice.firing],
    }


def _one(series: list[tuple[dict[str, str], float]]) -> float:
    return series[0][1] if series else 0.0
