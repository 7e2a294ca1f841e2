"""Does a generator find all of a mixture's Gaussians, equally often, and only them? The recipes `ring` and `grid`.

    python -m benchmarks modes

By PacGAN's protocol (Lin et al. 2018, section 4.1): 2,500 samples of each of ten runs; a sample is of high quality
within three standard deviations of the nearest Gaussian, and a Gaussian is found that has one of high quality. Beside
the recipe stand a perfect sampler, and a plain GAN that sees as many points. Each averaged generator's samples are
those of seed 20000 + its own. Seeds train side by side, five at a time unless --together says otherwise; what is
written down already is not done again.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.quality import side_by_side
from benchmarks.quality.modes_report import report
from benchmarks.runner import Results
from latentserve.training.data import load
from latentserve.training.data.synthetic import MIXTURES, Mixture
from latentserve.training.recipe import load_config
from latentserve.training.recipe.config import Config

__all__ = ["RESUMES", "TITLE", "measure", "options", "report"]

TITLE = "Mixtures of Gaussians"
RESUMES = True

Record = dict[str, Any]

DRAWS = 2_500
SEEDS = range(10)
SAMPLE_SEED = 20_000  # added to a run's seed

# Non-saturating loss, Adam as usual since DCGAN, two hidden layers; no penalty, no noise, no average, one scale.
PLAIN = (
    "network=dense",
    "width=128",
    "loss=non-saturating",
    "gamma={start: 0, end: 0}",
    "noise={start: 0, end: 0}",
    "lr={start: 2e-4, end: 2e-4}",
    "beta1=0.5",
    "beta2={start: 0.999, end: 0.999}",
    "ema_half_life={start: 0, end: 0}",
)
ROWS = {"recipe": (), "plain GAN": PLAIN}


def score(points: NDArray[np.floating[Any]], mixture: Mixture) -> Record:
    """What a generator's samples float [N, 2] are like.

    modes           Gaussians that have a sample of high quality
    high_quality    share of samples within three standard deviations of the nearest Gaussian's mean; 1 - exp(-9/2) of
                    a perfect sampler's
    kl              of the Gaussians' shares in the samples of high quality, from equal ones, in nats
    spread          root mean square distance of the samples of high quality from the mean, in standard deviations;
                    1.378 of a perfect sampler's, and 1.414 without the cut at three
    """
    distances = np.linalg.norm(points[:, None] - mixture.means, axis=-1) / mixture.std
    nearest, distance = distances.argmin(axis=1), distances.min(axis=1)
    good = distance < 3
    counts = np.bincount(nearest[good], minlength=len(mixture.means))
    shares = counts[counts > 0] / max(1, good.sum())
    return {
        "modes": int((counts > 0).sum()),
        "high_quality": float(good.mean()),
        "kl": float((shares * np.log(shares * len(counts))).sum()) if good.any() else float("nan"),
        "spread": float(np.sqrt((distance[good] ** 2).mean())) if good.any() else float("nan"),
    }


@torch.no_grad()
def sample(generator: nn.Module, latent: int, seed: int) -> NDArray[np.float32]:
    """Samples float32 [DRAWS, 2] of the averaged generator of a run."""
    z = np.random.default_rng(SAMPLE_SEED + seed).standard_normal((DRAWS, latent), np.float32)
    points: torch.Tensor = generator(torch.from_numpy(z))
    return points.numpy()


def perfect(data: str) -> list[Record]:
    """Scores of as many draws of the mixture itself."""
    mixture = MIXTURES[data]
    return [
        {"data": data, "row": "perfect", "seed": seed, **score(mixture.draw(DRAWS, SAMPLE_SEED + seed), mixture)}
        for seed in SEEDS
    ]


def trained(data: str, row: str, config: Config, seeds: list[int]) -> list[Record]:
    """Scores of runs that train side by side, and what all of them took together."""
    dataset = load(data, None)
    wall, processor = time.monotonic(), time.process_time()

    def watch(seen: int) -> None:
        seconds = time.monotonic() - wall
        print(f"{data}, {row}, seeds {seeds}: {seen:,} of {config.images:,} points, {seconds:.0f} s", flush=True)

    generators = side_by_side.train(config, dataset, seeds, watch)
    took = {"seconds": round(time.monotonic() - wall), "cpu_seconds": round(time.process_time() - processor)}
    return [
        {
            "data": data,
            "row": row,
            "seed": seed,
            **score(sample(generator, config.latent, seed), MIXTURES[data]),
            "points": config.images,
            "steps": -(-config.images // config.batch),
            "together": len(seeds),
            **took,
        }
        for seed, generator in zip(seeds, generators, strict=True)
    ]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", choices=tuple(MIXTURES), nargs="+", default=list(MIXTURES))
    parser.add_argument("--rows", choices=tuple(ROWS), nargs="+", default=list(ROWS))
    parser.add_argument("--together", type=int, default=5, help="seeds that train side by side")


def measure(given: argparse.Namespace, results: Results) -> None:
    """All runs that are not written down."""
    runs = results.setdefault("runs", [])
    results["perfect"] = [record for data in MIXTURES for record in perfect(data)]
    for data in given.data:
        for row in given.rows:
            config = load_config(data, ROWS[row])
            results.setdefault("recipes", {})[f"{data}, {row}"] = config.model_dump(mode="json")
            done = {run["seed"] for run in runs if (run["data"], run["row"]) == (data, row)}
            left = [seed for seed in SEEDS if seed not in done]
            for start in range(0, len(left), given.together):
                runs += trained(data, row, config, left[start : start + given.together])
                results.save()
