"""Do generated rows of a table of people give away who was trained on, and are they as useful as real ones?

    python -m benchmarks privacy --adult ADULT.csv.gz

The recipe `adult` as it ships, once for each of five seeds, on SDGym's 22,561 training rows; the other 10,000 are held
out. Classifiers trained on its rows are tested on those (SDGym's protocol, F1 of >50K), beside classifiers that are
trained on the training rows. `dcr` and `membership` are those of `latentserve evaluate`, against an attacker who has
10,000 samples, as a bundle's card says it, and one who has 100,000. Beside the recipe play: other held-out rows (the
floor); training rows that the attacker is not asked about; and training rows again, each number changed by a thousandth
of its deviation: what was learnt by heart. Runs are kept under --runs and go on where they stopped; what is written
down already is not done again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import decimals
from benchmarks.quality.tabular_protocol import adult, utility
from benchmarks.quality.tabular_utility import real, sampled, trained
from benchmarks.runner import Results, table
from latentserve.training.data import Dataset
from latentserve.training.evaluation.features import plain_space
from latentserve.training.evaluation.privacy import DCR, MEMBERSHIP, PrivacyBaseline
from latentserve.training.evaluation.reals import SEPARATE, Reals
from latentserve.training.evaluation.resampling import Floats, Measured
from latentserve.training.evaluation.statistic import Statistic
from latentserve.training.evaluation.views import view_of
from latentserve.training.recipe import load_config

TITLE = "What generated rows of people give away"
RESUMES = SHORT = True

Record = dict[str, Any]

SEEDS = (0, 1, 2, 3, 4)
SAMPLES = (10_000, 100_000)  # that the attacker has
FEW, FEW_IMAGES = (1_000, 2_000), 20_000  # of the short form
AIM = 0.96  # F1 over that of real rows
CHANGED = 1e-3  # of a column's standard deviation


def learnt_by_heart(train: Dataset, count: int, seed: int) -> NDArray[np.float32]:
    """Training rows again, numbers a little changed."""
    chance = np.random.default_rng(seed)
    rows = train.take(chance.integers(0, len(train), count))
    for at, column in enumerate(train.columns or []):
        if column.categories is None:
            noise = chance.standard_normal(count).astype(np.float32)
            rows[:, at] += np.float32(CHANGED * rows[:, at].std()) * noise
    return rows


def told(statistic: Statistic) -> Record:
    """What is written down of one, with its draws, which runs that are held against the same records share."""
    drawn = [] if statistic.measured.drawn is None else [round(float(one), 5) for one in statistic.measured.drawn]
    return {**statistic.to_json(), "drawn": drawn}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--adult", type=Path, required=True, help="UCI Adult's training rows, a CSV file")
    parser.add_argument("--runs", type=Path, default=Path("runs/privacy"), help="where runs are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))


def measure(given: argparse.Namespace, results: Results) -> None:
    """All runs that are not written down. The short form is one seed of a tenth of the images, and few samples."""
    counts, shorter = (FEW, (f"images={FEW_IMAGES}",)) if given.short else (SAMPLES, ())
    folder = given.runs / "short" if given.short else given.runs
    problem = adult(given.adult)
    reals = Reals(problem.train, problem.test, SEPARATE, "", ())
    baseline: PrivacyBaseline | None = None
    results.setdefault("recipe", load_config("adult").model_dump(mode="json"))
    runs = results.setdefault("runs", [])

    def add(row: str, seed: int, rows: NDArray[np.float32], more: Record) -> None:
        nonlocal baseline
        if baseline is None:
            print("records of both parts, and their floors", flush=True)
            baseline = PrivacyBaseline(reals, plain_space(view_of(problem.train), problem.train))
        features: Floats = baseline.features(rows)
        for count in counts:
            found = {one.name: told(one) for one in baseline.measure(features[:count])}
            runs.append({"row": row, "seed": seed, "samples": count, **found, **more})
        print(row, seed, {name: found[name]["value"] for name in found}, more, flush=True)
        results.save()

    for seed in given.seeds[:1] if given.short else given.seeds:
        done = {run["row"] for run in runs if run["seed"] == seed}
        if "recipe" not in done:
            config = load_config("adult", (f"seed={seed}", *shorter))
            run = folder / f"adult-{seed}"
            print(f"seed {seed}: training in {run}", flush=True)
            values, took = trained(problem, config, run)
            print(f"seed {seed}: trained ({took}); classifiers", flush=True)
            scores = {"score": utility(values, problem, seed)["mean"]}
            scores["real"] = utility(real(problem, seed), problem, seed)["mean"]
            add("recipe", seed, sampled(problem, config, run, max(counts))[0], scores | took)
        if "by heart" not in done:
            add("by heart", seed, learnt_by_heart(problem.train, max(counts), seed), {})


def report(results: Results) -> Iterator[str]:
    """The lines of the page."""
    yield (
        "`dcr`: share of samples whose closest record was trained on, among as many held-out ones. `membership`: how "
        "often DOMIAS tells a training record from a held-out one; recognised: training records that it names while it "
        "mistakes 1 % of others. Mean over seeds, with the 95 % interval of draws of records, which all seeds share. "
        "Held-out rows: others than those that the attacker is asked about, in the samples' place; training rows: the "
        "same of training rows. By heart: training rows again, each number changed by a thousandth of its deviation."
    )
    recipe = [run for run in results["runs"] if run["row"] == "recipe"]
    if recipe:
        yield from ("", "## adult: who was trained on", "", *_privacy(results["runs"], recipe[0]))
        yield from ("", "## adult: F1 of >50K", "", *_utility(list({run["seed"]: run for run in recipe}.values())))


def _privacy(runs: list[Record], one: Record) -> Iterator[str]:
    rows: list[tuple[object, ...]] = []
    for count in sorted({run["samples"] for run in runs}):
        for row, name in (("recipe", "recipe `adult`"), ("by heart", "by heart")):
            if of := [run for run in runs if (run["row"], run["samples"]) == (row, count)]:
                recognised = float(np.mean([run[MEMBERSHIP]["recognised"] for run in of]))
                found = (_mean([run[each] for run in of]) for each in (DCR, MEMBERSHIP))
                rows.append((f"{name}, {len(of)} seeds", f"{count:,}", *found, f"{recognised:.1%}"))
    held = (f"{one[each]['floor']:.1%}" for each in (DCR, MEMBERSHIP))
    trained_on = (f"{one[each]['training_rows']:.1%}" for each in (DCR, MEMBERSHIP))
    known, attacked = one[DCR]["records"] // 2, one[MEMBERSHIP]["attacked"]
    rows.append(("held-out rows", "", *held, f"{one[MEMBERSHIP]['recognised_floor']:.1%}"))
    rows.append(("training rows", "", *trained_on, ""))
    yield from table(("", "samples", "dcr", "membership", "recognised"), rows)
    yield (
        f"\nSamples are held against {known:,} training records and as many held-out ones; the attacker is asked about "
        f"{attacked:,} of these, half of them trained on, and has the other {known - attacked // 2:,} held-out ones. "
        f"Distances are in `{one[DCR]['space']}`."
    )


def _utility(runs: list[Record]) -> list[str]:
    mean = float(np.mean([run["score"] for run in runs]) / np.mean([run["real"] for run in runs]))
    spread = float(np.std([run["score"] / run["real"] for run in runs], ddof=1)) if len(runs) > 1 else float("nan")
    rows: list[tuple[object, ...]] = [
        (run["seed"], *(f"{score:.3f}" for score in (run["score"], run["real"], run["score"] / run["real"])),
         f"{run['seconds']} ({run['cpu_seconds']})")
        for run in sorted(runs, key=lambda run: int(run["seed"]))
    ]  # fmt: skip
    rows += [("mean", "", "", f"{decimals(mean, 3, AIM)} ± {spread:.3f}", ""), ("aim", "", "", f"at least {AIM:g}", "")]
    return table(("seed", "recipe", "real rows", "over real", "s (CPU s)"), rows)


def _mean(found: list[Record]) -> str:
    """Of the same statistic of several seeds."""
    value = float(np.mean([one["value"] for one in found]))
    interval = Measured(value, np.mean([one["drawn"] for one in found], axis=0)).interval()
    return f"{value:.1%}" + (f" ({interval[0]:.1%} to {interval[1]:.1%})" if interval else "")
