"""Whether what clients ask for is told from what the generator does: conditions of another mix, and faults under them.

    python -m benchmarks conditions [--repetitions 20] [--rows 100000]

A generator of showers for an energy and an angle, and another one that also takes the kind of particle, each packed
here with a reference of 100,000 rows. Each trial is as in `python -m benchmarks causes`; clients choose conditions in
mixes of their own, and control samples come as the server would make them. Clean traffic must never be called
`unknown`, whatever it asks for; a fault of the generator beyond its golden probes must be found; a mix that moved must
be named.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.drift.causes import repeat
from benchmarks.drift.faults import CONDITION_CASES
from benchmarks.generators import calorimeter
from benchmarks.runner import Results, table
from latentserve.service.bundle import Condition, Latent, SampleSpec
from latentserve.service.packing.assemble import assemble_bundle

TITLE = "Conditions"
RESUMES = True
KINDS = ["electron", "photon", "pion"]
CONDITIONS = [
    Condition(name="energy", unit="GeV", range=(1, 100), prior="log-uniform"),
    Condition(name="angle", unit="degrees", range=(-45, 45)),
]

DIM, CELLS = 8, 144
_WITH_LABELS = ("another mix, of some rows and some conditions", "mode dropped, whole, another mix")  # too


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--rows", type=int, default=100_000, help="of a trial")
    parser.add_argument("--reference", type=int, help="rows of the reference; else as many as `pack` makes")
    parser.add_argument("--cases", nargs="+", choices=tuple(CONDITION_CASES), default=tuple(CONDITION_CASES))


def measure(given: argparse.Namespace, results: Results) -> None:
    """Every case so many times, of both generators; those that are written down already are not measured again."""
    results |= {"repetitions": given.repetitions, "rows": given.rows}
    done = {(one["labels"], one["case"]) for one in results.setdefault("trials", [])}
    with tempfile.TemporaryDirectory(prefix="conditions-") as scratch:
        for labels in (None, KINDS):
            left = [name for name in given.cases if (labels is not None, name) not in done]
            left = left if labels is None else [name for name in left if name in _WITH_LABELS]
            if not left:
                continue
            bundle = pack(Path(scratch) / ("plain" if labels is None else "labels"), labels, given.reference)
            for name in left:
                trials = repeat(bundle, name, CONDITION_CASES[name], given.rows, given.repetitions)
                results["trials"] += [{"labels": labels is not None, **one} for one in trials]
                results.save()


def pack(out: Path, labels: list[str] | None, reference: int | None = None) -> Path:
    """The bundle of showers."""
    assemble_bundle(
        out,
        name="showers",
        generator=calorimeter(None if labels is None else len(labels), CELLS, DIM).SerializeToString(),
        latent=Latent(dim=DIM),
        labels=labels,
        conditions=CONDITIONS,
        sample=SampleSpec(kind="array", shape=[CELLS]),
        reference_samples=reference,
    )
    return out


def right(one: dict[str, Any]) -> bool:
    """Whether a trial went as it should: its cause stands at the end, and no other was named on the way. Beside a fault
    that is found, a mix that moved may have been named before."""
    others = {"none", "condition_mix"} if one["expected"] == "unknown" else {"none"}
    return bool(one["cause"] == one["expected"] and set(one["named"]) <= {one["expected"], *others})


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    trials = results["trials"]
    yield (
        f"Two generators, {results['repetitions']} repetitions of {results['rows']:,} rows each. Aim: clean traffic is "
        "never called `unknown`; a fault is found in 18 of 20."
    )
    rows = []
    for labels in (False, True):
        for name in dict.fromkeys(one["case"] for one in trials):
            own = [one for one in trials if (one["labels"], one["case"]) == (labels, name)]
            if not own:
                continue
            took = [one["rows"] for one in own if right(one)]
            needed = f"{statistics.median(took):,.0f}, {max(took):,}" if took else ""
            unknown = sum("unknown" in one["named"] for one in own)
            control = statistics.mean(one.get("control", 0) for one in own)
            others = ", ".join(sorted({one["cause"] for one in own if not right(one)}))
            count = f"{sum(map(right, own))} of {len(own)}"
            rows.append(
                (
                    "labels" if labels else "none",
                    name,
                    own[0]["expected"],
                    count,
                    unknown,
                    needed,
                    f"{control:,.0f}",
                    others,
                )
            )
    yield from (
        "",
        *table(
            (
                "labels", "case", "cause", "right", "`unknown` named", "rows until the cause: median, greatest",
                "control rows", "otherwise",
            ),
            rows,
        ),
        "",
    )  # fmt: skip
    clean = [one for one in trials if one["expected"] != "unknown"]
    alarms = sum("unknown" in one["named"] for one in clean)
    yield f"`unknown` in clean traffic: {alarms} of {len(clean)} trials of {results['rows']:,} rows."
