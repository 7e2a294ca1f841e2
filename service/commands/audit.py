"""`latentserve audit`: read the account of who was sent which samples, and make them again."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import click

from latentserve.service.auditing.trail import Line, Trail
from latentserve.service.encoding.documents import FORMATS, make_document, media_types
from latentserve.service.errors import InvalidError, LatentserveError
from latentserve.service.opened import open_bundle
from latentserve.service.recreated import Recreated
from latentserve.service.sampling.latents import SEED_LIMIT
from latentserve.service.settings import load_settings

_MOST_LINES = 100


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--id", "id_", metavar="ID", help="Of this request (X-Request-ID).")
@click.option("--model", metavar="NAME", help="Of this model.")
@click.option("--version", metavar="VERSION", help="Of this version of it.")
@click.option("--seed", type=click.IntRange(0, SEED_LIMIT - 1), help="Of this seed.")
@click.option("--row", type=click.IntRange(0, SEED_LIMIT - 1), help="That held this row of it.")
@click.option("--key", metavar="ID", help="Sent to who has this key.")
@click.option("--since", metavar="TIME", help="From this time on: 2026-11-27, 2026-11-27T09:24.")
@click.option("--until", metavar="TIME", help="Before this time.")
@click.option(
    "--limit", type=click.IntRange(1), default=_MOST_LINES, show_default=True, help="The last lines that are such."
)
@click.option("--recreate", "bundle", type=click.Path(path_type=Path), metavar="BUNDLE", help="Make the samples again.")
@click.option("--out", type=click.Path(path_type=Path), help=f"File for them, by its suffix: .{', .'.join(FORMATS)}.")
def audit(
    folder: Path | None,
    id_: str | None,
    model: str | None,
    version: str | None,
    seed: int | None,
    row: int | None,
    key: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    bundle: Path | None,
    out: Path | None,
) -> None:
    """Print lines of the account in FOLDER, by default LATENTSERVE_AUDIT, as JSON, the oldest first.

    With --recreate, one line's samples are made again: those of a request (--id), or the row of a seed (--model,
    --version, --seed, --row), as they were sent.

    \b
    Example: latentserve audit accounts --id 3f9a1c2b7d4e-1a --recreate demo/bundle --out again.png
    """
    path = folder or load_settings().audit
    if path is None:
        raise LatentserveError("where is the account? Say FOLDER, or set LATENTSERVE_AUDIT")
    if (bundle is None) != (out is None):
        raise InvalidError("--out" if bundle is None else "--recreate", "needs the other: --recreate BUNDLE --out FILE")
    trail = Trail(path)
    wanted = {"id": id_, "model": model, "version": version, "seed": seed, "key": key}
    lines: Iterator[Line]
    if id_ is not None:
        lines = trail.of_request(id_)
    elif row is not None:
        if model is None or version is None or seed is None:
            raise InvalidError(
                "--row", "is of a seed of a version of a model: --model, --version and --seed are needed"
            )
        lines = trail.of_row(model, version, seed, row)
    else:
        lines = trail.lines()
    found = (line for line in lines if _is_such(line, wanted, since, until))
    # Those of a row come newest first: the others need not be looked for.
    last = list(reversed(list(islice(found, limit)))) if row is not None and id_ is None else list(deque(found, limit))
    if bundle is None or out is None:
        for line in last:
            click.echo(json.dumps(line))
        return
    sampled = [line for line in last if line["event"] == "sampled"]
    if not sampled:
        raise LatentserveError(f"{path}: nothing was sent that is such")
    _recreate(Recreated(open_bundle(bundle), trail, sampled[-1], row), out)


def _is_such(line: Line, wanted: Mapping[str, object], since: str | None, until: str | None) -> bool:
    time = str(line.get("time", ""))
    if (since is not None and time < since) or (until is not None and time >= until):
        return False
    return all(value is None or line.get(name) == value for name, value in wanted.items())


def _recreate(again: Recreated, out: Path) -> None:
    """Write them. Raises LatentserveError."""
    spec = again.spec
    media = FORMATS.get(out.suffix.lower().removeprefix("."))  # type: ignore[call-overload]
    if media not in media_types(spec):
        taken = [f".{name}" for name, of in FORMATS.items() if of in media_types(spec)]
        raise LatentserveError(f"{out}: the suffix must be one of {', '.join(taken)}")
    document = make_document(media, again.n, spec, again.provenance, address=again.numbered)
    try:
        with out.open("wb") as file:
            file.write(document.opening())
            for part in again.rows():
                file.writelines(document.rows(part))
            file.writelines(document.closing())
    except BaseException:
        out.unlink(missing_ok=True)
        raise
    click.echo(f"{out}: {again.n} samples, made again")
