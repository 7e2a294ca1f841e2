"""`latentserve verify`: was this file made by this bundle?"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import orjson

from latentserve.service.auditing.trail import Trail
from latentserve.service.errors import LatentserveError, one_line
from latentserve.service.finding.lookup import lookup
from latentserve.service.opened import OpenedBundle, open_bundle
from latentserve.service.verifying.mark import Mark
from latentserve.service.verifying.reading import Limits, UnreadableError, read_file
from latentserve.service.verifying.verdict import Verification, Verified, mark_of, unmarked, verification

_FILE_BYTES = 1 << 30
_LIMITS = Limits(content_bytes=1 << 30, rows=1_000_000)
_STATUS = {"exact": 0, "alike": 3, "no": 1}
_UNREADABLE = 2


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--bundle", required=True, type=click.Path(path_type=Path), help="Which may have made it.")
@click.option("--mark", help="What the answer's header Latentserve-Mark said, where the file has no room for it.")
@click.option(
    "--audit", type=click.Path(path_type=Path), metavar="FOLDER", help="Look a picture up in this account, too."
)
@click.option("--json", "as_json", is_flag=True, help="All that was found, as JSON.")
def verify(file: Path, bundle: Path, mark: str | None, audit: Path | None, as_json: bool) -> None:
    """Was this file made by this bundle? The rows that its mark names are made again, and compared.

    With --audit, a picture that its mark does not prove is looked up among what was sent, as far as `latentserve audit
    index` has gone.

    Ends with status 0: exactly (every pixel, or value); 3: it was made from them, and changed; 1: nothing shows that;
    2: the file cannot be read.

    \b
    Example: latentserve verify digits.png --bundle demo/bundle
    """
    try:
        found = _verified(file, bundle, mark, audit)
    except LatentserveError as error:
        click.echo(f"latentserve: {error}", err=True)
        sys.exit(_UNREADABLE)
    if as_json:
        click.echo(orjson.dumps(found.told()))
    else:
        click.echo(f"{found.verdict}: {found.why}")
    sys.exit(_STATUS[found.verdict])


def _verified(file: Path, bundle: Path, mark: str | None, audit: Path | None) -> Verified:
    claim = None if mark is None else Mark.read(mark).model_dump(exclude_unset=True)
    try:
        with file.open("rb") as stream:
            content = stream.read(_FILE_BYTES + 1)
    except OSError as error:
        raise UnreadableError(f"{file}: {one_line(error)}") from None
    if len(content) > _FILE_BYTES:
        raise UnreadableError(f"{file}: has more than {_FILE_BYTES} bytes")
    opened = open_bundle(bundle)
    try:
        brought = read_file(content, _LIMITS)
    except LatentserveError as error:
        raise UnreadableError(f"{file}: {error}") from None
    gives_uint8 = opened.gives("sample_uint8")
    if (told := mark_of(brought, claim)) is None:
        found = unmarked()
    else:
        found = _run(verification(brought, told, opened.manifest, _LIMITS, gives_uint8=gives_uint8), opened)
    if found.verdict == "no" and audit is not None:
        steps = lookup(brought.content, Trail(audit), opened.manifest, gives_uint8=gives_uint8)
        found = found.or_else(_run(steps, opened))
    return found


def _run(steps: Verification, opened: OpenedBundle) -> Verified:
    try:
        request = next(steps)
        while True:
            request = steps.send(opened.made(request))
    except StopIteration as end:
        verified: Verified = end.value
        return verified
