"""`latentserve audit`: read the account of who was sent which samples, and make them again."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import click

from latentserve.service.auditing.trail import Line, Trail
from latentserve.service.bundle import read_bundle
from latentserve.service.encoding.documents import FORMATS, make_document, media_types
from latentserve.service.errors import InvalidError, LatentserveError
from latentserve.service.finding.control import PICTURES, control
from latentserve.service.finding.indexing import index_rows, indexed
from latentserve.service.finding.served import Served
from latentserve.service.opened import OpenedBundle, open_bundle
from latentserve.service.recreated import Recreated
from latentserve.service.sampling.latents import SEED_LIMIT
from latentserve.service.settings import load_settings
from latentserve.service.terminal import line as terminal

_MOST_LINES = 100
_NICE = 19  # what is served comes first
_ROUND_SECONDS = 5.0


class _Audit(click.Group):
    """A group whose first word may be left out: then lines are read."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        named = bool(args) and (args[0] in self.commands or args[0] in self.get_help_option_names(context))
        return super().parse_args(context, args if named else ["read", *args])


@click.group(cls=_Audit)
def audit() -> None:
    """The account of who was sent which samples: read it, and make them again (`read`, which may be left out); make an
    index of it, in which pictures are found that have lost their marks (`index`).

    \b
    Example: latentserve audit account --id 3f9a1c2b7d4e-1a --recreate demo/bundle --out again.png
    Example: latentserve audit index account --bundle demo/bundle
    """


@audit.command()
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
def read(
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
    Example: latentserve audit account --id 3f9a1c2b7d4e-1a --recreate demo/bundle --out again.png
    """
    path = _folder(folder)
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


@audit.command()
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--bundle", required=True, type=click.Path(path_type=Path), help="That made the samples.")
@click.option("--follow", is_flag=True, help="Go on with what is sent from now on, until ^C.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Of the engine.")
def index(folder: Path | None, bundle: Path, follow: bool, threads: int) -> None:
    """Make features of the pictures that the account in FOLDER, by default LATENTSERVE_AUDIT, tells of.

    They are made again for that, at the lowest priority; what is in the index already is not. It may be stopped at any
    time, and goes on where it was. `latentserve verify --audit` and `POST /v1/verify` look pictures up in it.

    \b
    Example: latentserve audit index account --bundle demo/bundle
    """
    path = _folder(folder)
    opened = OpenedBundle(read_bundle(bundle), threads=threads)
    manifest = opened.manifest
    if manifest.sample.kind != "image":
        raise LatentserveError(f"{bundle}: makes no pictures ({manifest.sample.kind}); only pictures are looked up")
    os.nice(_NICE)
    with terminal.Line() as line:
        while True:
            trail = Trail(path)
            _index(opened, trail, line)
            if not follow:
                break
            line.begin("waiting for more")
            time.sleep(_ROUND_SECONDS)
    known = indexed(trail, manifest)
    lost = f"; {known.lost:,} cannot be made again" if known.lost else ""
    click.echo(
        f"{path}: {known.answers:,} of {known.of:,} answers of {manifest.name} {manifest.version} are in it{lost}"
    )


def _index(opened: OpenedBundle, trail: Trail, line: terminal.Line) -> None:
    known = indexed(trail, opened.manifest)
    done = known.answers + known.lost
    line.begin("making rows again", known.of, "answers", done=done)

    def told(answers: int) -> None:
        nonlocal done
        done += answers
        line.at(done)

    index_rows(opened, trail, told)
    line.begin("measuring how near foreign pictures come", PICTURES, "pictures")
    control(opened, Served(trail, opened.manifest), line.at)


def _folder(given: Path | None) -> Path:
    """Of the account. Raises LatentserveError."""
    path = given or load_settings().audit
    if path is None:
        raise LatentserveError("where is the account? Say FOLDER, or set LATENTSERVE_AUDIT")
    return path


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
