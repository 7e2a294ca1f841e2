"""The page of `benchmarks.training.supervision`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from benchmarks.runner import table
from benchmarks.training.faults import FAULTS, HEALTHY, TINY
from latentserve.training.recipe import load_config

Record = dict[str, Any]


def report(results: Record) -> Iterator[str]:
    """The lines of the page."""
    if runs := results["faulty"]:
        yield (
            "Frechet distance (less is better) and agreement with a classifier: medians over seeds, without and with "
            "the supervisor. Delay: images from the fault to its first accepted name, of "
            f"{load_config('digits', TINY).images:,}."
        )
        rows = [_healthy_row(name, [run for run in runs if run["fault"] == name]) for name in HEALTHY]
        rows += [_row(name, [run for run in runs if run["fault"] == name]) for name in FAULTS]
        head = ("fault", "accepted names", "mendable", "detected", "delay", "Frechet", "agreement", "less Frechet")
        yield from ("", *table(head, rows))
        if found := [run["detected_after"] is not None for run in runs if run["supervise"] == "act"]:
            interval = binomtest(sum(found), len(found)).proportion_ci(method="wilson")
            yield ""
            yield (
                f"Detected by an accepted name: {sum(found)} of {len(found)} "
                f"({interval.low:.0%} to {interval.high:.0%}, Wilson)."
            )
    if results["healthy"]:
        rows = []
        for recipe in dict.fromkeys(run["recipe"] for run in results["healthy"]):
            of = [run for run in results["healthy"] if run["recipe"] == recipe]
            actions = [name for run in of for _, _, name in run["actions"]]
            changes = sum(name != "tell" for name in actions)
            compared = [run["same_weights"] for run in of if run["same_weights"] is not None]
            same = f"{sum(compared)}{'' if len(compared) == len(of) else f' of {len(compared)} compared'}"
            rows.append((recipe, len(of), changes, len(actions) - changes, same))
        head = ("healthy recipe", "runs", "changes", "wrong alarms", "same weights as without")
        yield from ("", *table(head, rows))
        changed = sum(any(name not in ("tell", "skip") for _, _, name in run["actions"]) for run in results["healthy"])
        yield ""
        yield f"Of {len(results['healthy'])} healthy runs {changed} were changed."


def _healthy_row(name: str, runs: list[Record]) -> Sequence[object]:
    if not runs:
        return name, *[""] * 7
    frechet, agreement = np.median([_frechet(run) for run in runs]), np.median([run["agreement"] for run in runs])
    return name, *[""] * 4, f"{frechet:.3f}", f"{agreement:.2f}", ""


def _row(name: str, runs: list[Record]) -> Sequence[object]:
    fault = FAULTS[name]
    about = (name, ", ".join(fault.accepted), "yes" if fault.mendable else "no")
    by = {mode: {run["seed"]: run for run in runs if run["supervise"] == mode} for mode in ("off", "act")}
    pairs = [(by["off"][seed], by["act"][seed]) for seed in by["off"].keys() & by["act"].keys()]
    if not pairs:
        return *about, *[""] * 5
    delays = [run["detected_after"] for _, run in pairs if run["detected_after"] is not None]
    frechet = [f"{np.median([_frechet(pair[at]) for pair in pairs]):.3f}" for at in range(2)]
    agreement = [f"{np.median([pair[at]['agreement'] for pair in pairs]):.2f}" for at in range(2)]
    better = sum(_frechet(act) < _frechet(off) for off, act in pairs)
    delay = f"{np.median(delays):,.0f}" if delays else ""
    found = (f"{len(delays)}/{len(pairs)}", delay, ", ".join(frechet), ", ".join(agreement))
    return *about, *found, f"{better}/{len(pairs)}"


def _frechet(run: Record) -> float:
    return np.inf if run["frechet"] is None else float(run["frechet"])
