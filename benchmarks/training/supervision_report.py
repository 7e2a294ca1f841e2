"""The results of `benchmarks.training.supervision` as a page."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import binomtest

from benchmarks.training.faults import FAULTS, HEALTHY, TINY
from latentserve.training.recipe import load_config

Record = dict[str, Any]


def report(results: Record) -> str:
    """Markdown."""
    lines = ["# What the supervisor is worth", ""]
    machine = results["machine"]
    lines += [f"{machine['processor']}, {machine['cores']} cores, torch {results['torch']}.", ""]
    runs = results["faulty"]
    if runs:
        lines += [
            "Frechet distance (less is better) and agreement with a classifier: medians over seeds, without and with "
            "the supervisor. Delay: images from the fault to its first accepted name, of "
            f"{load_config('digits', TINY).images:,}.",
            "",
            "| fault | accepted names | mendable | detected | delay | Frechet | agreement | less Frechet |",
            "|---|---|---|---|---|---|---|---|",
        ]
        lines += [_healthy_row(name, [run for run in runs if run["fault"] == name]) for name in HEALTHY]
        lines += [_row(name, [run for run in runs if run["fault"] == name]) for name in FAULTS]
        found = [run["detected_after"] is not None for run in runs if run["supervise"] == "act"]
        if found:
            interval = binomtest(sum(found), len(found)).proportion_ci(method="wilson")
            lines += [
                "",
                f"Detected by an accepted name: {sum(found)} of {len(found)} "
                f"({interval.low:.0%} to {interval.high:.0%}, Wilson).",
            ]
    if results["healthy"]:
        lines += [
            "",
            "| healthy recipe | runs | changes | wrong alarms | same weights as without |",
            "|---|---|---|---|---|",
        ]
        for recipe in dict.fromkeys(run["recipe"] for run in results["healthy"]):
            of = [run for run in results["healthy"] if run["recipe"] == recipe]
            actions = [name for run in of for _, _, name in run["actions"]]
            changes = sum(name != "tell" for name in actions)
            same = sum(run["same_weights"] for run in of)
            lines.append(f"| {recipe} | {len(of)} | {changes} | {len(actions) - changes} | {same} |")
    return "\n".join(lines) + "\n"


def _healthy_row(name: str, runs: list[Record]) -> str:
    if not runs:
        return f"| {name} | | | | | | | |"
    frechet, agreement = np.median([_frechet(run) for run in runs]), np.median([run["agreement"] for run in runs])
    return f"| {name} | | | | | {frechet:.3f} | {agreement:.2f} | |"


def _row(name: str, runs: list[Record]) -> str:
    fault = FAULTS[name]
    by = {mode: {run["seed"]: run for run in runs if run["supervise"] == mode} for mode in ("off", "act")}
    pairs = [(by["off"][seed], by["act"][seed]) for seed in by["off"].keys() & by["act"].keys()]
    if not pairs:
        return f"| {name} | {', '.join(fault.accepted)} | {fault.mendable} | | | | | |"
    delays = [run["detected_after"] for _, run in pairs if run["detected_after"] is not None]
    frechet = [np.median([_frechet(pair[at]) for pair in pairs]) for at in range(2)]
    agreement = [np.median([pair[at]["agreement"] for pair in pairs]) for at in range(2)]
    better = sum(_frechet(act) < _frechet(off) for off, act in pairs)
    return (
        f"| {name} | {', '.join(fault.accepted)} | {'yes' if fault.mendable else 'no'} | {len(delays)}/{len(pairs)} | "
        f"{f'{np.median(delays):,.0f}' if delays else ''} | {frechet[0]:.3f}, {frechet[1]:.3f} | "
        f"{agreement[0]:.2f}, {agreement[1]:.2f} | {better}/{len(pairs)} |"
    )


def _frechet(run: Record) -> float:
    return np.inf if run["frechet"] is None else float(run["frechet"])
