"""`latentserve sample`: samples into a file, from a bundle here or a server elsewhere."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from typing import BinaryIO

import click
import numpy as np

from latentserve.service.bundle import read_bundle
from latentserve.service.client import Client
from latentserve.service.encoding.documents import CSV, NPY, PNG, WAV, WEBP, make_document, media_types
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.errors import InvalidError, LatentserveError
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.latents import SEED_LIMIT
from latentserve.service.sampling.request import RowsRequest

_MEDIA = {".png": PNG, ".webp": WEBP, ".npy": NPY, ".csv": CSV, ".wav": WAV}
_BATCH = 64


@click.command()
@click.argument("source", metavar="BUNDLE|URL")
@click.option("-n", "n", type=click.IntRange(min=1), default=1, show_default=True, help="Samples.")
@click.option("--seed", type=click.IntRange(0, SEED_LIMIT - 1), help="Default: drawn, and printed.")
@click.option("--label", help="Of all samples: a name, or an index. Default: drawn as in the training data.")
@click.option("--truncation", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="File: .png, .webp (a sheet), .wav (end to end), .npy or .csv.",
)
def sample(source: str, n: int, seed: int | None, label: str | None, truncation: float, out: Path) -> None:
    """Draw samples into a file.

    \b
    Example: latentserve sample demo/bundle -n 64 --seed 7 --out digits.png
    """
    form = out.suffix.lower()
    if form not in _MEDIA:
        raise LatentserveError(f"{out}: the suffix must be one of {', '.join(_MEDIA)}")
    seed = secrets.randbelow(SEED_LIMIT) if seed is None else seed
    try:
        descriptor, part = tempfile.mkstemp(prefix=f".{out.name}-", dir=out.parent)
    except OSError as error:
        raise LatentserveError(f"{out}: cannot be written ({error.strerror})") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            if source.startswith(("http://", "https://")):
                Client(source).samples(
                    _MEDIA[form], file, n=n, seed=seed, label=_plain(label), truncation=truncation, deterministic=True
                )
            else:
                _draw(Path(source), file, _MEDIA[form], n, seed, label, truncation)
        Path(part).chmod(0o644)
        Path(part).replace(out)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    click.echo(f"{out}: {n} samples of seed {seed}")


def _draw(bundle: Path, file: BinaryIO, media: str, n: int, seed: int, label: str | None, truncation: float) -> None:
    """Samples of a bundle, a batch at a time."""
    engine = Engine(read_bundle(bundle), threads=os.cpu_count() or 1)
    manifest = engine.bundle.manifest
    spec = manifest.sample
    if media not in media_types(spec):
        what = {CSV: "no table", WAV: "no audio of [channels, frames]"}.get(media, "no images")
        raise LatentserveError(f"{bundle}: its samples are {what}; write them to a .npy file")
    labels = None if label is None else np.full(n, _index(label, manifest.labels), np.int64)
    request = RowsRequest(n=n, seed=seed, labels=labels, truncation=truncation)
    document = make_document(media, n, spec, Provenance(manifest.name, manifest.version, seed, 0))
    file.write(document.opening())
    for start in range(0, n, _BATCH):
        samples = engine.generate(*request.inputs(manifest, start, min(_BATCH, n - start)))
        file.write(document.rows(samples, None))
    file.write(document.closing())


def _plain(label: str | None) -> str | int | None:
    """A label for the server, which tells names (strings) from indices: digits are taken for an index."""
    return int(label) if label is not None and label.isdecimal() else label


def _index(label: str, names: list[str] | None) -> int:
    if names is None:
        raise InvalidError("--label", "the model takes no labels")
    if label.isdecimal() and int(label) < len(names):
        return int(label)
    if label in names:
        return names.index(label)
    raise InvalidError("--label", f"{label!r} is neither a name nor an index of the model's {len(names)} labels")
