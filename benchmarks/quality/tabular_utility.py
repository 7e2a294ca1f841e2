"""Are classifiers that are trained on generated rows as good as those trained on real ones? By SDGym's protocol.

    python -m benchmarks.quality.tabular_utility adult ADULT.csv.gz --out benchmarks/results/tabular-utility
    python -m benchmarks.quality.tabular_utility mnist28 MNIST_FOLDER --out benchmarks/results/tabular-utility

Classifiers are trained on as many generated rows as there are training rows, and tested on rows that no generator saw:
of `adult` the last 10,000 of the order of seed 0, of `mnist28` MNIST's test images. The recipe is trained on the
training rows alone, once for each of three seeds, and judged at the end of its budget: no checkpoint is chosen.
`mnist` is trained in bfloat16, which the processor must have: it takes 0.65 of the time. `real` are the training rows
themselves; beside them stand columns drawn one by one (independent), and anything (uniform). Latents and labels of seed
s are the server's own of seed 20000 + s, classifiers have the seed s. Runs are kept under --runs and go on where they
stopped; what is written down already is not done again. Writes DIR.json as it goes on, and DIR.md.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch

from benchmarks.machine import describe_machine
from benchmarks.quality.tabular_protocol import PROBLEMS, Problem, Values, independent, uniform, utility
from benchmarks.quality.tabular_report import report
from latentserve.service.bundle import Latent
from latentserve.service.sampling.latents import draw_labels, draw_latents
from latentserve.training import networks
from latentserve.training.recipe import load_config
from latentserve.training.recipe.config import Config
from latentserve.training.run import CHECKPOINT, checkpoint, loop, prepare

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
    return sampled(problem, config, run), {"images": images, "seconds": round(seconds), "cpu_seconds": round(spent)}


@torch.no_grad()
def sampled(problem: Problem, config: Config, run: Path) -> Values:
    """Rows of the labels that are drawn as a server draws them."""
    description = checkpoint.description(run / CHECKPOINT, problem.train.description)
    generator, critic = networks.build(config, description)
    checkpoint.load_networks(run / CHECKPOINT, average=generator)
    generator = networks.of_samples(generator, critic, description)[0].eval()
    seed, count = SAMPLE_SEED + config.seed, len(problem.train)
    shares = np.array(description.label_counts) / count
    labels = draw_labels(config.latent, shares.tolist(), seed, 0, count)
    z = draw_latents(Latent(dim=config.latent), seed, 0, count)
    parts = zip(torch.from_numpy(z).split(BATCH), torch.from_numpy(labels).split(BATCH), strict=True)
    return problem.values(np.concatenate([generator(*part).numpy() for part in parts]), labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem", choices=tuple(PROBLEMS))
    parser.add_argument("data", type=Path, help="adult's CSV file, MNIST's folder")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where .json and .md go, without suffix")
    parser.add_argument("--runs", type=Path, default=Path("runs/tabular-utility"), help="where runs are kept")
    parser.add_argument("--rows", choices=ROWS, nargs="+", default=list(ROWS))
    arguments = parser.parse_args()

    path = arguments.out.with_suffix(".json")
    results: Record = json.loads(path.read_text()) if path.exists() else {"machine": describe_machine(), "runs": []}
    results["versions"] = {"torch": torch.__version__, "scikit-learn": sklearn.__version__}
    recipe, changed = RECIPES[arguments.problem]
    results.setdefault("recipes", {})[arguments.problem] = load_config(recipe, changed).model_dump(mode="json")
    problem = PROBLEMS[arguments.problem](arguments.data)
    for row in arguments.rows:
        for seed in SEEDS:
            key = (arguments.problem, row, seed)
            if key in [(run["problem"], run["row"], run["seed"]) for run in results["runs"]]:
                continue
            took: Record = {}
            if row == "recipe":
                config = load_config(recipe, (*changed, f"seed={seed}"))
                values, took = trained(problem, config, arguments.runs / f"{arguments.problem}-{seed}")
            else:
                values = BESIDE[row](problem, seed)
            scores = utility(values, problem, seed)
            print(*key, scores, flush=True)
            results["runs"].append(dict(zip(("problem", "row", "seed"), key, strict=True)) | {"scores": scores, **took})
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(results, indent=1) + "\n")
            path.with_suffix(".md").write_text(report(results))


if __name__ == "__main__":
    main()
