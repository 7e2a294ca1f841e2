"""The page on mixtures of Gaussians: the aims, the published rows, and each run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.runner import table
from latentserve.training.data.synthetic import MIXTURES

Record = dict[str, Any]

# Bounds that every figure's mean must keep: modes, high quality from and to, reverse KL, spread from and to.
AIMS = {
    "grid": {"modes": (25, 25), "high_quality": (0.96, 0.991), "kl": (0, 0.02), "spread": (0.9 * 1.378, 1.1 * 1.378)},
    "ring": {"modes": (8, 8), "high_quality": (0.97, 0.991), "kl": (0, 0.01), "spread": (0.9 * 1.378, 1.1 * 1.378)},
}

# Lin et al. 2018, table 1: mean and standard error of ten runs of 400,000 iterations of 100 points.
PUBLISHED = {
    "grid": (
        ("GAN", "17.3 ± 0.8", "94.8 ± 0.7", "0.70 ± 0.07"),
        ("ALI", "24.1 ± 0.4", "95.7 ± 0.6", "0.14 ± 0.03"),
        ("PacGAN2", "23.8 ± 0.7", "91.3 ± 0.8", "0.13 ± 0.04"),
        ("PacGAN3", "24.6 ± 0.4", "94.2 ± 0.4", "0.06 ± 0.02"),
        ("PacGAN4", "24.8 ± 0.2", "93.6 ± 0.6", "0.04 ± 0.01"),
    ),
    "ring": (
        ("GAN", "6.3 ± 0.5", "98.2 ± 0.2", "0.45 ± 0.09"),
        ("ALI", "6.6 ± 0.3", "97.6 ± 0.4", "0.36 ± 0.04"),
        ("PacGAN2", "7.9 ± 0.1", "95.6 ± 2.0", "0.07 ± 0.03"),
        ("PacGAN3", "7.8 ± 0.1", "97.7 ± 0.3", "0.10 ± 0.02"),
        ("PacGAN4", "7.8 ± 0.1", "95.9 ± 1.4", "0.07 ± 0.02"),
    ),
}
NAMES = {"grid": "25 Gaussians on a grid", "ring": "8 Gaussians on a ring"}

_HEAD = ("", "runs", "modes", "high quality, %", "reverse KL", "spread")


def report(results: Record) -> Iterator[str]:
    """The lines of the page, of all runs so far."""
    yield (
        "2,500 samples of each run; mean ± standard error over runs. High quality: within three standard deviations of "
        "the nearest Gaussian. Reverse KL: of the Gaussians' shares in those samples. Spread: their root mean square "
        "distance from the mean, in standard deviations; less than a perfect sampler's 1.378 is a generator that makes "
        "less than there is, and so is more high quality than its 98.9 %."
    )
    for data in AIMS:
        if runs := [run for run in results["runs"] if run["data"] == data]:
            yield from ("", f"## {NAMES[data]}", "", *_section(data, runs, results))


def missed(data: str, runs: list[Record]) -> list[str]:
    """The figures whose mean over runs is out of its bounds."""
    bounds = AIMS[data].items()
    return [figure for figure, (low, high) in bounds if not low <= np.mean([run[figure] for run in runs]) <= high]


def _section(data: str, runs: list[Record], results: Record) -> Iterator[str]:
    of_row = {row: [run for run in runs if run["row"] == row] for row in ("plain GAN", "recipe")}
    perfect = [one for one in results["perfect"] if one["data"] == data]
    rows: list[Sequence[object]] = [(f"{name}, published", "10", *figures, "") for name, *figures in PUBLISHED[data]]
    rows.append(("a perfect sampler", *_figures(perfect)))
    rows += [(f"recipe `{data}`" if row == "recipe" else row, *_figures(of)) for row, of in of_row.items() if of]
    yield from (*table(_HEAD, [*rows, ("aim", "10", *_aims(data))]), "")
    if of_row["recipe"]:
        out = missed(data, of_row["recipe"])
        yield f"Missed: {', '.join(out)}." if out else "All aims are met."
    one = runs[0]
    noise = results["recipes"][f"{data}, recipe"]["noise"]
    yield (
        f"Published runs took 400,000 steps of 100 points, ours {one['steps']:,} of {one['points'] // one['steps']}. "
        "The recipe's generator chooses between parts by the signs of its latent; the plain GAN's is continuous. "
        f"The recipe is told something of the answer: noise on what its critic sees goes from {noise['start']:g} to "
        f"{noise['end']:g}, the scale of the Gaussians, whose standard deviation is {MIXTURES[data].std:g}."
    )
    each = [
        (row, run["seed"], *_figures([run])[1:], f"{run['seconds']:,} ({run['cpu_seconds']:,}) of {run['together']}")
        for row, of in of_row.items()
        for run in sorted(of, key=lambda run: run["seed"])
    ]
    yield from ("", *table(("", "seed", *_HEAD[2:], "s (CPU s) of so many together"), each))


def _figures(runs: list[Record]) -> list[str]:
    return [
        str(len(runs)),
        _mean([run["modes"] for run in runs], 1),
        _mean([100 * run["high_quality"] for run in runs], 1),
        _mean([run["kl"] for run in runs], 4),
        _mean([run["spread"] for run in runs], 3),
    ]


def _aims(data: str) -> list[str]:
    aim = AIMS[data]
    (modes, _), (low, high), (_, kl), (least, most) = (aim[key] for key in ("modes", "high_quality", "kl", "spread"))
    return [f"{modes:.1f}", f"{100 * low:.1f} to {100 * high:.1f}", f"at most {kl:g}", f"{least:.3f} to {most:.3f}"]


def _mean(values: list[float], digits: int) -> str:
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1) / len(values) ** 0.5:.{digits}f}"
