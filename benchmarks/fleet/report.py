"""The page of the fleet's measurements."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks.figures import decimals
from benchmarks.fleet.split import ratio
from benchmarks.runner import table


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page, part by part."""
    parts = {"day": _day, "faults": _faults, "split": _split}
    for part, write in parts.items():
        if part in results:
            yield from ("", *write(results[part]))


def _settings(measured: dict[str, Any], what: str) -> str:
    return (
        f"{measured['replicas']} servers of {measured['workers']} workers, {measured['rate']:g} requests of "
        f"{measured['rows']} rows a second {what}, times of the rules divided by {measured['faster']:g}."
    )


def _day(measured: dict[str, Any]) -> Iterator[str]:
    found = measured["found"]
    alerts = ", ".join(f"{alert['alertname']} after {alert['at']} s" for alert in found["alerts"]) or "none"
    rows = [
        ("days", f"{found['days']:g}, in {found['seconds']:,} s"),
        ("alerts (aim 0)", f"{len(found['alerts'])}: {alerts}"),
        ("requests; not answered", f"{found['requests']:,}; {found['requests_not_answered']}"),
        ("replicas that were replaced by another, one at a time", found["restarts"]),
        ("scrapes; missed", f"{found['scrapes']:,.0f}; {found['scrapes_missed']:,.0f}"),
        ("rules that failed", len(found["failing_rules"])),
    ]
    yield from ("## A healthy day", "", _settings(measured, "to each on average"), "", *table(("", ""), rows))


def _faults(measured: dict[str, Any]) -> Iterator[str]:
    trials = measured["found"]
    yield from ("## Faults on one replica", "", _settings(measured, "to each"))
    yield (
        "Named: LatentserveCauseNamed fired for the faulty replica, with the right cause. Others: alerts that named "
        "another replica."
    )
    rows = []
    for name in dict.fromkeys(one["case"] for one in trials):
        own = [one for one in trials if one["case"] == name]
        seconds = [one["seconds"] for one in own if one["seconds"] is not None]
        took = f"{statistics.median(seconds):.0f}, {max(seconds):.0f}" if seconds else ""
        fired = sorted({alert.removeprefix("Latentserve") for one in own for alert in one["alerts"]})
        counted = ", ".join(f"{a} {sum(f'Latentserve{a}' in one['alerts'] for one in own)}" for a in fired)
        others = sum(bool(one["others"]) for one in own)
        rows.append((name, own[0]["cause"], f"{len(seconds)}/{len(own)}", took, others, counted))
    head = ("case", "cause", "named", "seconds: median, greatest", "others", "alerts that fired, in how many trials")
    yield from ("", *table(head, rows), "")
    named = sum(one["seconds"] is not None for one in trials)
    yield f"Named: {decimals(100 * named / len(trials), 1, 95)} % of {len(trials)} (aim 95 %)."


def _split(measured: dict[str, Any]) -> Iterator[str]:
    found, count = measured["found"], measured["replicas"]
    yield from (f"## Traffic split over {count} replicas", "", _settings(measured, "over all"))
    yield "Seconds from the change to LatentserveDriftEvidence, on merged counters: median, least and greatest."
    rows = []
    for name in dict.fromkeys(one["case"] for one in found):
        own = [one for one in found if one["case"] == name]
        shown = ratio(own)
        rows.append((name, _range(own, 1), _range(own, count), "" if shown is None else decimals(shown, 2, 1.2)))
    yield from ("", *table(("case", "one replica", f"{count} replicas", "ratio of medians (aim 1.2)"), rows))


def _range(found: list[dict[str, Any]], over: int) -> str:
    own = [one["seconds"] for one in found if one["over"] == over]
    seconds = [each for each in own if each is not None]
    missed = f"; {len(own) - len(seconds)} of {len(own)} not seen" if len(seconds) < len(own) else f"; {len(own)} times"
    return f"{statistics.median(seconds):.1f} [{min(seconds):.1f}-{max(seconds):.1f}]{missed}" if seconds else missed
