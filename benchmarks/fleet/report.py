"""The tables of the fleet's measurements."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.fleet.split import ratio


def report(results: dict[str, Any]) -> str:
    """What was measured, part by part."""
    lines = ["# Alerts on a fleet"]
    for part, write in (("day", _day), ("faults", _faults), ("split", _split)):
        if part in results:
            lines += ["", *write(results[part])]
    return "\n".join(lines) + "\n"


def _settings(measured: dict[str, Any], what: str) -> str:
    return (
        f"{measured['replicas']} servers of {measured['workers']} workers, {measured['rate']:g} requests of "
        f"{measured['rows']} rows a second {what}, times of the rules divided by {measured['faster']:g}; "
        f"{measured['machine']['processor']}, {measured['machine']['cores']} cores."
    )


def _day(measured: dict[str, Any]) -> list[str]:
    found = measured["found"]
    alerts = ", ".join(f"{alert['alertname']} after {alert['at']} s" for alert in found["alerts"]) or "none"
    return [
        "## A healthy day",
        "",
        _settings(measured, "to each on average"),
        "",
        "| | |",
        "|---|---|",
        f"| days | {found['days']:g}, in {found['seconds']:,} s |",
        f"| alerts (aim 0) | {len(found['alerts'])}: {alerts} |",
        f"| requests; not answered | {found['requests']:,}; {found['requests_not_answered']} |",
        f"| replicas that were replaced by another, one at a time | {found['restarts']} |",
        f"| scrapes; missed | {found['scrapes']:,.0f}; {found['scrapes_missed']:,.0f} |",
        f"| rules that failed | {len(found['failing_rules'])} |",
    ]


def _faults(measured: dict[str, Any]) -> list[str]:
    trials = measured["found"]
    lines = [
        "## Faults on one replica",
        "",
        _settings(measured, "to each"),
        "Named: LatentserveCauseNamed fired for the faulty replica, with the right cause. Others: alerts that named "
        "another replica.",
        "",
        "| case | cause | named | seconds: median, greatest | others | alerts that fired, in how many trials |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(one["case"] for one in trials):
        own = [one for one in trials if one["case"] == name]
        seconds = [one["seconds"] for one in own if one["seconds"] is not None]
        took = f"{statistics.median(seconds):.0f}, {max(seconds):.0f}" if seconds else ""
        fired = sorted({alert.removeprefix("Latentserve") for one in own for alert in one["alerts"]})
        counted = ", ".join(f"{a} {sum(f'Latentserve{a}' in one['alerts'] for one in own)}" for a in fired)
        others = sum(bool(one["others"]) for one in own)
        lines.append(f"| {name} | {own[0]['cause']} | {len(seconds)}/{len(own)} | {took} | {others} | {counted} |")
    named = sum(one["seconds"] is not None for one in trials)
    return [*lines, "", f"Named: {named / len(trials):.1%} of {len(trials)} (aim 95 %)."]


def _split(measured: dict[str, Any]) -> list[str]:
    found = measured["found"]
    count = measured["replicas"]
    lines = [
        f"## Traffic split over {count} replicas",
        "",
        _settings(measured, "over all"),
        "Seconds from the change to LatentserveDriftEvidence, on merged counters: median, least and greatest.",
        "",
        f"| case | one replica | {count} replicas | ratio of medians (aim 1.2) |",
        "|---|---|---|---|",
    ]
    for name in dict.fromkeys(one["case"] for one in found):
        own = [one for one in found if one["case"] == name]
        shown = ratio(own)
        lines.append(
            f"| {name} | {_range(own, 1)} | {_range(own, count)} | {'' if shown is None else f'{shown:.2f}'} |"
        )
    return lines


def _range(found: list[dict[str, Any]], over: int) -> str:
    own = [one["seconds"] for one in found if one["over"] == over]
    seconds = [each for each in own if each is not None]
    missed = f"; {len(own) - len(seconds)} of {len(own)} not seen" if len(seconds) < len(own) else f"; {len(own)} times"
    return f"{statistics.median(seconds):.1f} [{min(seconds):.1f}-{max(seconds):.1f}]{missed}" if seconds else missed
