"""`latentserve keys`: make, list and revoke the keys that clients send, and say what each has used."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import click
import orjson
from pydantic import ValidationError

from latentserve.service.access.key_file import KeyFileError, changing, key_path, read_keys
from latentserve.service.access.keys import SCOPES, Key, Scope, new_key
from latentserve.service.access.usage_table import UsageTable, usage_path
from latentserve.service.auditing.log import AuditLog, now
from latentserve.service.errors import InvalidError, LatentserveError, one_line
from latentserve.service.settings import load_settings

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_DURATION = re.compile(rf"(\d{{1,6}})([{''.join(_UNITS)}])", re.ASCII)


@click.group()
@click.option(
    "--keys",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Of the keys. Default: LATENTSERVE_KEYS, else keys.json in LATENTSERVE_HOME.",
)
@click.pass_context
def keys(context: click.Context, file: Path | None) -> None:
    """Who may ask a server, for what, and how much.

    A server with such a file asks every client for a key, and reads the file again when it changes.

    \b
    Example: latentserve keys add gallery --scopes sample --rows-per-second 1000 --expires 90d
    """
    context.obj = file


@keys.command()
@click.argument("name")
@click.option(
    "--scopes", default="sample", show_default=True, help=f"What it is for, `,` between them: {', '.join(SCOPES)}."
)
@click.option("--rows-per-second", type=click.IntRange(1), help="Of all workers together. Default: any number.")
@click.option("--rows-in-flight", type=click.IntRange(1), help="Asked for and not answered yet. Default: any number.")
@click.option(
    "--expires", metavar="WHEN", help="A time (2027-01-31, 2027-01-31T12:00Z), or after 90d, 12h, 30m. Default: never."
)
@click.pass_obj
def add(
    file: Path | None,
    name: str,
    scopes: str,
    rows_per_second: int | None,
    rows_in_flight: int | None,
    expires: str | None,
) -> None:
    """Make a key, and print it: it is shown this once.

    \b
    Example: latentserve keys add gallery --scopes sample,score --rows-per-second 1000 --expires 90d
    """
    path = _path(file)
    given = _scopes(scopes)
    end = None if expires is None else _time(expires)
    try:
        text, key = new_key(name, given, rows_per_second, rows_in_flight, end)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidError(str(first["loc"][0]), first["msg"]) from None
    with changing(path) as held:
        now = time.time()
        if any(one.name == name and one.fault(now) is None for one in held):
            raise LatentserveError(f"{path}: there is a key named {name} already; revoke it, or choose another name")
        held.append(key)
        _tell("key-added", key)
    click.echo(text)
    click.echo(f"{path}: key {key.id}, {name}, for {', '.join(given)}; it is not shown again", err=True)


@keys.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print everything that is kept of them.")
@click.pass_obj
def show(file: Path | None, as_json: bool) -> None:
    """List the keys, the revoked ones too."""
    held = _read(_path(file))
    if as_json:
        click.echo(json.dumps([key.model_dump(mode="json") for key in held], indent=1))
        return
    now = time.time()
    head = ("id", "name", "scopes", "rows/s", "in flight", "created", "expires", "")
    rows = [
        (
            key.id,
            key.name,
            ",".join(key.scopes),
            _number(key.rows_per_second),
            _number(key.rows_in_flight),
            f"{key.created:%Y-%m-%d}",
            "never" if key.expires is None else f"{key.expires:%Y-%m-%d %H:%M}",
            key.fault(now) or "",
        )
        for key in held
    ]
    _echo_table(head, rows)


@keys.command()
@click.argument("key", metavar="NAME|ID")
@click.pass_obj
def revoke(file: Path | None, key: str) -> None:
    """Have a key be of no use from now on. It stays in the list.

    \b
    Example: latentserve keys revoke gallery
    """
    path = _path(file)
    _read(path)
    with changing(path) as held:
        places = [place for place, one in enumerate(held) if key in (one.id, one.name) and one.revoked is None]
        if not places:
            raise LatentserveError(f"{path}: there is no key {key} that is not revoked")
        for place in places:
            held[place] = held[place].model_copy(update={"revoked": datetime.now(UTC).replace(microsecond=0)})
            _tell("key-revoked", held[place])
            click.echo(f"{path}: key {held[place].id}, {held[place].name}, is revoked")


@keys.command()
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_obj
def usage(file: Path | None, as_json: bool) -> None:
    """Say what each key has used, and has under way now.

    Rows that a key pays for as they are sent count when they are; of rows that are chosen, those that were made.
    """
    path = _path(file)
    names = {key.id: key.name for key in _read(path)}
    counted = usage_path(path)
    if not counted.exists():
        raise LatentserveError(f"{counted}: nothing was counted yet, or its folder cannot be written by the server")
    try:
        table = UsageTable(counted)
    except OSError as error:
        raise LatentserveError(f"{counted}: cannot be read ({one_line(error)})") from None
    found = [
        {
            "id": (id_ := bucket.id.rstrip(b"\0").decode()),
            "name": names.get(id_),
            "requests": bucket.requests,
            "rows": bucket.rows,
            "refused": bucket.refused,
            "rows_in_flight": in_flight,
            "used": datetime.fromtimestamp(bucket.used, UTC).isoformat(timespec="seconds") if bucket.used else None,
        }
        for bucket, in_flight in table
    ]
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    head = ("id", "name", "requests", "rows", "refused", "in flight", "used")
    _echo_table(head, [tuple("" if cell is None else str(cell) for cell in one.values()) for one in found])


def _tell(event: str, key: Key) -> None:
    """Say in the account, where one is kept, what becomes of a key. Raises AuditError, UnauditedError: it cannot be
    said, and then is not done."""
    if (folder := load_settings().audit) is not None:
        log = AuditLog(folder)
        told = key.model_dump(mode="json", exclude_none=True, exclude={"id", "sha256", "created"})
        line = {"time": now(), "event": event, "key": key.id, **told}
        log.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE), key.id.encode())
        log.close()


def _path(file: Path | None) -> Path:
    """Where the keys are. Raises LatentserveError."""
    settings = load_settings(keys=file)
    path = key_path(settings.keys, settings.home)
    if path is None:
        raise LatentserveError("where are the keys? Set LATENTSERVE_KEYS, or LATENTSERVE_HOME, or say --keys FILE")
    return path


def _read(path: Path) -> Sequence[Key]:
    try:
        return read_keys(path)
    except FileNotFoundError:
        raise KeyFileError(f"{path}: there is no such file; `latentserve keys add` makes it") from None


def _scopes(stated: str) -> tuple[Scope, ...]:
    """Raises InvalidError."""
    names = dict.fromkeys(part.strip() for part in stated.split(",") if part.strip())
    for name in names:
        if name not in SCOPES:
            raise InvalidError("--scopes", f"{name[:100]!r} is none of {', '.join(SCOPES)}")
    if not names:
        raise InvalidError("--scopes", f"is to be some of {', '.join(SCOPES)}")
    return cast("tuple[Scope, ...]", tuple(names))


def _time(stated: str) -> datetime:
    """A time, or one after so long from now. Raises InvalidError."""
    try:
        if found := _DURATION.fullmatch(stated):
            return datetime.now(UTC).replace(microsecond=0) + timedelta(**{_UNITS[found[2]]: int(found[1])})
        time_ = datetime.fromisoformat(stated)
    except (ValueError, OverflowError):
        said = f"{stated[:100]!r} is neither a time nor a number of {', '.join(_UNITS)}"
        raise InvalidError("--expires", said) from None
    return time_ if time_.tzinfo is not None else time_.replace(tzinfo=UTC)


def _number(number: int | None) -> str:
    return "any" if number is None else f"{number:,}"


def _echo_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
