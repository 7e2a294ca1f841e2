"""The page on golden probes: the aim, the curve, and what probes more or fewer would have found."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.stats import beta

from benchmarks.runner import table

Record = dict[str, Any]

AIM_DB, AIM_SHARE = 60.0, 0.99

_STEP_DB = 10
_MOST_DB = 130  # the last step has all above
_COUNTS = (1, 4, 8, 16, 32, 64)  # of probes


def report(results: Record) -> Iterator[str]:
    """The lines of the page."""
    seeds = results["seeds"]
    yield (
        f"Faults on one thread; seeds: faults {seeds['faults']}, fresh latents {seeds['latents']}. Intervals hold 95 % "
        "(Clopper and Pearson)."
    )
    yield ""
    yield (
        "PSNR is that of the mean squared error over 1,000 fresh latents, the peak being the span of the value range; "
        "a value that is not finite counts as off by the span. Fewer latents are run where it is certain already that "
        "1,000 stay below 60 dB, and of faults that were found and are above 70 dB."
    )
    head = (
        "generator", "probes", "tolerance", "faults", f"below {AIM_DB:g} dB", "of them found in one replay", "aim",
        "false in single replays", "furthest off", "CPU s",
    )  # fmt: skip
    yield from ("", *table(head, map(_summary, results["generators"])))
    for found in results["generators"]:
        yield from ("", f"## {_name(found)}", "", *_details(found))


def visible(found: Record) -> list[Record]:
    """The faults that must be found."""
    return [fault for fault in found["faults"] if fault["psnr"] < AIM_DB]


def _name(found: Record) -> str:
    labels = f", {found['labels']} labels" if found["labels"] else ""
    return f"{found['generator']} {found['version']} ({found['weights']:,} weights{labels})"


def _summary(found: Record) -> list[str]:
    healthy, below = found["healthy"], visible(found)
    return [
        _name(found),
        str(found["probes"]),
        f"{found['tolerance']:.2g}",
        str(len(found["faults"])),
        str(len(below)),
        _share(below),
        f">= {AIM_SHARE:.0%}",
        f"{healthy['mismatches']} of {healthy['replays']:,}",
        f"{healthy['largest_difference']:.2g}",
        f"{found['cpu_seconds']:.0f}",
    ]


def _details(found: Record) -> Iterator[str]:
    faults = found["faults"]
    steps = []
    for low in range(0, _MOST_DB + 1, _STEP_DB):
        high = math.inf if low == _MOST_DB else low + _STEP_DB
        within = [fault for fault in faults if (low <= fault["psnr"] or low == 0) and fault["psnr"] < high]
        shown = f"{low} and more" if low == _MOST_DB else f"{low} to {high:g}" if low else f"below {high:g}"
        steps.append((shown, len(within), _share(within)))
    yield from table(("PSNR, dB", "faults", "found"), steps)
    groups: dict[str, list[Record]] = {}
    for fault in faults:
        groups.setdefault(_group(fault), []).append(fault)
    kinds = []
    for name, of_kind in groups.items():
        below = [fault for fault in of_kind if fault["psnr"] < AIM_DB]
        kinds.append((name, len(of_kind), _share(of_kind), len(below), _share(below)))
    yield from ("", *table(("kind", "faults", "found", f"below {AIM_DB:g} dB", "of them found"), kinds), "")
    yield (
        f"Of the faults below {AIM_DB:g} dB, the share that so many probes with latents from the prior find on average "
        "(by the share of fresh latents that show each): "
        + ", ".join(f"{count}: {_expected(visible(found), count)}" for count in _COUNTS)
        + "."
    )
    if missed := sorted((fault for fault in visible(found) if not fault["found"]), key=lambda fault: fault["psnr"]):
        head = (f"missed below {AIM_DB:g} dB", "PSNR, dB", "share of fresh latents that show it")
        shown_by = [(f"{one['kind']}: {one['detail']}", f"{one['psnr']:.1f}", f"{one['seen']:.3f}") for one in missed]
        yield from ("", *table(head, shown_by))


def _group(fault: Record) -> str:
    """The kind of a fault; of a flip, which part of a float32 it is in."""
    if fault["kind"] != "bit flip":
        return str(fault["kind"])
    bit = int(fault["detail"].split()[1])
    parts = {16: "mantissa, lower 16", 23: "mantissa, upper 7", 31: "exponent", 32: "sign"}
    return "bit flip, " + next(part for end, part in parts.items() if bit < end)


def _expected(faults: list[Record], probes: int) -> str:
    if not faults:
        return "-"
    return f"{100 * np.mean([1 - (1 - fault['seen']) ** probes for fault in faults]):.2f} %"


def _share(faults: list[Record]) -> str:
    """The share that was found, in percent, with its interval."""
    if not faults:
        return "-"
    n, hits = len(faults), sum(fault["found"] for fault in faults)
    low = beta.ppf(0.025, hits, n - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, n - hits) if hits < n else 1.0
    return f"{100 * hits / n:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
