"""Alerts on the service: do requests fail, are they slow, and is every replica there."""

from __future__ import annotations

from collections.abc import Iterator

from deploy import names
from deploy.rules.counts import MODEL, by
from deploy.rules.requests import ERROR_BUDGET, ERRORS, LATENCY_BUDGET, LONGER, SLOW, SLOW_ONES
from deploy.rules.rule import Alert
from deploy.windows import BLOCK, Times, duration

_REPLICA = ("instance", *MODEL)
_OF = "{{ $labels.model }} {{ $labels.version }}"
_FULL = 0.8  # share of the queue
_LEAST = 10  # requests that went wrong: one of three is a third, and no reason to wake anybody
# Beyond so many times the budget over the long window, and still over the short one. The month's budget would be gone
# in 2 days, or in 5 (Beyer et al., The Site Reliability Workbook, chapter 5).
_BURNS = {"page": (14.4, "1h", "5m"), "ticket": (6.0, "6h", "30m")}


def replica_alerts(times: Times) -> Iterator[Alert]:
    """Those of one replica."""
    of = f'{{job="{names.JOB}"}}'
    # A server's start, and Prometheus's finding it, take the time they take, however fast the rest is.
    away = duration(max(times.seconds(300), 30))
    yield Alert(
        "LatentserveReplicaNotReady",
        f"min {by(*_REPLICA)} ({names.READY}{of}) == 0\nor max {by('instance')} (up{of}) == 0\nor absent(up{of})",
        "page",
        "Not ready: {{ or $labels.instance `every replica` }} {{ $labels.model }} {{ $labels.version }}",
        "It has not been scraped, or a worker's model is not verified, warmed and passing its golden probes, for "
        f"{away}. If no instance is named, there is none to scrape.",
        away,
    )
    yield Alert(
        "LatentserveWorkerRestarting",
        f"sum {by('instance')} (increase({names.WORKER_RESTARTS}{of}[{times.text(900)}])) > 0",
        "ticket",
        "A worker ended and was replaced on {{ $labels.instance }}",
        f"{{{{ $value | humanize }}}} workers started in the place of one that ended, in {times.text(900)}.",
    )
    full = f"max {by(*_REPLICA)} ({names.QUEUE_ROWS}{of} / ({names.QUEUE_LIMIT}{of} > 0)) > {_FULL}"
    refused = f'{names.REJECTED}{{job="{names.JOB}", reason="queue_full"}}'
    yield Alert(
        "LatentserveQueueSaturated",
        f"{full}\nor sum {by('instance')} (increase({refused}[{times.text(120)}])) > 0",
        "ticket",
        "The queue is full on {{ $labels.instance }} {{ $labels.model }} {{ $labels.version }}",
        f"More than {_FULL:.0%} of it is taken, or requests were refused because it was full, for {times.text(120)}.",
        times.text(120),
    )


def burn_alerts(times: Times) -> Iterator[Alert]:
    """Those on the service levels."""
    for name, stem, budget, what in (
        ("LatentserveErrorBudgetBurn", ERRORS, ERROR_BUDGET, "failed"),
        ("LatentserveLatencyBudgetBurn", SLOW_ONES, LATENCY_BUDGET, f"took longer than {SLOW:g} s"),
    ):
        for severity, (factor, long, short) in _BURNS.items():
            most = f"{factor * budget:g}"
            # The records are of every BLOCK seconds, and each is a rate a second.
            wrong = f"sum_over_time({stem}:rate5m[{times.text(LONGER[long])}]) * {times.seconds(BLOCK):g} >= {_LEAST}"
            yield Alert(
                name,
                f"{stem}:ratio{long} > {most} and {stem}:ratio{short} > {most} and {wrong}",
                "page" if severity == "page" else "ticket",
                f"{{{{ $value | humanizePercentage }}}} of requests {what}: {_OF}",
                f"{factor:g} times what the service level allows, {budget:.1%}, over {long} and still over {short}.",
            )
