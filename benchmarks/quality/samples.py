"""How good are a bundle's samples? Classifiers trained on samples, tested on real images that training never saw.

    python benchmarks/quality/samples.py digits BUNDLE --out results.json
    python benchmarks/quality/samples.py mnist BUNDLE --data FOLDER --out results.json

Everything runs from the bundle's generator.onnx. Reported beside each other, each over several seeds of the classifier:
its accuracy when trained on real images, when trained on as many samples (train on synthetic, test on real), and when
trained on other real images (the floor of what a difference means). On MNIST also the share of samples on which a
classifier trained on all real images agrees with the label that was asked for.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from torch import nn

from latentserve.service.bundle import Bundle, read_bundle
from latentserve.service.sampling.latents import draw_latents
from latentserve.training.data import Dataset, load

Images = NDArray[np.float32]  # [N, C, H, W] in [-1, 1]
Labels = NDArray[np.int64]  # [N]
Sampler = Callable[[Labels, int], Images]  # (labels, seed) -> one sample a label
Fit = Callable[[Images, Labels, int], Callable[[Images], Labels]]  # (images, labels, seed) -> predictor

SEEDS = (0, 1, 2)
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


def summary(real: list[float], other: list[float]) -> dict[str, Any]:
    """`other` as a share of `real`: ratio of means, and the accuracies they are means of."""
    return {"ratio": float(np.mean(other) / np.mean(real)), "accuracy": other, "accuracy_spread": float(np.std(other))}


def measure_digits(sample: Sampler) -> dict[str, Any]:
    train, test = load("digits", None), load("digits", None, "test")
    results: dict[str, Any] = {"real_images": len(train.labels), "test_images": len(test.labels)}
    for name, fit in DIGITS_CLASSIFIERS.items():
        real = accuracies(fit, lambda seed: (train.take(slice(None)), train.labels), test)
        results[name] = {"real": real}
        for times in (1, 5):
            labels = np.tile(train.labels, times)
            synthetic = accuracies(fit, lambda seed, asked=labels: (sample(asked, LATENT_SEED + seed), asked), test)  # type: ignore[misc]
            results[name][f"{len(labels)} samples"] = summary(real, synthetic)
        # Half the training images, resampled: what fewer real images would cost.
        results[name]["449 real images"] = summary(
            real, accuracies(fit, lambda seed: random_rows(train, len(train.labels) // 2, seed), test)
        )
    return results


def random_rows(dataset: Dataset, count: int, seed: int) -> tuple[Images, Labels]:
    rows = np.random.default_rng(seed).permutation(len(dataset.labels))[:count]
    return dataset.take(rows), dataset.labels[rows]


def measure_mnist(sample: Sampler, folder: Path) -> dict[str, Any]:
    train, test = load("mnist", folder), load("mnist", folder, "test")
    judge = fit_cnn(train.take(slice(None)), train.labels, seed=0, epochs=4)
    asked = np.arange(2_000) % 10
    real = accuracies(fit_cnn, lambda seed: random_rows(train, 6_000, seed), test)
    labels = np.arange(6_000) % 10
    synthetic = accuracies(fit_cnn, lambda seed: (sample(labels, LATENT_SEED + seed), labels), test)
    other = accuracies(fit_cnn, lambda seed: random_rows(train, 6_000, 1_000 + seed), test)
    return {
        "judge": {
            "trained_on": len(train.labels),
            "accuracy": float((judge(test.take(slice(None))) == test.labels).mean()),
        },
        "agreement": {
            "samples": len(asked),
            "shares": [float((judge(sample(asked, LATENT_SEED + 100 + seed)) == asked).mean()) for seed in SEEDS],
        },
        "cnn": {
            "test_images": len(test.labels),
            "6000 real images": real,
            "6000 samples": summary(real, synthetic),
            "6000 other real images": summary(real, other),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=("digits", "mnist"))
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, dest="folder", help="folder of MNIST's IDX files")
    parser.add_argument("--out", type=Path, help="write the results here as JSON")
    arguments = parser.parse_args()
    if arguments.data == "mnist" and arguments.folder is None:
        parser.error("mnist needs --data FOLDER")

    torch.set_num_threads(2)
    started = time.monotonic()
    bundle = read_bundle(arguments.bundle)
    sample = bundle_sampler(bundle)
    measured = measure_digits(sample) if arguments.data == "digits" else measure_mnist(sample, arguments.folder)
    results = {
        "data": arguments.data,
        "bundle": bundle.manifest.model_dump(mode="json", include={"name", "version", "lineage"}),
        "classifier_seeds": SEEDS,
        "latent_seeds": f"{LATENT_SEED} + classifier seed",
        "measured": measured,
        "seconds": round(time.monotonic() - started, 1),
    }
    text = json.dumps(results, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
