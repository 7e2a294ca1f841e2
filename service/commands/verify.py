"""`latentserve verify`: was this file made by this bundle?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import orjson

from latentserve.service.auditing.trail import Trail
from latentserve.service.credentials.package import require_library
from latentserve.service.credentials.signature import Signature, signature_of
from latentserve.service.environment import PREFIX
from latentserve.service.errors import LatentserveError, one_line
from latentserve.service.finding.lookup import lookup
from latentserve.service.opened import OpenedBundle, open_bundle
from latentserve.service.verifying.mark import Mark
from latentserve.service.verifying.reading import Brought, Limits, UnreadableError, read_file
from latentserve.service.verifying.verdict import Verified, concluded, elsewhere, mark_of, unmarked, verification

_FILE_BYTES = 1 << 30
_LIMITS = Limits(content_bytes=1 << 30, rows=1_000_000)
_STATUS = {"exact": 0, "alike": 3, "no": 1}
_UNREADABLE = 2


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--bundle", type=click.Path(path_type=Path), help="Which may have made it.")
@click.option(
    "--trusted",
    type=click.Path(path_type=Path),
    envvar=f"{PREFIX}C2PA_TRUSTED",
    show_envvar=True,
    help="File (PEM) of authorities, or of a signer's chain, whose signatures are believed.",
)
@click.option("--mark", help="What the answer's header Latentserve-Mark said, where the file has no room for it.")
@click.option(
    "--audit", type=click.Path(path_type=Path), metavar="FOLDER", help="Look a picture up in this account, too."
)
@click.option("--json", "as_json", is_flag=True, help="All that was found, as JSON.")
def verify(
    file: Path, bundle: Path | None, trusted: Path | None, mark: str | None, audit: Path | None, as_json: bool
) -> None:
    """Was this file made by this bundle? The rows that its mark names are made again, and compared; its signature
    (C2PA) is read.

    With --audit, a picture that its mark does not prove is looked up among what was sent, as far as `latentserve audit
    index` has gone.

    Ends with status 0: exactly (every pixel, or value), or as it was signed; 3: it was made from them, and changed; 1:
    nothing shows that; 2: the file cannot be read.

    \b
    Example: latentserve verify digits.png --bundle demo/bundle
    """
    if bundle is None and trusted is None:
        raise click.UsageError("Missing option '--bundle', or '--trusted'.")
    try:
        found = _verified(file, bundle, trusted, mark, audit)
    except LatentserveError as error:
        click.echo(f"latentserve: {error}", err=True)
        sys.exit(_UNREADABLE)
    if as_json:
        click.echo(orjson.dumps(found.told()))
    else:
        click.echo(f"{found.verdict}: {found.why}")
    sys.exit(_STATUS[found.verdict])


def _verified(file: Path, bundle: Path | None, trusted: Path | None, mark: str | None, audit: Path | None) -> Verified:
    claim = None if mark is None else Mark.read(mark).model_dump(exclude_unset=True)
    trust = None
    if trusted is not None:
        require_library("--trusted")
        from latentserve.service.credentials.reading import read_trust  # its package is an extra

        trust = read_trust(trusted)
    try:
        with file.open("rb") as stream:
            content = stream.read(_FILE_BYTES + 1)
    except OSError as error:
        raise UnreadableError(f"{file}: {one_line(error)}") from None
    if len(content) > _FILE_BYTES:
        raise UnreadableError(f"{file}: has more than {_FILE_BYTES} bytes")
    opened = None if bundle is None else open_bundle(bundle)
    try:
        brought = read_file(content, _LIMITS)
    except LatentserveError as error:
        raise UnreadableError(f"{file}: {error}") from None
    signature = signature_of(brought.assets, trust)
    told = mark_of(brought, claim, signature)
    if opened is None:
        if told is None:
            return unmarked(signature)
        return elsewhere(told, signature, "no bundle was named that makes its rows again")
    found = unmarked(signature) if told is None else _of_bundle(opened, brought, told, signature)
    if found.verdict == "no" and audit is not None:
        gives_uint8 = opened.gives("sample_uint8")
        steps = lookup(brought.content, Trail(audit), opened.manifest, gives_uint8=gives_uint8)
        found = found.or_else(concluded(steps, opened.made))
    return found


def _of_bundle(opened: OpenedBundle, brought: Brought, told: dict[str, Any], signature: Signature | None) -> Verified:
    """Raises what the engine does."""
    manifest, gives_uint8 = opened.manifest, opened.gives("sample_uint8")
    steps = verification(brought, told, manifest, _LIMITS, gives_uint8=gives_uint8, signature=signature)
    verified = concluded(steps, opened.made)
    if (verified.model, verified.version) != (manifest.name, manifest.version) and verified.verdict != "no":
        return verified._replace(verdict="no", rests_on=[])  # it was signed, of another bundle
    return verified
