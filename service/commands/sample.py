"""`latentserve sample`: samples into a file, from a bundle here or a server elsewhere."""

from __future__ import annotations

import json
import math
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import click

from latentserve.service.addresses import is_url
from latentserve.service.client import Client
from latentserve.service.encoding.codecs import AUDIO_IS_THERE, CODECS, EXTRA
from latentserve.service.encoding.document import (
    ARROW,
    CSV,
    FLAC,
    JSON,
    MP3,
    NDJSON,
    NPY,
    OGG,
    PARQUET,
    PNG,
    WAV,
    WEBP,
    ZIP,
)
from latentserve.service.encoding.documents import make_document, media_types
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.rows import Rows
from latentserve.service.errors import InvalidError, LatentserveError, one_line
from latentserve.service.opened import open_bundle
from latentserve.service.sampling.choosing.search import Search
from latentserve.service.sampling.fields import label_from_text
from latentserve.service.sampling.latents import SEED_LIMIT

_OPTIONS = {"select": "best-of", "select.of": "best-of", "allow_fewer": "allow-fewer"}
_SOUNDS = {".wav": WAV, ".mp3": MP3, ".opus": OGG, ".ogg": OGG, ".flac": FLAC}
_TABLES = {".csv": CSV, ".arrow": ARROW, ".parquet": PARQUET}
_ROWS = {".json": JSON, ".ndjson": NDJSON, ".jsonl": NDJSON, ".zip": ZIP}
_MEDIA = {".png": PNG, ".webp": WEBP, ".npy": NPY, **_TABLES, **_ROWS, **_SOUNDS}


@click.command()
@click.argument("source", metavar="BUNDLE|URL")
@click.option("-n", "n", type=click.IntRange(min=1), default=1, show_default=True, help="Samples.")
@click.option("--seed", type=click.IntRange(0, SEED_LIMIT - 1), help="Default: drawn, and printed.")
@click.option(
    "--label",
    help="Of all samples: a name where there is one like it, else an index. Default: drawn as in the training data.",
)
@click.option(
    "--condition",
    "conditions",
    metavar="NAME=VALUE",
    multiple=True,
    help="Of all samples; as often as there are names. Default: drawn from its prior.",
)
@click.option("--truncation", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True)
@click.option(
    "--where",
    metavar="JSON",
    help='The first that are such: {"COLUMN": {"min": 30, "max": 40}, "OTHER": {"in": ["a", "b"]}}.',
)
@click.option("--balance", metavar="COLUMN", help="As many of each of its categories; `$label`.")
@click.option("--best-of", type=click.IntRange(min=2), metavar="K", help="Of K each the one with the best score.")
@click.option("--budget", type=click.IntRange(min=1), help="Looked at for these, at the most.")
@click.option("--allow-fewer", is_flag=True, help="Take fewer where the budget ends.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="File: .png, .webp (a sheet), .wav, .mp3, .opus, .flac (end to end), .npy, .csv, .arrow, .parquet, .json, "
    ".ndjson, .jsonl or .zip (a file a sample).",
)
def sample(
    source: str,
    n: int,
    seed: int | None,
    label: str | None,
    conditions: tuple[str, ...],
    truncation: float,
    where: str | None,
    balance: str | None,
    best_of: int | None,
    budget: int | None,
    allow_fewer: bool,
    out: Path,
) -> None:
    """Draw samples into a file.

    \b
    Example: latentserve sample demo/bundle -n 64 --seed 7 --out digits.png
    """
    media = _MEDIA.get(out.suffix.lower())
    if media is None:
        raise LatentserveError(f"{out}: the suffix must be one of {', '.join(_MEDIA)}")
    seed = secrets.randbelow(SEED_LIMIT) if seed is None else seed
    draw = _of_server if is_url(source) else _of_bundle
    asked: dict[str, Any] = {"n": n, "seed": seed, "condition": _condition(conditions), "truncation": truncation}
    asked |= {"where": _where(where), "balance": balance, "select": best_of and {"of": best_of}, "budget": budget}
    asked |= {"allow_fewer": allow_fewer or None}
    with _new_file(out) as file:
        draw(source, file, media, label, asked)
    click.echo(f"{out}: {'up to ' if allow_fewer else ''}{n} samples of seed {seed}")


def _condition(stated: Iterable[str]) -> dict[str, float] | None:
    """Numbers by name, from NAME=VALUE. Raises InvalidError."""
    condition: dict[str, float] = {}
    for text in stated:
        name, _, value = text.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not name or not math.isfinite(number):
            raise InvalidError("--condition", f"{text[:100]!r} is not NAME=VALUE with a number")
        if name in condition:
            raise InvalidError("--condition", f"{name[:100]!r} is given twice")
        condition[name] = number
    return condition or None


def _where(text: str | None) -> object:
    """What is asked for, from JSON. Raises InvalidError."""
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidError("--where", f"is not JSON: {one_line(error)}") from None


def _of_server(url: str, file: BinaryIO, media: str, label: str | None, asked: dict[str, Any]) -> None:
    """Samples of the model that a server has."""
    client = Client(url, retries=0)
    named: int | str | None = label
    if label is not None and label.isdigit():  # only of digits it depends on the names what they mean
        models = client.models()
        named = label_from_text(label, models[0].get("labels") if models else None)
    client.download(media, file, **asked, label=named, deterministic=True)


def _of_bundle(path: str, file: BinaryIO, media: str, label: str | None, asked: dict[str, Any]) -> None:
    """Samples of a bundle, a slice at a time."""
    bundle = open_bundle(path)
    manifest = bundle.manifest
    if media not in media_types(manifest.sample):
        if media in CODECS and not AUDIO_IS_THERE:
            raise LatentserveError(f"{path}: {media} needs {EXTRA}")
        if media in (ARROW, PARQUET):
            raise LatentserveError(f"{path}: {media} needs latentserve[tables]")
        sounds = dict.fromkeys(_SOUNDS.values(), "no audio of [channels, frames]")
        what = {CSV: "no table", **sounds}.get(media, "no images")
        raise LatentserveError(f"{path}: its samples are {what}; write them to a .npy file")
    named = None if label is None else label_from_text(label, manifest.labels)
    try:
        request, choice = bundle.asked(**asked, label=named)
    except InvalidError as error:
        option = _OPTIONS.get(error.field) or error.field.replace(".", " ", 1)
        raise InvalidError(f"--{option}", error.reason) from None
    provenance = Provenance(
        manifest.name,
        manifest.version,
        request.seed,
        request.offset,
        request.truncation,
        labels=manifest.labels or (),
        conditions=manifest.condition_names,
        label_bytes=manifest.label_bytes,
    )
    if choice is None:
        n, parts = request.n, (Rows(part.samples, part.labels, part.conditions) for part in bundle.parts(request))
    else:
        chosen = bundle.chosen(request, Search(choice, manifest, request.offset))
        found = [Rows(part.samples, part.labels, part.conditions, part.numbers, part.scores) for part in chosen]
        n, parts = sum(len(part.samples) for part in found), (part for part in found if len(part.samples))
        provenance = provenance._replace(scored=choice.scored)
    document = make_document(media, n, manifest.sample, provenance, address=choice is not None)
    file.write(document.opening())
    for part in parts:
        file.writelines(document.rows(part))
    file.writelines(document.closing())


@contextmanager
def _new_file(out: Path) -> Iterator[BinaryIO]:
    """A file beside `out` that takes its place at the end, unless something fails."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{out.name}-", dir=out.parent)
    except OSError as error:
        raise LatentserveError(f"{out}: cannot be written ({one_line(error)})") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        Path(name).chmod(0o644)
        Path(name).replace(out)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
