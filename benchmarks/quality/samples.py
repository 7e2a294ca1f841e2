"""How good are a bundle's samples? Classifiers trained on samples, tested on real images that training never saw.

    python -m benchmarks samples digits BUNDLE BUNDLE BUNDLE
    python -m benchmarks samples mnist BUNDLE BUNDLE BUNDLE --data FOLDER [--picture docs/samples.png]

The bundles are of three runs of one recipe, of its seeds 0, 1 and 2, and everything runs from their generator.onnx.
Beside each other stand the accuracy of classifiers trained on real images, on as many samples (train on synthetic, test
on real), and on other real images (the floor of what a difference means). On MNIST also the share of samples on which a
classifier trained on all real images agrees with the label that was asked for.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from torch import nn

from benchmarks.environments import AbsentError
from benchmarks.runner import Results, table
from latentserve.service.bundle import Bundle, read_bundle
from latentserve.service.sampling.latents import draw_latents
from latentserve.training.data import Dataset, load

TITLE = "What samples are worth to a classifier"
RESUMES = True

Record = dict[str, Any]
Images = NDArray[np.float32]  # [N, C, H, W] in [-1, 1]
Labels = NDArray[np.int64]  # [N]
Sampler = Callable[[Labels, int], Images]  # (labels, seed) -> one sample a label
Fit = Callable[[Images, Labels, int], Callable[[Images], Labels]]  # (images, labels, seed) -> predictor

SEEDS = (0, 1, 2)  # of recipes and of classifiers
REAL = "real"
PICTURE_COLUMNS, PICTURE_SEED = 20, 1
LATENT_SEED = 20_000  # samples of seed s of a classifier come from latents of seed 20000 + s
BATCH = 64


def bundle_sampler(bundle: Bundle) -> Sampler:
    """Samples of a bundle's generator on the CPU: rows 0, 1, ... of a seed, as the server would draw them."""
    session = onnxruntime.InferenceSession(bundle.generator, providers=["CPUExecutionProvider"])

    def sample(labels: Labels, seed: int) -> Images:
        z = draw_latents(bundle.manifest.latent, seed, 0, len(labels))
        batches = range(0, len(labels), BATCH)
        rows = [session.run(["sample"], {"z": z[i : i + BATCH], "label": labels[i : i + BATCH]})[0] for i in batches]
        return np.concatenate(rows)

    return sample


def sklearn_fit(model: Callable[[int], Any]) -> Fit:
    """A scikit-learn classifier on flattened pixels."""

    def fit(images: Images, labels: Labels, seed: int) -> Callable[[Images], Labels]:
        fitted = model(seed).fit(images.reshape(len(images), -1), labels)
        return lambda unseen: fitted.predict(unseen.reshape(len(unseen), -1))

    return fit


DIGITS_CLASSIFIERS = {
    "logistic regression": sklearn_fit(lambda seed: LogisticRegression(max_iter=2000, random_state=seed)),
    "SVC (RBF)": sklearn_fit(lambda seed: SVC(random_state=seed)),
    "MLP (100)": sklearn_fit(lambda seed: MLPClassifier(max_iter=500, random_state=seed)),
}


def build_cnn() -> nn.Sequential:
    """A small CNN: 3x3 convolutions (32, 64) with max-pooling, a hidden layer of 128, dropout."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 49, 128),
        nn.ReLU(),
        nn.Dropout(0.4),
        nn.Linear(128, 10),
    )


def train_cnn(images: Images, labels: Labels, seed: int, epochs: int) -> nn.Sequential:
    """The CNN in eval mode, trained by Adam with one cycle."""
    torch.manual_seed(seed)
    model = build_cnn()
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    optimizer = torch.optim.Adam(model.parameters())
    steps = epochs * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(BATCH):
            loss = F.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def fit_cnn(images: Images, labels: Labels, seed: int, epochs: int = 12) -> Callable[[Images], Labels]:
    """`train_cnn`'s predictor."""
    model = train_cnn(images, labels, seed, epochs)

    @torch.no_grad()
    def predict(unseen: Images) -> Labels:
        return np.concatenate([model(part).argmax(1).numpy() for part in torch.from_numpy(unseen).split(1000)])

    return predict


def accuracies(fit: Fit, draw: Callable[[int], tuple[Images, Labels]], test: Dataset) -> list[float]:
    """Accuracy on the test set, one for each seed, of a classifier trained on what `draw` gives for the seed."""
    return [float((fit(*draw(seed), seed)(test.take(slice(None))) == test.labels).mean()) for seed in SEEDS]


def random_rows(dataset: Dataset, count: int, seed: int) -> tuple[Images, Labels]:
    rows = np.random.default_rng(seed).permutation(len(dataset.labels))[:count]
    return dataset.take(rows), dataset.labels[rows]


def measure_digits(samplers: Sequence[Sampler]) -> Record:
    train, test = load("digits", None), load("digits", None, "test")
    classifiers = {}
    for name, fit in DIGITS_CLASSIFIERS.items():
        classifiers[name] = {
            REAL: accuracies(fit, lambda seed: (train.take(slice(None)), train.labels), test),
            # Half the training images, resampled: what fewer real images would cost.
            "449 real images": accuracies(fit, lambda seed: random_rows(train, len(train.labels) // 2, seed), test),
        }
        for times in (1, 5):
            labels = np.tile(train.labels, times)

            def drawn(seed: int, labels: Labels = labels) -> tuple[Images, Labels]:
                return samplers[seed](labels, LATENT_SEED + seed), labels

            classifiers[name][f"{len(labels):,} samples"] = accuracies(fit, drawn, test)
    return {"real_images": len(train.labels), "test_images": len(test.labels), "classifiers": classifiers}


def measure_mnist(samplers: Sequence[Sampler], folder: Path) -> Record:
    train, test = load("mnist", folder), load("mnist", folder, "test")
    judge = fit_cnn(train.take(slice(None)), train.labels, seed=0, epochs=4)
    asked, labels = np.arange(2_000) % 10, np.arange(6_000) % 10
    agreed = [judge(samplers[seed](asked, LATENT_SEED + 100 + seed)) == asked for seed in SEEDS]
    return {
        "real_images": 6_000,
        "test_images": len(test.labels),
        "agreement": {
            "samples": len(asked),
            "judge_trained_on": len(train.labels),
            "judge_accuracy": float((judge(test.take(slice(None))) == test.labels).mean()),
            "shares": [float(right.mean()) for right in agreed],
        },
        "classifiers": {
            "CNN": {
                REAL: accuracies(fit_cnn, lambda seed: random_rows(train, 6_000, seed), test),
                "other real images": accuracies(fit_cnn, lambda seed: random_rows(train, 6_000, 1_000 + seed), test),
                "6,000 samples": accuracies(
                    fit_cnn, lambda seed: (samplers[seed](labels, LATENT_SEED + seed), labels), test
                ),
            }
        },
    }


def draw_picture(sample: Sampler, file: Path) -> None:
    """Twenty samples of each class, a row each: the first rows of a seed, none chosen."""
    tiles = sample(np.repeat(np.arange(10), PICTURE_COLUMNS), PICTURE_SEED)
    pixels = np.pad(tiles[:, 0], ((0, 0), (1, 1), (1, 1)), constant_values=-1).reshape(10, PICTURE_COLUMNS, 30, 30)
    grid = pixels.swapaxes(1, 2).reshape(300, -1)[1:-1, 1:-1]
    Image.fromarray(((grid + 1) * 127.5).round().astype(np.uint8)).save(file, optimize=True)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", choices=("digits", "mnist"))
    parser.add_argument("bundles", type=Path, nargs=3, metavar="BUNDLE", help=f"of runs of the seeds {SEEDS}")
    parser.add_argument("--data", type=Path, dest="folder", help="folder of MNIST's IDX files")
    parser.add_argument("--picture", type=Path, help="a picture of the first bundle's samples, of mnist")


def measure(given: argparse.Namespace, results: Results) -> None:
    """Of one data set; what was measured of the other stays."""
    if given.data == "mnist" and given.folder is None:
        raise AbsentError("mnist needs --data FOLDER")
    bundles = [read_bundle(path) for path in given.bundles]
    if (seeds := [bundle.manifest.lineage.seed for bundle in bundles]) != list(SEEDS):
        raise AbsentError(f"bundles of runs of the seeds {SEEDS} are needed, these are of {seeds}")
    samplers = [bundle_sampler(bundle) for bundle in bundles]
    if given.picture:
        draw_picture(samplers[0], given.picture)
    found = measure_digits(samplers) if given.data == "digits" else measure_mnist(samplers, given.folder)
    described = [bundle.manifest.model_dump(mode="json", include={"name", "version", "lineage"}) for bundle in bundles]
    results.setdefault("data", {})[given.data] = {"bundles": described, **found}


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    yield (
        "Three generators, of the recipe's seeds 0 to 2; a classifier of the same seed is trained on samples of each "
        f"(latents of seed {LATENT_SEED:,} and more), and tested on real images that neither has seen. Ratios are over "
        "the mean of the classifiers trained on real images, beside what other, or fewer, real images give."
    )
    for data, found in results["data"].items():
        lineage = found["bundles"][0]["lineage"]
        yield from ("", f"## {data}: recipe `{lineage['recipe']}`, {lineage['images_seen']:,} images", "")
        rows = []
        for name, trained in found["classifiers"].items():
            real = np.mean(trained[REAL])
            for source, scores in trained.items():
                count = f"{found['real_images']:,} real images" if source == REAL else source
                each = " / ".join(f"{score:.4f}" for score in scores)
                rows.append((name, count, each, f"{np.mean(scores) / real:.4f}"))
        yield f"Accuracy on {found['test_images']:,} real images."
        yield from ("", *table(("classifier", "trained on", "accuracy by seed", "over real"), rows))
        if agreement := found.get("agreement"):
            shares = " / ".join(f"{100 * share:.2f} %" for share in agreement["shares"])
            yield ""
            yield (
                f"A CNN trained on all {agreement['judge_trained_on']:,} real images, "
                f"{100 * agreement['judge_accuracy']:.2f} % right on the test images, takes {shares} of "
                f"{agreement['samples']:,} samples for the label asked for."
            )
