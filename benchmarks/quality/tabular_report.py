"""The page on classifiers trained on generated rows: published rows, ours, and each run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.figures import decimals
from benchmarks.runner import table

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
SCORE_AIMS, SHARE_AIMS = {"adult": (0.63,), "mnist28": (0.88,)}, {"adult": (), "mnist28": (0.97,)}
SCORES = {"adult": "F1 of >50K", "mnist28": "accuracy"}
NAMES = {"adult": "recipe `adult`", "mnist28": "recipe `mnist` in bfloat16 (image network)"}
AGREES = 0.01  # how far our real row may be from the published one for other rows to be compared
NOTES = {
    "adult": "A classifier sees all 22,561 rows.",
    "mnist28": "There are 60,000 rows, of which a classifier sees 50,000, drawn at random, real or generated. These "
    "test images were looked at before: the recipe as it was until then (non-saturating, 200,000 images) had 0.852 on "
    "them, 0.929 of real, and was changed after that (relativistic, 600,000 images). So these are not images that "
    "chose nothing; those that `--choose` tests on would leave them so.",
}


def report(results: Record) -> Iterator[str]:
    """The lines of the page, of all runs so far."""
    yield (
        "SDGym's protocol: as many generated rows as training rows, of which a classifier sees 50,000 at the most, "
        "tested on rows that no generator saw; mean over classifiers, then mean ± standard deviation over seeds of "
        "recipe, samples and classifiers. Independent: each column drawn from its own values; uniform: anything. Seeds "
        "of samples: 20,000 more than a run's."
    )
    if results.get("choosing"):
        yield from ("", "**To choose between recipes: tested on the last 10,000 training rows, which nothing saw.**")
    for problem in PUBLISHED:
        if runs := [run for run in results["runs"] if run["problem"] == problem]:
            yield from ("", f"## {problem}: {SCORES[problem]}", "", *_section(problem, runs))


def _section(problem: str, runs: list[Record]) -> Iterator[str]:
    own = {row: [run for run in runs if run["row"] == row] for row in ("real", "recipe", "uniform", "independent")}
    mean = {row: float(np.mean([run["scores"]["mean"] for run in of])) for row, of in own.items() if of}
    published = PUBLISHED[problem]
    rows: list[Sequence[object]] = [
        (f"{name}, published", f"{score:.3f}", f"{score / published['real']:.3f}") for name, score in published.items()
    ]
    for row, of in own.items():
        if of:
            spread = np.std([run["scores"]["mean"] for run in of], ddof=1) if len(of) > 1 else float("nan")
            share = decimals(mean[row] / mean["real"], 3, *SHARE_AIMS[problem]) if "real" in mean else ""
            named = NAMES[problem] if row == "recipe" else row
            score = decimals(mean[row], 3, *SCORE_AIMS[problem])
            rows.append((f"{named}, {len(of)} seeds", f"{score} ± {spread:.3f}", share))
    rows.append(("aim", AIMS[problem], ""))
    yield from (*table(("", "score", "share of its real row"), rows), "", NOTES[problem])
    if "real" in mean:
        away = mean["real"] - published["real"]
        yield f"Our real row is {away:+.3f} from the published one" + (
            ": scores can be compared." if abs(away) <= AGREES else ": only shares of real rows can be compared."
        )
    classifiers = [name for name in runs[0]["scores"] if name != "mean"]
    each = []
    for row, of in own.items():
        for run in sorted(of, key=lambda run: run["seed"]):
            scores = (f"{run['scores'][name]:.3f}" for name in (*classifiers, "mean"))
            took = (
                (f"{run['images']:,}", f"{run['seconds']:,} ({run['cpu_seconds']:,})") if "images" in run else ("", "")
            )
            each.append((row, run["seed"], *scores, *took))
    yield from ("", *table(("", "seed", *classifiers, "mean", "images seen", "s (CPU s)"), each))
