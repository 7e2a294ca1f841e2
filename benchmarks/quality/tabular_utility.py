"""Are classifiers that are trained on generated rows as good as those trained on real ones? By SDGym's protocol.

    python -m benchmarks tabular-utility adult ADULT.csv.gz
    python -m benchmarks tabular-utility mnist28 MNIST_FOLDER

Classifiers are trained on as many generated rows as there are training rows, 50,000 of them at the most, and tested on
rows that no generator saw: of `adult` the last 10,000 of the order of seed 0, of `mnist28` MNIST's test images. The
recipe is trained on the training rows alone, once for each of three seeds, and judged at the end of its budget: no
checkpoint is chosen. To choose between recipes there is `--choose`, which tests on 10,000 of the training rows instead,
that nothing is trained on. `mnist` is trained in bfloat16, which the processor must have: it takes 0.65 of the time.
`real` are the training rows themselves; beside them stand columns drawn one by one (independent), and anything
(uniform). Latents and labels of seed s are the server's own of seed 20000 + s, classifiers have the seed s. Runs are
kept under --runs and go on where they stopped; what is written down already is not done again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.quality.tabular_protocol import (
    MOST_ROWS,
    PROBLEMS,
    Problem,
    Values,
    held_out,
    independent,
    uniform,
    utility,
)
from benchmarks.quality.tabular_report import report
from benchmarks.runner import Results
from latentserve.service.bundle import Latent
from latentserve.service.sampling.latents import draw_labels, draw_latents
from latentserve.training import networks
from latentserve.training.recipe import load_config
from latentserve.training.recipe.config import Config
from latentserve.training.run import CHECKPOINT, checkpoint, loop, prepare

__all__ = ["RESUMES", "TITLE", "measure", "options", "report"]

TITLE = "Classifiers trained on generated rows"
RESUMES = True

Record = dict[str, Any]

SEEDS = (0, 1, 2)
SAMPLE_SEED = 20_000  # added to a run's seed
RECIPES = {"adult": ("adult", ()), "mnist28": ("mnist", ("precision=bf16",))}
ROWS = ("real", "independent", "uniform", "recipe")
BATCH = 500


def real(problem: Problem, seed: int) -> Values:
    """The training rows."""
    return problem.values(problem.train.take(slice(None)), problem.train.labels)


BESIDE = {"real": real, "independent": independent, "uniform": uniform}


def trained(problem: Problem, config: Config, run: Path) -> tuple[Values, Record]:
    """As many rows of a recipe's averaged generator as it was trained on, the images that it saw, and the seconds that
    this took; on the processor, in this sitting alone."""
    processor = time.process_time()
    prepare(run, config)
    images = loop.train(config, problem.train, run)
    spent = time.process_time() - processor
    seconds = checkpoint.read_header(run / CHECKPOINT)["seconds"]
    values = problem.values(*sampled(problem, config, run, len(problem.train)))
    return values, {"images": images, "seconds": round(seconds), "cpu_seconds": round(spent)}


@torch.no_grad()
def sampled(problem: Problem, config: Config, run: Path, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """So many rows of a run's averaged generator, and their labels, drawn as a server draws them."""
    description = checkpoint.description(run / CHECKPOINT, problem.train.description)
    generator, critic = networks.build(config, description)
    checkpoint.load_networks(run / CHECKPOINT, average=generator)
    generator = networks.of_samples(generator, critic, description)[0].eval()
    seed, shares = SAMPLE_SEED + config.seed, np.array(description.label_counts) / len(problem.train)
    labels = draw_labels(config.latent, shares.tolist(), seed, 0, count)
    z = draw_latents(Latent(dim=config.latent), seed, 0, count)
    parts = zip(torch.from_numpy(z).split(BATCH), torch.from_numpy(labels).split(BATCH), strict=True)
    return np.concatenate([generator(*part).numpy() for part in parts]), labels


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("problem", choices=tuple(PROBLEMS))
    parser.add_argument("data", type=Path, help="adult's CSV file, MNIST's folder")
    parser.add_argument("--runs", type=Path, default=Path("runs/tabular-utility"), help="where runs are kept")
    parser.add_argument("--rows", choices=ROWS, nargs="+", default=list(ROWS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument(
        "--choose", action="store_true", help="test on held-out training rows; write with another --out"
    )


def measure(given: argparse.Namespace, results: Results) -> None:
    """All runs that are not written down."""
    runs = results.setdefault("runs", [])
    recipe, changed = RECIPES[given.problem]
    results.setdefault("recipes", {})[given.problem] = load_config(recipe, changed).model_dump(mode="json")
    problem = PROBLEMS[given.problem](given.data)
    if given.choose:
        problem, results["choosing"] = held_out(problem), True
    for row in given.rows:
        for seed in given.seeds:
            key = {"problem": given.problem, "row": row, "seed": seed}
            if any(key.items() <= run.items() for run in runs):
                continue
            took: Record = {}
            if row == "recipe":
                config = load_config(recipe, (*changed, f"seed={seed}"))
                folder = f"{given.problem}-{seed}" + ("-choosing" if given.choose else "")
                values, took = trained(problem, config, given.runs / folder)
            else:
                values = BESIDE[row](problem, seed)
            seen = {"trained_on": min(len(values), MOST_ROWS), "rows": len(values)}
            runs.append(key | seen | {"scores": utility(values, problem, seed), **took})
            print(runs[-1], flush=True)
            results.save()
