"""What is said of generators whose quality is known: the ground under the bounds of `latentserve evaluate`.

    python -m benchmarks verdicts --runs FOLDER

On scikit-learn's digits, and with `--mnist FOLDER` on as many rows of MNIST as --rows says. Real samples play
generators: others of the same kind (nothing may be said against these; each time of another split); with noise,
blurred, with classes left out, or the same few again and again. Beside them the recipe `digits`, trained for as long as
each of --images says; a run that is in the folder already is not trained again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from benchmarks.runner import Results, table
from latentserve.service.bundle import Latent
from latentserve.training.data import Dataset, load
from latentserve.training.evaluation.baseline import Baseline
from latentserve.training.evaluation.evaluate import Evaluation, evaluate
from latentserve.training.evaluation.findings import assess
from latentserve.training.evaluation.reals import SEPARATE, Reals, load_reals
from latentserve.training.evaluation.subject import Subject, open_subject

TITLE = "What is said of generators whose quality is known"

Images = NDArray[np.float32]

IMAGES = (5_000, 20_000, 50_000, 300_000)  # that the recipe `digits` is trained for; the last is what it says itself
SPLITS = 4  # in which other reals play the generator
NOISE = (0.05, 0.1, 0.2, 0.4, 0.8)  # standard deviations, of pixels in [-1, 1]
BLUR = (0.3, 0.4, 0.5, 0.7, 1.0)  # of a Gaussian, in pixels
FEW = (0.5, 0.25, 0.05)  # share of samples that are different ones


class Recorded(Subject):
    """Real samples that play a generator: its `config` is None, as a bundle's, and `about` holds them."""

    def draw(self, count: int, seed: int, **_: Any) -> tuple[Images, NDArray[np.int64]]:  # type: ignore[override]
        return self.about["samples"][:count].copy(), self.about["labels"][:count]


def played(name: str, images: Images, labels: NDArray[np.int64], names: list[str]) -> Subject:
    """A generator that makes these images [N, C, H, W]."""
    given: dict[str, Any] = dict.fromkeys(field.name for field in fields(Subject))
    given |= {"path": Path(name), "origin": "run", "name": name, "latent": Latent(dim=1), "labels": names}
    given |= {"about": {"samples": images, "labels": labels}, "kind": "image", "shape": list(images.shape[1:])}
    return Recorded(**given)


def altered(others: Dataset) -> Iterator[tuple[str, Images, NDArray[np.int64]]]:
    """What is done to other reals: its name, images, labels."""
    images, labels = others.take(slice(0, len(others))), others.labels
    chance = np.random.default_rng(0)
    for size in NOISE:
        noise = chance.standard_normal(images.shape).astype(np.float32)
        yield f"noise of {size:g}", np.clip(images + np.float32(size) * noise, -1, 1), labels
    for size in BLUR:
        yield f"blurred by {size:g} pixels", gaussian_filter(images, (0, 0, size, size)), labels
    for kept in (9, 7):
        rows = np.resize(np.flatnonzero(labels < kept), len(labels))
        yield f"{10 - kept} of 10 classes left out", images[rows], labels[rows]
    for share in FEW:
        rows = np.resize(np.arange(int(share * len(labels))), len(labels))
        yield f"{share:.0%} different ones, again and again", images[rows], labels[rows]
    yield "labels shuffled", images, chance.permutation(labels)


def described(data: str, name: str, evaluation: Evaluation) -> dict[str, Any]:
    """What is written down of one: its statistics beside their floors, and what is said."""
    verdict = assess(evaluation)
    kept = ("c2st", "c2st_pixels", "kernel", "frechet", "precision", "recall", "tstr")
    return {
        "data": data,
        "subject": name,
        "n": len(evaluation.samples),
        "grade": verdict.grade,
        "findings": [f"{finding.name} ({finding.severity})" for finding in verdict.findings],
        "said": verdict.sentence,
        "statistics": {
            each.key: [round(float(value), 4) for value in (each.value, each.floor or 0.0, *(each.interval or ()))]
            for each in evaluation.statistics
            if each.name in kept
        },
    }


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs of the recipe `digits`")
    parser.add_argument("--mnist", type=Path, help="folder of MNIST's IDX files: the same on more samples")
    parser.add_argument("--images", type=int, nargs="+", default=IMAGES, help="that the recipe is trained for")
    parser.add_argument("--rows", type=int, default=2_000, help="of MNIST, a side (2000)")


def measure(given: argparse.Namespace, results: Results) -> None:
    results["subjects"] = []

    def add(data: str, name: str, evaluation: Evaluation) -> None:
        results["subjects"].append(described(data, name, evaluation))
        results.save()

    sources = {"digits": (load("digits", None), load("digits", None, "test"), 449)}
    if given.mnist:
        sources["mnist"] = (load("mnist", given.mnist), load("mnist", given.mnist, "test"), given.rows)
    for data, (train, held, rows) in sources.items():
        for split in range(SPLITS):
            order = np.random.default_rng(split).permutation(len(train))
            others = train.subset(order[rows : 2 * rows])
            drawn = held.subset(np.random.default_rng(split).permutation(len(held))[:rows])
            reals = Reals(train.subset(order[:rows]), drawn, SEPARATE, "", ())
            baseline = Baseline(reals, rows)
            named = ("other reals", others.take(slice(0, rows)), others.labels)
            for name, images, labels in (named, *(altered(others) if split == 0 else ())):
                add(data, name, evaluate(played(name, images, labels, train.label_names), baseline))
    trained: Baseline | None = None
    for images in given.images:
        run = given.runs / f"digits-{images}"
        if not run.exists():
            command = ("-m", "latentserve", "train", "digits", "--set", f"images={images}", "--out", str(run))
            subprocess.run([sys.executable, *command], check=True)
        subject = open_subject(run)
        trained = trained or Baseline(load_reals(subject, None), 10_000)
        add("digits", f"recipe `digits`, {images:,} images", evaluate(subject, trained))


def report(results: Results) -> Iterator[str]:
    """The lines of the page."""
    yield (
        "Value / floor; the floor is of other real samples in the generator's place. Told apart: the highest accuracy "
        "of a classifier two-sample test, over all features and pixels. Fréchet and kernel distance (KID), precision "
        "and recall are in the features `classifier`. A row of *other reals* is a split of its own: a fault that is "
        "found there is a false one."
    )
    for data in dict.fromkeys(one["data"] for one in results["subjects"]):
        rows = [one for one in results["subjects"] if one["data"] == data]
        keys = ("frechet_classifier", "kernel_classifier", "precision_classifier", "recall_classifier", "tstr")
        yield from ("", f"## {data}", "")
        head = ("generator", "N", "told apart", "Fréchet", "KID", "precision", "recall", "tstr", "verdict", "findings")
        yield from table(head, (_row(one, keys) for one in rows))


def _row(one: dict[str, Any], keys: tuple[str, ...]) -> Iterator[object]:
    found = one["statistics"]
    yield from (one["subject"], one["n"])
    best = max((key for key in found if key.startswith("c2st")), key=lambda key: found[key][0])
    yield f"{found[best][0]:.1%} / {found[best][1]:.1%} ({best.removeprefix('c2st_')})"
    yield from (f"{found[key][0]:.3g} / {found[key][1]:.3g}" for key in keys)
    yield from (one["grade"], ", ".join(one["findings"]))
