"""The report on classifiers trained on generated rows, in Markdown: published rows, ours, and each run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

Record = dict[str, Any]

# SDGym's leaderboard, results of version 0.2.1.
PUBLISHED = {
    "adult": {"real": 0.662, "TVAE": 0.630, "CTGAN": 0.597, "TableGAN": 0.426, "Uniform": 0.302, "Independent": 0.175},
    "mnist28": {
        "real": 0.907,
        "TVAE": 0.772,
        "CTGAN": 0.120,
        "TableGAN": 0.079,
        "Uniform": 0.104,
        "Independent": 0.102,
    },
}
AIMS = {"adult": "at least 0.63", "mnist28": "at least 0.88, or 0.97 of our own real row"}
SCORES = {"adult": "F1 of >50K", "mnist28": "accuracy"}
NAMES = {"adult": "recipe `adult`", "mnist28": "recipe `mnist` in bfloat16 (image network)"}
AGREES = 0.01  # how far our real row may be from the published one for other rows to be compared


def report(results: Record) -> str:
    """The Markdown report of all runs so far."""
    machine, versions = results["machine"], results["versions"]
    lines = [
        "# Classifiers trained on generated rows",
        "",
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['kernel']}, Python "
        f"{machine['python']}, torch {versions['torch']}, scikit-learn {versions['scikit-learn']}. "
        "`python -m benchmarks.quality.tabular_utility adult ADULT.csv.gz --out benchmarks/results/tabular-utility`, "
        "`mnist28 MNIST_FOLDER` likewise. Seeds of samples: 20,000 more than a run's.",
        "",
        "SDGym's protocol: as many generated rows as training rows, tested on rows that no generator saw; mean over "
        "classifiers, then mean ± standard deviation over seeds of recipe, samples and classifiers. Independent: each "
        "column drawn from its own values; uniform: anything.",
    ]
    for problem in PUBLISHED:
        runs = [run for run in results["runs"] if run["problem"] == problem]
        if runs:
            lines += ["", f"## {problem}: {SCORES[problem]}", "", *_section(problem, runs)]
    return "\n".join(lines) + "\n"


def _section(problem: str, runs: list[Record]) -> Iterable[str]:
    own = {row: [run for run in runs if run["row"] == row] for row in ("real", "recipe", "uniform", "independent")}
    mean = {row: float(np.mean([run["scores"]["mean"] for run in of])) for row, of in own.items() if of}
    published = PUBLISHED[problem]
    yield from ("| | score | share of its real row |", "|---|---|---|")
    for name, score in published.items():
        yield f"| {name}, published | {score:.3f} | {score / published['real']:.3f} |"
    for row, of in own.items():
        if of:
            spread = np.std([run["scores"]["mean"] for run in of], ddof=1) if len(of) > 1 else float("nan")
            share = f"{mean[row] / mean['real']:.3f}" if "real" in mean else ""
            named = NAMES[problem] if row == "recipe" else row
            yield f"| {named}, {len(of)} seeds | {mean[row]:.3f} ± {spread:.3f} | {share} |"
    yield f"| aim | {AIMS[problem]} | |"
    if "real" in mean:
        away = mean["real"] - published["real"]
        yield ""
        yield f"Our real row is {away:+.3f} from the published one" + (
            ": scores can be compared." if abs(away) <= AGREES else ": only shares of real rows can be compared."
        )
    classifiers = [name for name in runs[0]["scores"] if name != "mean"]
    yield from ("", f"| | seed | {' | '.join(classifiers)} | mean | images seen | s (CPU s) |")
    yield f"|---|---|{'---|' * len(classifiers)}---|---|---|"
    for row, of in own.items():
        for run in sorted(of, key=lambda run: run["seed"]):
            scores = " | ".join(f"{run['scores'][name]:.3f}" for name in (*classifiers, "mean"))
            took = f"{run['images']:,} | {run['seconds']:,} ({run['cpu_seconds']:,})" if "images" in run else " | "
            yield f"| {row} | {run['seed']} | {scores} | {took} |"
