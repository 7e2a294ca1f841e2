"""How good are a bundle's sounds? Samples of the recipe `waves`, judged by their spectra beside held-out tones.

    python -m benchmarks sounds BUNDLE

Sounds are compared by the log power of their spectra, over the whole sound and over each quarter of it: its first 64
principal components in the real tones that training saw. One generator, over three seeds of latents, each beside what
real tones get:

    agreement   share of 2,000 samples that a classifier trained on 8,000 real tones takes for the form asked for
    transfer    accuracy on held-out tones of the same classifier trained on 8,000 samples instead
    frechet     distance of 2,000 samples from the 2,000 held-out tones (Heusel et al. 2017, of these components)

No phase is in it, as nobody hears it. Everything runs from the bundle's generator.onnx.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.quality.samples import LATENT_SEED, SEEDS, bundle_sampler
from benchmarks.runner import Results, table
from latentserve.service.bundle import read_bundle
from latentserve.service.packing import fidelity
from latentserve.training.data import load
from latentserve.training.data.synthetic import COUNTS, FORMS, tones

TITLE = "What sounds of the recipe waves are like"

Sounds = NDArray[np.float32]  # [N, 1, frames]
Features = NDArray[np.float64]  # [N, COMPONENTS]

PARTS = (1, 4)  # windows side by side: one that is long and fine, four that tell times apart
FLOOR = 1e-6  # of power, a sine of full scale having 1/4: 54 dB below it, where hiss begins
COMPONENTS = 64


def log_spectra(sounds: Sounds) -> NDArray[np.float64]:
    """Log10 of power over frequency, float64 [N, d], in Hann windows over the whole sound and over each quarter."""
    found = []
    for parts in PARTS:
        frames = sounds.reshape(len(sounds), parts, -1).astype(np.float64)
        window = np.hanning(frames.shape[2])
        power = np.abs(np.fft.rfft(frames * window)) ** 2 / window.sum() ** 2
        found.append(np.log10(power + FLOOR).reshape(len(sounds), -1))
    return np.concatenate(found, axis=1)


def frechet(first: Features, second: Features) -> float:
    """Their Frechet distance."""
    return fidelity.frechet(fidelity.Moments.of(first), fidelity.Moments.of(second))


def classifier(features: Features, labels: NDArray[np.int64]) -> Pipeline:
    """Logistic regression on standardised components."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(features, labels)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path)


def measure(given: argparse.Namespace, results: Results) -> None:
    """What the head of this file says, of one bundle."""
    bundle = read_bundle(given.bundle)
    train, test = load("waves", None), load("waves", None, "test")
    components = PCA(COMPONENTS, random_state=0).fit(log_spectra(train.take(slice(None))))

    def seen(sounds: Sounds) -> Features:
        return components.transform(log_spectra(sounds))

    sample = bundle_sampler(bundle)
    learned, held = seen(train.take(slice(None))), seen(test.take(slice(None)))
    many, few = np.arange(COUNTS["train"]) % len(FORMS), np.arange(COUNTS["test"]) % len(FORMS)
    judge = classifier(learned, train.labels)
    made_of: dict[str, list[Any]] = {"agreement": [], "by_form": [], "transfer": [], "frechet": []}
    floors: dict[str, list[float]] = {"agreement": [], "transfer": [], "frechet": []}
    for seed in SEEDS:
        made = seen(sample(many, LATENT_SEED + seed))
        other = seen(replace(train, samples=tones(many, LATENT_SEED + seed)[:, None]).take(slice(None)))
        for into, sounds in ((made_of, made), (floors, other)):
            right = judge.predict(sounds[: len(few)]) == few
            into["agreement"].append(float(right.mean()))
            into["transfer"].append(float(classifier(sounds, many).score(held, test.labels)))
            into["frechet"].append(frechet(sounds[: len(few)], held))
            if into is made_of:
                into["by_form"].append({form: float(right[few == at].mean()) for at, form in enumerate(FORMS)})
    results["bundle"] = bundle.manifest.model_dump(mode="json", include={"name", "version", "lineage"})
    results["latent_seeds"] = [LATENT_SEED + seed for seed in SEEDS]
    results["measured"] = {
        "samples": made_of,
        "other real tones": floors,
        "judge on held-out tones": float(judge.score(held, test.labels)),
        "frechet of one tone a form, repeated": frechet(learned[: len(FORMS)].repeat(500, axis=0), held),
    }


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    found, lineage = results["measured"], results["bundle"]["lineage"]
    yield (
        f"One generator, of the recipe `{lineage['recipe']}`, seed {lineage['seed']}, {lineage['images_seen']:,} "
        "sounds; three seeds of latents. The judge is right on "
        f"{100 * found['judge on held-out tones']:.2f} % of held-out tones."
    )
    sources = ("samples", "other real tones")
    rows = [
        (name, *(" / ".join(f"{value:.4f}" for value in found[source][name]) for source in sources))
        for name in ("agreement", "transfer", "frechet")
    ]
    yield from ("", *table(("", *sources), rows), "")
    yield f"One tone a form, repeated, has a distance of {found['frechet of one tone a form, repeated']:.4f}."
