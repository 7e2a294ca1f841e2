"""What is evaluated: a run's averaged generator in torch, or a bundle's in ONNX Runtime. One path draws from both."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentserve.service.bundle import Column, Condition, Inputs, Latent, read_bundle
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.latents import draw_conditions, draw_labels, draw_latents
from latentserve.training import networks
from latentserve.training.data import Description
from latentserve.training.data.dataset import Kind
from latentserve.training.errors import RunError
from latentserve.training.recipe.config import Config
from latentserve.training.run import CHECKPOINT, CONFIG, checkpoint, open_run, snapshots

MANIFEST = "manifest.json"
BATCH, BATCH_BYTES = 64, 8 << 20  # rows that are made at once, and bytes of them, at the most

Samples = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Subject:
    """A generator, wherever it runs.

    Attributes:
        path: as it was given.
        origin: whether it is a run's or a bundle's.
        name: what it is called in the report.
        about: what is known of it, in the report's order.
        dataset_sha256: of the data it was trained on; None: not known.
        latent: what z is drawn from.
        labels: names; None: unconditional.
        label_prior: shares of the labels.
        conditions: numbers that samples are made for; None: there are none.
        kind: of a sample.
        shape: of a sample.
        columns: of a table.
        config: of a run.
        generate: latents [n, dim] float32 and labels [n] int64 or None to samples [n, *shape] float32, images and
            audio in [-1, 1].
        at: images that a run's networks had seen, where earlier ones were asked for.
    """

    path: Path
    origin: Literal["run", "bundle"]
    name: str
    about: dict[str, Any]
    dataset_sha256: str | None
    latent: Latent
    labels: list[str] | None
    label_prior: list[float] | None
    conditions: list[Condition] | None
    kind: Kind
    shape: list[int]
    columns: list[Column] | None
    config: Config | None
    generate: Callable[[Inputs], Samples]
    at: int | None = None

    @property
    def title(self) -> str:
        """What it is called in a line."""
        return str(self.path) if self.at is None else f"{self.path} after {self.at:,} images"

    def inputs(self, count: int, seed: int, labels: Labels | None = None, conditions: Samples | None = None) -> Inputs:
        """Rows 0 to count - 1 of a seed, as a server would draw them: with the labels [count] and the conditions
        [count, k] that are asked for, or those from their priors."""
        if labels is None and self.labels is not None:
            labels = draw_labels(self.latent.width, self.label_prior or len(self.labels), seed, 0, count)
        if conditions is None and self.conditions is not None:
            conditions = draw_conditions(self.latent, self.conditions, seed, 0, count)
        return Inputs(draw_latents(self.latent, seed, 0, count), labels, conditions)

    def draw(
        self,
        count: int,
        seed: int,
        labels: Labels | None = None,
        conditions: Samples | None = None,
        told: Callable[[int], None] = lambda _: None,
    ) -> tuple[Samples, Labels | None]:
        """Samples of these rows, and the labels asked for; it is told of how many more are made."""
        inputs = self.inputs(count, seed, labels, conditions)
        return self.make(inputs, told), inputs.label

    def make(self, inputs: Inputs, told: Callable[[int], None] = lambda _: None) -> Samples:
        """Samples, a batch at a time."""
        made = np.empty((len(inputs.z), *self.shape), np.float32)
        batch = min(BATCH, max(1, BATCH_BYTES // (4 * math.prod(self.shape))))
        for start in range(0, len(made), batch):
            rows = slice(start, start + batch)
            made[rows] = self.generate(inputs.take(rows))
            told(len(made[rows]))
        return made


def open_subject(path: Path, at: int | Literal["best"] | None = None) -> Subject:
    """The generator of a run, or of one of its snapshots, or of a bundle. Raises RunError, ConfigError or BundleError
    naming what is wrong."""
    if (path / MANIFEST).is_file():
        if at is not None:
            raise RunError(f"{path}: --at {at} is of a run, and this is a bundle")
        return _open_bundle(path)
    if (path / CONFIG).is_file() or (path / CHECKPOINT).is_file():
        return _open_run(path, at)
    raise RunError(f"{path}: neither a run (no {CONFIG}) nor a bundle (no {MANIFEST})")


def _open_run(path: Path, at: int | Literal["best"] | None) -> Subject:
    config = open_run(path)
    weights = snapshots.find(path, None if at is None else snapshots.chosen(path, at, None).images).path
    header = checkpoint.read_header(weights)
    dataset = Description(**header["dataset"])
    generator, critic = networks.build(config, dataset)
    checkpoint.load_networks(weights, average=generator)
    generator, _ = networks.of_samples(generator, critic, dataset)
    return run_subject(path, config, header, generator, of_snapshot=at is not None)


def run_subject(
    path: Path, config: Config, header: dict[str, Any], generator: nn.Module, *, of_snapshot: bool = False
) -> Subject:
    """The generator of samples of a run whose checkpoint, or snapshot, begins with this header."""
    dataset = Description(**header["dataset"])
    counts = np.array(dataset.label_counts)
    about = {
        "recipe": config.recipe,
        "images seen": header["images_seen"],
        "trained for": f"{header['seconds']:.0f} s",
        "seed": config.seed,
        "network": config.network,
        "loss": config.loss,
        "trained on": dataset.name,
    }
    return Subject(
        path,
        "run",
        path.resolve().name + (f" after {header['images_seen']:,} images" if of_snapshot else ""),
        about,
        dataset.sha256,
        Latent(dim=config.latent),
        dataset.label_names or None,
        (counts / counts.sum()).tolist() if dataset.label_names else None,
        networks.conditions(dataset) or None,
        dataset.kind,
        dataset.shape,
        networks.columns(dataset) or None,
        config,
        partial(_run, generator.eval()),
        header["images_seen"] if of_snapshot else None,
    )


@torch.no_grad()
def _run(generator: nn.Module, inputs: Inputs) -> Samples:
    made: Tensor = generator(*(torch.from_numpy(array) for array in inputs.feed().values()))
    return made.numpy()


def _open_bundle(path: Path) -> Subject:
    bundle = read_bundle(path)
    manifest = bundle.manifest
    engine = Engine(bundle, "cpu", threads=min(torch.get_num_threads(), os.cpu_count() or 1))
    low, high = manifest.sample.value_range or (-1.0, 1.0)

    def generate(inputs: Inputs) -> Samples:
        samples = engine.generate(inputs)
        if (low, high) == (-1.0, 1.0):
            return samples
        return (samples - np.float32(low)) / np.float32((high - low) / 2) - np.float32(1)

    lineage = manifest.lineage
    known = {
        "version": manifest.version,
        "recipe": lineage.recipe,
        "images seen": lineage.images_seen,
        "seed": lineage.seed,
        "trained on": lineage.dataset,
        "runs on": engine.provider,
    }
    return Subject(
        path,
        "bundle",
        manifest.name,
        {key: value for key, value in known.items() if value is not None},
        lineage.dataset_sha256,
        manifest.latent,
        manifest.labels,
        manifest.label_prior,
        manifest.conditions,
        manifest.sample.kind,
        list(manifest.sample.shape),
        manifest.sample.columns,
        None,
        generate,
    )
