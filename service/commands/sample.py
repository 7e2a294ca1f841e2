"""`latentserve sample`: samples into a file, from a bundle here or a server elsewhere."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from typing import BinaryIO

import click
import numpy as np

from service.bundle import read_bundle
from service.client import Client
from service.encoding import arrays, images
from service.encoding.documents import Csv
from service.encoding.provenance import Provenance
from service.errors import InvalidError, LatentserveError
from service.sampling.engine import Engine
from service.sampling.latents import SEED_LIMIT
from service.sampling.request import RowsRequest

_MEDIA = {".png": "image/png", ".webp": "image/webp", ".npy": "application/x-npy", ".csv": "text/csv"}
_BATCH = 64


@click.command()
@click.argument("source", metavar="BUNDLE|URL")
@click.option("-n", "n", type=click.IntRange(min=1), default=1, show_default=True, help="Samples.")
@click.option("--seed", type=click.IntRange(0, SEED_LIMIT - 1), help="Default: drawn, and printed.")
@click.option("--label", help="Of all samples: a name, or an index. Default: drawn as in the training data.")
@click.option("--truncation", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="File: .png, .webp (a sheet), .npy or .csv."
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
                _draw(Path(source), file, form, n, seed, label, truncation)
        Path(part).chmod(0o644)
        Path(part).replace(out)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    click.echo(f"{out}: {n} samples of seed {seed}")


def _draw(bundle: Path, file: BinaryIO, form: str, n: int, seed: int, label: str | None, truncation: float) -> None:
    """Samples of a bundle, a batch at a time."""
    engine = Engine(read_bundle(bundle), threads=os.cpu_count() or 1)
    manifest = engine.bundle.manifest
    labels = None if label is None else np.full(n, _index(label, manifest.labels), np.int64)
    request = RowsRequest(n=n, seed=seed, labels=labels, truncation=truncation)
    batches = (
        engine.generate(*request.inputs(manifest, start, min(_BATCH, n - start))) for start in range(0, n, _BATCH)
    )
    spec = manifest.sample
    if form == ".npy":
        file.write(arrays.npy_header((n, *spec.shape), "float32"))
        for samples in batches:
            file.write(arrays.raw(samples, spec, "float32"))
        return
    if form == ".csv":
        if spec.kind != "table":
            raise LatentserveError(f"{bundle}: its samples are no table; write them to a .npy file")
        document = Csv(spec)
        file.write(document.opening())
        for samples in batches:
            file.write(document.rows(samples, None))
        return
    if spec.kind != "image" or spec.value_range is None:
        raise LatentserveError(f"{bundle}: its samples are no images; write them to a .npy file")
    pictures = np.concatenate([images.to_uint8(samples, spec.value_range) for samples in batches])
    made_by = Provenance(manifest.name, manifest.version, seed, 0)
    file.write(images.encode(images.contact_sheet(pictures), made_by, "webp" if form == ".webp" else "png"))


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
