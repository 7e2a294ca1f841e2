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
from typing import Any, BinaryIO, cast, get_args

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from latentserve.service.addresses import is_url
from latentserve.service.bulk.cluster import on_cluster
from latentserve.service.bulk.job import FORMS, Form, Job, make_job
from latentserve.service.bulk.object_store import open_store
from latentserve.service.bulk.progress import Progress
from latentserve.service.bulk.run import here, run_job
from latentserve.service.bulk.sources import BundleSource, ServerSource
from latentserve.service.bundle import SampleSpec, read_bundle
from latentserve.service.client import Client
from latentserve.service.credentials.opening import open_signer
from latentserve.service.encoding.arrays import Dtype
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
from latentserve.service.encoding.signed import SIGNABLE, Signer
from latentserve.service.environment import PREFIX
from latentserve.service.errors import InvalidError, LatentserveError, one_line
from latentserve.service.key_option import key_option
from latentserve.service.opened import open_bundle
from latentserve.service.sampling.choosing.search import Search
from latentserve.service.sampling.fields import label_from_text
from latentserve.service.sampling.latents import SEED_LIMIT
from latentserve.service.settings import load_settings
from latentserve.service.terminal.abilities import graphics_of
from latentserve.service.terminal.drawing import MOST, draw
from latentserve.service.terminal.graphics import GRAPHICS, Graphics
from latentserve.service.terminal.line import Line

_PRODUCER = f"{PREFIX}AIGC_PRODUCER"  # whom files name by GB 45438
_OPTIONS = {"select": "best-of", "select.of": "best-of", "allow_fewer": "allow-fewer"}
_SOUNDS = {".wav": WAV, ".mp3": MP3, ".opus": OGG, ".ogg": OGG, ".flac": FLAC}
_TABLES = {".csv": CSV, ".arrow": ARROW, ".parquet": PARQUET}
_ROWS = {".json": JSON, ".ndjson": NDJSON, ".jsonl": NDJSON, ".zip": ZIP}
_Shown = tuple[NDArray[np.float32], SampleSpec, list[str] | None]
_MEDIA = {".png": PNG, ".webp": WEBP, ".npy": NPY, **_TABLES, **_ROWS, **_SOUNDS}


@click.command()
@click.argument("source", metavar="BUNDLE|URL")
@click.option("--model", help="Of a server that has several.")
@click.option("-n", "n", type=click.IntRange(min=1), default=1, show_default=True, help="Samples.")
@click.option("--seed", type=click.IntRange(0, SEED_LIMIT - 1), help="Default: drawn, and printed.")
@click.option("--offset", type=click.IntRange(0, SEED_LIMIT - 1), help="The first row of the seed. Default: 0.")
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
    metavar="FILE|FOLDER",
    help="File: .png, .webp (a sheet), .wav, .mp3, .opus, .flac (end to end), .npy, .csv, .arrow, .parquet, .json, "
    ".ndjson, .jsonl or .zip (a file a sample). With --format: a folder, or its URL in an object store.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMS),
    help="Shards of any number of samples in a folder; the same command goes on with what is not there.",
)
@click.option(
    "--dtype", type=click.Choice(get_args(Dtype)), help="Of numbers in shards. Default: float32, pictures in bytes."
)
@click.option(
    "--shard-rows",
    type=click.IntRange(min=1),
    metavar="N",
    help="Samples of a shard. Default: about 64 MB of them; pictures in folders of 10,000.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="What makes shards: this process, or the Ray cluster of RAY_ADDRESS or of this machine.",
)
@click.option(
    "--signed/--unsigned",
    default=None,
    help="Sign the file by C2PA, of a bundle with LATENTSERVE_C2PA_CERTIFICATE. Default: LATENTSERVE_C2PA_ALWAYS, or "
    "whether the server always does.",
)
@click.option("--show", is_flag=True, help="Draw them here, in the terminal.")
@click.option(
    "--graphics",
    type=click.Choice(GRAPHICS),
    help="What pictures are drawn by. Default: the best that the terminal has.",
)
@key_option
def sample(
    source: str,
    model: str | None,
    n: int,
    seed: int | None,
    offset: int | None,
    label: str | None,
    conditions: tuple[str, ...],
    truncation: float,
    where: str | None,
    balance: str | None,
    best_of: int | None,
    budget: int | None,
    allow_fewer: bool,
    out: str | None,
    form: Form | None,
    dtype: Dtype | None,
    shard_rows: int | None,
    engine: str,
    signed: bool | None,
    show: bool,
    graphics: Graphics | None,
    key: str | None,
) -> None:
    """Draw samples into a file or on the terminal, or any number of them into a folder of shards.

    \b
    Example: latentserve sample demo/bundle -n 64 --seed 7 --out digits.png
             latentserve sample demo/bundle -n 8 --seed 7 --show
             latentserve sample demo/bundle -n 10000000 --out digits --format parquet
    """
    if out is None and (form is not None or not show):
        raise click.UsageError("Missing option '--out', or '--show'.")
    if show and n > MOST:
        raise InvalidError("-n", f"is {n:,}; --show draws {MOST:,} at the most")
    if model is not None and not is_url(source):
        raise InvalidError("--model", f"{source} is a bundle, and has one")
    asked: dict[str, Any] = {"n": n, "condition": _condition(conditions), "truncation": truncation, "offset": offset}
    asked |= {"where": _where(where), "balance": balance, "select": best_of and {"of": best_of}, "budget": budget}
    asked |= {"allow_fewer": allow_fewer or None}
    if form is not None and out is not None:
        if show:
            raise click.UsageError("--show is not for shards: draw some of their samples by the same seed.")
        if signed:
            raise LatentserveError("--signed is of a file: shards are not signed")
        _into_folder(source, model, out, form, dtype or "float32", shard_rows, label, asked, seed, engine, key)
        return
    for option, given in (("--dtype", dtype), ("--shard-rows", shard_rows), ("--engine ray", engine == "ray")):
        if given:
            raise LatentserveError(f"{option} is of shards: --format says of which")
    seed = secrets.randbelow(SEED_LIMIT) if seed is None else seed
    asked |= {"seed": seed, "model": model}
    if out is not None:
        media = _MEDIA.get(Path(out).suffix.lower())
        if media is None:
            raise LatentserveError(f"{out}: the suffix must be one of {', '.join(_MEDIA)}; --format is for a folder")
        with Line() as line, _new_file(Path(out)) as file:
            if is_url(source):
                _of_server(Client(source, retries=0, key=key), file, media, label, asked | {"signed": signed}, line)
            else:
                _of_bundle(source, file, media, label, asked, _signer(media, asked=signed), line)
        click.echo(f"{out}: {'up to ' if allow_fewer else ''}{n} samples of seed {seed}")
    if show:
        console = Console(highlight=False)
        if is_url(source):
            samples, spec, labels = _shown_of_server(Client(source, retries=0, key=key), label, asked)
        else:
            samples, spec, labels = _shown_of_bundle(source, label, asked)
        draw(console, samples, spec, graphics or graphics_of(console, os.environ), labels)
        if out is None:
            click.echo(f"seed {seed}")


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


def _label_of(client: Client, label: str | None, model: str | None) -> int | str | None:
    if label is None or not label.isdigit():  # only of digits it depends on the names what they mean
        return label
    models = [one for one in client.models() if model in (None, one["name"])]
    return label_from_text(label, models[0].get("labels") if models else None)


def _of_server(
    client: Client, file: BinaryIO, media: str, label: str | None, asked: dict[str, Any], line: Line
) -> None:
    """Samples of the model that a server has."""
    line.begin(f"{asked['n']:,} samples of the server", unit="bytes")
    counted = cast("BinaryIO", _Counted(file, line))
    client.download(media, counted, **asked, label=_label_of(client, label, asked["model"]), deterministic=True)


class _Counted:
    """A file whose length a line shows as it grows."""

    def __init__(self, file: BinaryIO, line: Line) -> None:
        self._file, self._line, self._written = file, line, 0

    def write(self, content: bytes) -> None:
        self._file.write(content)
        self._written += len(content)
        self._line.at(self._written)


def _shown_of_server(client: Client, label: str | None, asked: dict[str, Any]) -> _Shown:
    with client:
        found = client.sample(**asked, label=_label_of(client, label, asked["model"]), deterministic=True)
    return found.array, found.spec, found.labels


def _shown_of_bundle(path: str, label: str | None, asked: dict[str, Any]) -> _Shown:
    bundle = open_bundle(path)
    manifest = bundle.manifest
    named = None if label is None else label_from_text(label, manifest.labels)
    with _options_named():
        request, choice = bundle.asked(**asked, label=named)
    if choice is None:
        parts = list(bundle.parts(request))
    else:
        parts = list(bundle.chosen(request, Search(choice, manifest, request.offset)))
    names = manifest.labels or []
    labels = [names[at] for part in parts if part.labels is not None for at in part.labels]
    return np.concatenate([part.samples for part in parts]), manifest.sample, labels


def _signer(media: str, *, asked: bool | None) -> Signer | None:
    """What signs a file of this type; None: nothing does. `asked`: whether it is to be signed, None: where all are.
    Raises InvalidError, CredentialsError: it cannot be."""
    if asked is False or (asked is None and f"{PREFIX}C2PA_ALWAYS" not in os.environ):
        return None
    settings = load_settings()
    if asked is None and not (settings.c2pa_always and media in SIGNABLE):
        return None
    if media not in SIGNABLE:
        raise InvalidError("--signed", f"{media} holds no signature; {', '.join(SIGNABLE)} do")
    signer = open_signer(settings)
    if signer is None:
        raise InvalidError("--signed", f"{PREFIX}C2PA_CERTIFICATE names no certificate to sign by")
    return signer


def _of_bundle(
    path: str,
    file: BinaryIO,
    media: str,
    label: str | None,
    asked: dict[str, Any],
    signer: Signer | None,
    line: Line,
) -> None:
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
    with _options_named():
        request, choice = bundle.asked(**asked, label=named)
    provenance = Provenance(
        manifest.name,
        manifest.version,
        request.seed,
        request.offset,
        request.truncation,
        labels=manifest.labels or (),
        conditions=manifest.condition_names,
        label_bytes=manifest.label_bytes,
        producer=os.environ.get(_PRODUCER, ""),
        asked_labels=request.labels,
        asked_conditions=request.conditions,
    )
    if choice is None:
        n, parts = request.n, (Rows(part.samples, part.labels, part.conditions) for part in bundle.parts(request))
    else:
        chosen = bundle.chosen(request, Search(choice, manifest, request.offset))
        found = [Rows(part.samples, part.labels, part.conditions, part.numbers, part.scores) for part in chosen]
        n, parts = sum(len(part.samples) for part in found), (part for part in found if len(part.samples))
        provenance = provenance._replace(chosen=True, scored=choice.scored)
    document = make_document(media, n, manifest.sample, provenance, address=choice is not None, signer=signer)
    file.write(document.opening())
    line.begin(str(path), n, "samples")
    made = 0
    for part in parts:
        file.writelines(document.rows(part))
        made += len(part.samples)
        line.at(made)
    file.writelines(document.closing())


def _into_folder(
    source: str,
    model: str | None,
    out: str,
    form: Form,
    dtype: Dtype,
    shard_rows: int | None,
    label: str | None,
    asked: dict[str, Any],
    seed: int | None,
    engine: str,
    key: str | None,
) -> None:
    """Samples in shards, those that are not there."""
    if engine == "ray":
        manifest = ServerSource(source, model, key).manifest if is_url(source) else read_bundle(Path(source)).manifest
        makers = on_cluster(source, model, out, manifest, key)
    else:
        rows = ServerSource(source, model, key) if is_url(source) else BundleSource(Path(source))
        manifest, makers = rows.manifest, here(rows)
    asked["label"] = None if label is None else label_from_text(label, manifest.labels)

    def job(seed: int) -> Job:
        with _options_named():
            return make_job(manifest, form, dtype, asked | {"seed": seed}, shard_rows, os.environ.get(_PRODUCER, ""))

    with Progress() as progress:
        ended = run_job(open_store(out), makers, job, seed, progress)
    click.echo(f"{out}: {ended.rows} samples of seed {ended.job.seed} in {ended.shards} shards")


@contextmanager
def _options_named() -> Iterator[None]:
    """What is wrong is said of the option."""
    try:
        yield
    except InvalidError as error:
        if error.field.startswith("-"):
            raise
        option = _OPTIONS.get(error.field) or error.field.replace(".", " ", 1)
        raise InvalidError(f"--{option}", error.reason) from None


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
