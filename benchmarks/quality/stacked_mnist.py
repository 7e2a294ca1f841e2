"""Does a generator make all 1,000 triples of digits, equally often? The recipe `stacked-mnist`.

    python -m benchmarks stacked-mnist --data MNIST_FOLDER --runs runs/stacked

By the usual protocol (Metz et al. 2017; Srivastava et al. 2017; Lin et al. 2018, section 4.2): a classifier of MNIST
names the digit in each channel of 26,000 samples; counted are the different triples, and the divergence of their shares
from equal ones. Beside it stands how sure the classifier is, without which any three blots would count for a triple.
`--rows bf16` trains the recipe in bfloat16, in 0.6 of the time where the processor has that; `residual` with residual
networks.
Samples are the averaged generator's, of seed 20000 + the run's. Goes on where it was stopped, the runs in --runs and
what is written down already included.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.quality.samples import build_cnn, train_cnn
from benchmarks.quality.stacked_mnist_report import MARKS, report
from benchmarks.runner import Results
from latentserve.training import networks
from latentserve.training.data import Dataset, load
from latentserve.training.recipe import load_config
from latentserve.training.recipe.config import Config
from latentserve.training.run import CHECKPOINT, checkpoint, images_seen, loop, prepare

__all__ = ["RESUMES", "TITLE", "measure", "options", "report"]

TITLE = "Stacked MNIST"
RESUMES = True

Record = dict[str, Any]

DRAWS = 26_000
MODES = 1_000
SURE = 0.9
SAMPLE_SEED = 20_000  # added to a run's seed
JUDGE_EPOCHS = 4
ROWS = {"recipe": (), "bf16": ("precision=bf16",), "residual": ("network=residual",)}
BATCH = 500


@torch.no_grad()
def judge_channels(judge: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """The digit in each channel of images [B, 3, 28, 28], int64 [B, 3], and how likely it is to the judge."""
    likely = judge(images.flatten(0, 1)[:, None]).softmax(1).max(1)
    return likely.indices.reshape(-1, 3), likely.values.reshape(-1, 3)


def score(digits: NDArray[np.int64], certainty: NDArray[np.floating[Any]]) -> Record:
    """What triples of digits [N, 3], each as certain as [N, 3] says, are like.

    modes   different triples
    kl      of the triples' shares from equal ones, in nats; 0.0193 +- 0.0009 of 26,000 draws from equal ones
    sure    share of channels that the judge is at least 90 % sure of
    """
    counts = np.bincount(digits @ np.array([100, 10, 1]), minlength=MODES)
    shares = counts[counts > 0] / counts.sum()
    return {
        "modes": int((counts > 0).sum()),
        "kl": float((shares * np.log(shares * MODES)).sum()),
        "sure": float((certainty >= SURE).mean()),
    }


def score_of(judge: nn.Module, batches: Iterator[Tensor]) -> Record:
    """Score of images that come in batches [B, 3, 28, 28]."""
    digits, certainty = zip(*(judge_channels(judge, images) for images in batches), strict=True)
    return score(torch.cat(digits).numpy(), torch.cat(certainty).numpy())


@torch.no_grad()
def made(generator: nn.Module, latent: int, seed: int) -> Iterator[Tensor]:
    """Samples of an averaged generator."""
    latents = np.random.default_rng(SAMPLE_SEED + seed).standard_normal((DRAWS, latent), np.float32)
    for z in torch.from_numpy(latents).split(BATCH):
        yield generator(z)


def real(test: Dataset) -> Iterator[Tensor]:
    """Triples of the held-out digits."""
    for start in range(0, DRAWS, BATCH):
        yield torch.from_numpy(test.take(slice(start, start + BATCH)))


def trained_judge(folder: Path, file: Path) -> tuple[nn.Module, Record]:
    """The classifier, trained on all of MNIST's training digits unless `file` has its weights, and what it is like."""
    if not file.exists():
        train = load("mnist", folder)
        judge = train_cnn(train.take(slice(None)), train.labels, seed=0, epochs=JUDGE_EPOCHS)
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(judge.state_dict(), file)
    judge = build_cnn().eval()
    judge.load_state_dict(load_file(file))
    test = load("mnist", folder, "test")
    with torch.no_grad():
        found = torch.cat([judge(part).argmax(1) for part in torch.from_numpy(test.take(slice(None))).split(BATCH)])
    return judge, {
        "accuracy": float((found.numpy() == test.labels).mean()),
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "seed": 0,
        "epochs": JUDGE_EPOCHS,
    }


def train_to(mark: int, config: Config, dataset: Dataset, run: Path) -> None:
    """Let a run go on until it has seen so many images, or a tick more, and save it there."""
    seen = 0

    def watch(line: Mapping[str, float]) -> None:
        nonlocal seen
        seen = int(line["images"])

    if images_seen(run) < mark:
        loop.train(config, dataset, run, lambda: seen >= mark, [watch])


def measure_run(judge: nn.Module, config: Config, dataset: Dataset, run: Path) -> Record:
    """Score of a run's averaged generator as it is now."""
    header = checkpoint.read_header(run / CHECKPOINT)
    generator = networks.build(config, dataset.description)[0].eval()
    checkpoint.load_networks(run / CHECKPOINT, average=generator)
    return {
        "seed": config.seed,
        "images": header["images_seen"],
        **score_of(judge, made(generator, config.latent, config.seed)),
        "seconds": round(header["seconds"]),
    }


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="MNIST's IDX files")
    parser.add_argument("--runs", type=Path, required=True, metavar="FOLDER", help="where runs and the classifier are")
    parser.add_argument("--rows", choices=tuple(ROWS), nargs="+", default=["recipe"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])


def measure(given: argparse.Namespace, results: Results) -> None:
    """All marks of all runs that are not written down."""
    runs = results.setdefault("runs", [])
    judge, results["judge"] = trained_judge(given.data, given.runs / "judge.safetensors")
    results["real"] = score_of(judge, real(load("stacked-mnist", given.data, "test")))
    dataset = load("stacked-mnist", given.data)
    for row, seed in itertools.product(given.rows, given.seeds):
        config = load_config("stacked-mnist", (*ROWS[row], f"seed={seed}"))
        results.setdefault("recipes", {})[f"{row}, seed {seed}"] = config.model_dump(mode="json")
        run = given.runs / f"{row}-{seed}"
        prepare(run, config)
        done = [found["images"] for found in runs if (found["row"], found["seed"]) == (row, seed)]
        for mark in MARKS:
            # What is written down is not measured again, and a run that is past a mark no longer can be.
            if mark > config.images or images_seen(run) > mark + config.tick or any(seen >= mark for seen in done):
                continue
            train_to(mark, config, dataset, run)
            runs.append({"row": row, **measure_run(judge, config, dataset, run)})
            results.save()
            print(runs[-1], flush=True)
