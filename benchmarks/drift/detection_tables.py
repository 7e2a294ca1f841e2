"""The page of the benchmark `detection`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.figures import decimals
from benchmarks.runner import table

Record = dict[str, Any]

_AIM_CUSUM = {1e4: 1.5, 1e6: 1.3}


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    plan, parts = results["plan"], results["parts"]
    records = [record for part in parts.values() for record in part["records"]]
    yield (
        f"{sum(part['minutes'] for part in parts.values()):.0f} minutes. "
        f"{plan['streams']} streams a cell, {plan['beside']} beside the peers and where a run length is a million. "
        "Delays are medians of rows from the change to the alarm, inf where half of the streams missed it; streams "
        "that alarmed before are left out. In brackets: 95 % limits, of medians and ratios by bootstrap over streams, "
        "of run lengths of an exponential's mean, each one-sided. Ours has a reference of its own for each stream "
        "of a signal (100,000 rows where nothing else is said), and is not calibrated on anything else. "
        f"Peers: {_versions(parts)}."
    )
    yield from ("", "## How well", "", *table(("", "value", "aim"), how_well(records)), "")
    yield from (f"Absent: {name} ({part['absent']})." for name, part in parts.items() if "absent" in part)
    for part, (title, columns, row) in _TABLES.items():
        rows = (row(record) for record in records if record["part"] == part)
        yield from ("", f"## {title}", "", *table(columns, rows))


def how_well(records: Sequence[Record]) -> Iterator[tuple[str, str, str]]:
    """The rows of the table of aims."""
    kept = [record for record in records if record["part"] == "run length"]
    least = min((record["realised"]["high"] / record["promised"] for record in kept), default=math.nan)
    low = min((record["realised"]["value"] / record["promised"] for record in kept), default=math.nan)
    yield (
        f"upper 95 % limit of the realised run length over the promised, the worst of {len(kept)} cells",
        f"{decimals(least, 2, 1)} (its estimate: {decimals(low, 2, 1)})",
        ">= 1",
    )
    for signals, what in ((1, "one signal"), (12, "twelve signals averaged, over a bank of twelve CUSUMs")):
        for run_length, aim in _AIM_CUSUM.items():
            cells = [r for r in records if r["part"] == "CUSUM" and r["signals"] == signals]
            own = {r["shift"]: r["ratio"] for r in cells if r["promised"] == run_length}
            yield (
                f"{what}: delay over the CUSUM told the shift, 0.25 / 0.5 / 1 sigma, run length {run_length:.0e}",
                " / ".join(_ratio(own[shift], aim) for shift in (0.25, 0.5, 1.0) if shift in own),
                f"<= {aim}" if signals == 1 else "-",
            )
    joint = [record for record in records if record["part"] == "alibi-detect"]
    for features in dict.fromkeys(record["features"] for record in joint):
        for drift in dict.fromkeys(record["drift"] for record in joint):
            cells = [r for r in joint if r["features"] == features and r["drift"] == drift]
            best = min(cells, key=lambda r: r["theirs"]["value"])
            value = f"{_ratio(best['ratio'], 1)} (window {best['window']})"
            yield (
                f"features ({features}), {drift}: delay over online MMD with its best window, run length 1e3",
                value,
                "<= 1",
            )
    for peer in ("ADWIN", "PageHinkley", "KSWIN"):
        cells = [record for record in records if record["part"] == "river" and record["peer"] == peer]
        if cells:
            value = " / ".join(_ratio(record["ratio"], 1) for record in cells)
            yield f"delay over {peer}, 0.25 / 0.5 / 1 sigma, run length {cells[0]['promised']:.0e}", value, "< 1"


def _run_length_row(record: Record) -> list[str]:
    return [
        record["signal"],
        str(record["signals"]),
        f"{record['reference_rows']:,}",
        f"{record['promised']:.0e}",
        f"{record['streams']} x {record['rows']:,} in blocks of {record['block']}",
        str(record["alarms"]),
        _interval(record["realised"]),
    ]


def _cusum_row(record: Record) -> list[str]:
    return [str(record["signals"]), f"{record['promised']:.0e}", str(record["shift"]), *_delays(record)]


def _river_row(record: Record) -> list[str]:
    setting = f"{record['peer']} ({record['setting']:.3g})"
    return [
        setting,
        f"{record['promised']:.0e}",
        _interval(record["peer_realised"]),
        str(record["shift"]),
        *_delays(record),
    ]


def _mmd_row(record: Record) -> list[str]:
    realised = _interval(record["peer_realised"])
    return [record["drift"], record["features"], str(record["window"]), realised, *_delays(record)]


_DELAYS = ("ours", "theirs", "ratio", "missed, ours / theirs")
_TABLES = {
    "run length": (
        "The run length promised and kept",
        ("signal", "signals", "reference", "promised", "streams", "alarms", "realised"),
        _run_length_row,
    ),
    "CUSUM": ("One signal that shifts, over CUSUM", ("signals", "run length", "shift", *_DELAYS), _cusum_row),
    "river": (
        "One signal that shifts, over river (the threshold found in brackets)",
        ("peer", "run length", "its realised", "shift", *_DELAYS),
        _river_row,
    ),
    "alibi-detect": (
        "A generator's features, over alibi-detect's online MMD",
        ("drift", "ours sees", "window", "its realised run length", *_DELAYS),
        _mmd_row,
    ),
}


def _delays(record: Record) -> list[str]:
    missed = " / ".join(f"{share:.0%}" for share in record["missed"])
    return [_interval(record["ours"]), _interval(record["theirs"]), _ratio(record["ratio"]), missed]


def _interval(figure: dict[str, float]) -> str:
    return f"{figure['value']:,.0f} [{figure['low']:,.0f}-{figure['high']:,.0f}]"


def _ratio(figure: dict[str, float], *aims: float) -> str:
    value, low, high = (decimals(figure[key], 2, *aims) for key in ("value", "low", "high"))
    return f"{value} [{low}-{high}]"


def _versions(parts: dict[str, Any]) -> str:
    packages = {name: version for part in parts.values() for name, version in part.get("versions", {}).items()}
    return ", ".join(f"{name} {packages[name]}" for name in ("river", "alibi-detect") if name in packages) or "none"
