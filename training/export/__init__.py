"""From a run to a bundle, or from any generator: `export_run` and `export_bundle`."""

import logging
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from latentserve.service.bundle import Lineage, Manifest
from latentserve.service.packing.progress import stage
from latentserve.service.packing.real import require_enough
from latentserve.training import networks
from latentserve.training.data import AT_HAND, Dataset, Description, alike, load
from latentserve.training.errors import DataError
from latentserve.training.evaluation.privacy import privacy_of
from latentserve.training.evaluation.reals import SEPARATE, Reals
from latentserve.training.evaluation.subject import run_subject
from latentserve.training.export.module import export_bundle
from latentserve.training.reporting.stats import read_stats
from latentserve.training.run import checkpoint, open_run, snapshots

__all__ = ["export_bundle", "export_run"]

REALS = 20_000  # real samples at the most, chosen at random, of which the bundle keeps some
LOOK = ("diversity", "frechet", "frechet_floor", "frechet_floor_deviation", "real_frechet")  # of a line of statistics

log = logging.getLogger(__name__)


def export_run(
    run: Path,
    out: Path,
    *,
    name: str | None = None,
    license_id: str | None = None,
    reference_samples: int | None = None,
    data: Path | None = None,
    at: int | None = None,
) -> Manifest:
    """Export the averaged generator of a run, and its critic, to the bundle folder `out`: as they are, or as they were
    `at` so many images, where a snapshot was kept.

    `name` is the recipe's unless given. The images that the run was trained on become the bundle's real side, where
    they need no folder or `data` is theirs; what samples give away of them is measured where a part of them was held
    out. A packed critic, which cannot score a row by itself, is left out. Raises RunError, ExportError, DataError or
    BundleError.
    """
    config = open_run(run)
    weights = snapshots.find(run, at).path
    header = checkpoint.read_header(weights)
    dataset = Description(**header["dataset"])
    real = reals = None
    if data is not None or config.data in AT_HAND:
        loaded = load(config.data, data, **config.reading)
        if loaded.description.sha256 != dataset.sha256:
            raise DataError(f"{data or config.data}: not the data that {run} was trained on")
        require_enough(len(loaded), str(data or config.data))
        real = Taken(loaded, np.sort(np.random.default_rng(0).permutation(len(loaded))[:REALS]))
        reals = _with_held_out(loaded, lambda: load(config.data, data, "test", **config.reading))
    generator, critic = networks.build(config, dataset)
    checkpoint.load_networks(weights, average=generator, critic=critic)
    generator, critic = networks.of_samples(generator, critic, dataset)
    if config.packing > 1:
        log.warning("%s: exported without its critic, which judges %d samples together", run, config.packing)
    counts = np.array(dataset.label_counts)
    privacy: dict[str, JsonValue] = {"unmeasured": "the data were not given at export, or have no held-out part"}
    if reals is not None:
        stage("privacy: training data are looked for in samples")
        privacy = privacy_of(run_subject(run, config, header, generator.eval()), reals)
    return export_bundle(
        generator,
        out,
        name=name or config.recipe,
        latent_dim=config.latent,
        labels=dataset.label_names or None,
        label_prior=(counts / counts.sum()).tolist() if dataset.label_names else None,
        conditions=networks.conditions(dataset) or None,
        critic=critic if config.packing == 1 else None,
        kind=dataset.kind,
        value_range=(-1.0, 1.0) if dataset.kind == "image" else None,
        columns=networks.columns(dataset) or None,
        sample_rate=dataset.sample_rate,
        license_id=license_id,
        reference_samples=reference_samples,
        real=real,
        lineage=Lineage(
            dataset=dataset.name,
            dataset_sha256=dataset.sha256,
            recipe=config.recipe,
            seed=config.seed,
            images_seen=header["images_seen"],
            pretrained_sha256=header.get("pretrained") or None,
            code_revision=code_revision(),
            evaluation=(last_look(run, header["images_seen"]) or {}) | {"privacy": privacy},
        ),
    )


class Taken:
    """Rows of a data set as if they were an array float32 [n, *shape], of which only those are made that are asked for:
    a picture of 256 pixels a side has four times as many bytes as its file, and 20,000 of them 16 GB."""

    dtype = np.dtype(np.float32)

    def __init__(self, dataset: Dataset, rows: NDArray[np.int64]) -> None:
        self._dataset, self._rows = dataset, rows
        self.shape = (len(rows), *dataset.samples.shape[1:])
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._dataset.take(self._rows[rows])


def _with_held_out(train: Dataset, held_out: Callable[[], Dataset]) -> Reals | None:
    """What was trained on, and what was not; None: there is no such part."""
    try:
        return Reals(train, alike(held_out(), train), SEPARATE, train.description.sha256, ())
    except DataError:
        return None


def last_look(run: Path, images_seen: int) -> dict[str, JsonValue] | None:
    """What the run's statistics say of samples of the averaged generator, last before it was saved; None: nothing."""
    lines = [line for line in read_stats(run / "stats.jsonl") if line["images"] <= images_seen and "frechet" in line]
    if not lines:
        return None
    return {"images": lines[-1]["images"]} | {name: lines[-1][name] for name in LOOK if name in lines[-1]}


def code_revision() -> str:
    """The git revision of this package's checkout (`-dirty` if it was changed), else the package's version."""
    here = Path(__file__)
    git = ["git", "-C", str(here.parent)]
    try:
        # An installed package may lie inside somebody else's checkout.
        subprocess.run([*git, "ls-files", "--error-unmatch", here.name], check=True, capture_output=True)
        describe = [*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(describe, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return version("latentserve")
