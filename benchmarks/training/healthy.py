"""Healthy runs: each recipe as it ships or its first part, some at a tenth and at more of the tick, colour pictures,
other losses. Whatever a supervisor changes in one of them is a mistake."""

from __future__ import annotations

import hashlib
import itertools
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from benchmarks.training.faults import TINY
from latentserve.training.data import Dataset, load
from latentserve.training.recipe import load_config
from latentserve.training.recipe.config import Config
from latentserve.training.run import CHECKPOINT, loop
from latentserve.training.supervising import read_journal

Record = dict[str, Any]

SEEDS = range(300, 303)  # of healthy runs; thresholds were found on seeds below 205
SHORT = 0.15  # share of a run's first part that its short form is of

AUGMENTED = ("loss=non-saturating", "gamma={start: 1.0, end: 0.1}", "augment=[translate]")
SHORT_RING = ("images=400000", "tick=20000", "snapshot=400000", "ema_half_life={start: 0, end: 40000}")
COLOUR = (
    "data=files", "network=residual", "width=32", "images=400000", "batch=64", "tick=4000", "snapshot=400000",
    "lr={start: 1e-3, end: 1e-4}", "gamma={start: 1.0, end: 0.1}", "ema_half_life={start: 0, end: 20000}",
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A run that is to go well.

    Attributes:
        recipe: what it begins with.
        overrides: what differs.
        until: share of its images after which it is interrupted: it sees the beginning of a run as it is meant to be.
        data: where its data are, if not at hand: `adult` or `mnist` (options of this benchmark), or `colour`.
        weights: the kind whose weights it has, whatever the tick, where that is another one.
    """

    recipe: str
    overrides: tuple[str, ...] = ()
    until: float = 1.0
    data: str | None = None
    weights: str | None = None


KINDS = {
    "digits, briefly": Kind("digits", TINY),
    "digits": Kind("digits"),
    "digits, tick / 10": Kind("digits", ("tick=2000",), weights="digits"),
    "digits, tick x 5": Kind("digits", ("tick=100000",), weights="digits"),
    "digits, non-saturating, augmented": Kind("digits", (*TINY, *AUGMENTED)),
    "digits, hinge": Kind("digits", ("loss=hinge", "gamma={start: 1.0, end: 0.1}")),
    "ring, briefly": Kind("ring", SHORT_RING),
    "ring": Kind("ring"),
    "ring, tick / 10": Kind("ring", ("tick=6400",), weights="ring"),
    "ring, tick x 5": Kind("ring", ("tick=320000",), weights="ring"),
    "grid": Kind("grid"),
    "blobs": Kind("blobs"),
    "waves": Kind("waves"),
    "waves, tick / 10": Kind("waves", ("tick=400",), weights="waves"),
    "waves, tick x 10": Kind("waves", ("tick=40000",), weights="waves"),
    "adult": Kind("adult", data="adult"),
    "adult, tick / 10": Kind("adult", ("tick=2000",), data="adult", weights="adult"),
    "adult, tick x 5": Kind("adult", ("tick=100000",), data="adult", weights="adult"),
    "mnist, its first part": Kind("mnist", until=0.3, data="mnist"),
    "stacked-mnist, its first part": Kind("stacked-mnist", until=0.05, data="mnist"),
    "32x32 colour, its first part": Kind("mnist", COLOUR, until=0.3, data="colour"),
}


def run(name: str, seed: int, supervise: str, folders: dict[str, Path], short: bool) -> Record | None:
    """One of them, what was done to it, and the digest of the weights that it leaves; None where its data are not here.

    `folders` has those of `adult` and `mnist`.
    """
    kind = KINDS[name]
    if kind.data in ("adult", "mnist") and kind.data not in folders:
        return None
    dataset, held_out = data_of(kind, folders)
    config = load_config(kind.recipe, (*kind.overrides, "threads=1", f"seed={seed}", f"supervise='{supervise}'"))
    images = int(config.images * kind.until * (SHORT if short else 1))
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        seen = loop.train(config, dataset, path, _after(config, images), held_out=held_out)
        weights = load_file(path / CHECKPOINT)
        actions = [[one.images, one.fault, one.action] for one in read_journal(path)]
    return {
        "recipe": name,
        "seed": seed,
        "images": seen,
        "actions": actions,
        "weights": _digest(weights),
        "cpu_seconds": round(time.process_time() - began, 1),
    }


def weights_of(name: str) -> str:
    """The kind whose weights one has where nothing is changed."""
    return KINDS[name].weights or name


def data_of(kind: Kind, folders: dict[str, Path]) -> tuple[Dataset, Dataset | None]:
    """What it learns, and what is held out."""
    if kind.data == "colour":
        return colour(4_000, 0), colour(1_000, 1)
    config = load_config(kind.recipe, kind.overrides)
    path = folders.get(kind.data or "")
    dataset = load(config.data, path, **config.reading)
    return dataset, None if kind.data == "adult" else load(config.data, path, "test", **config.reading)


def colour(count: int, seed: int) -> Dataset:
    """Pictures of 32x32 pixels drawn by code: ellipses and boxes in colours of their own on a shaded ground."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    samples = np.empty((count, 3, 32, 32), np.uint8)
    labels = rng.integers(2, size=count)
    for row, label in enumerate(labels):
        ground, ink = rng.uniform(0, 255, (2, 3, 1, 1))
        shade = 1 + 0.3 * (x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1))
        (cx, cy), (w, h) = rng.uniform(-0.4, 0.4, 2), rng.uniform(0.2, 0.6, 2)
        u, v = (x - cx) / w, (y - cy) / h
        inside = u**2 + v**2 < 1 if label else np.maximum(abs(u), abs(v)) < 1
        samples[row] = np.where(inside, ink, ground * shade).clip(0, 255)
    return Dataset("colour", samples, labels.astype(np.int64), ["box", "ellipse"], stored_range=(0.0, 255.0))


def _digest(weights: dict[str, torch.Tensor]) -> str:
    """SHA-256 of all but the networks that a supervisor keeps to go back to."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        if not name.startswith("best."):
            digest.update(name.encode())
            digest.update(weights[name].contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _after(config: Config, images: int) -> Callable[[], bool]:
    """An `interrupted` that says yes after so many images."""
    steps = itertools.count(1)
    return lambda: next(steps) * config.batch >= images
