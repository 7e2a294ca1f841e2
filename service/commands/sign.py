"""`latentserve sign`: say whose bundle this is."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from latentserve.service.bundle import read_bundle
from latentserve.service.bundle.files import replace_generator
from latentserve.service.bundle.signature import SIGNATURE, needs_password, sign_folder
from latentserve.service.errors import SignatureError
from latentserve.service.trust import Trust


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--key",
    required=True,
    type=click.Path(path_type=Path),
    help="Private key (PEM) on P-256, P-384 or P-521; of an encrypted one the password is asked for.",
)
@click.option(
    "--certificate",
    type=click.Path(path_type=Path),
    help="Certificate of the key (PEM); those that lead to its authority may stand behind it.",
)
@click.option(
    "--chain", multiple=True, type=click.Path(path_type=Path), help="Files of those, as often as there are such."
)
@click.option(
    "--generator",
    type=click.Path(path_type=Path),
    help="An ONNX file to put in the place of the bundle's: the same with more said in it, such as a C2PA manifest.",
)
def sign(bundle: Path, key: Path, certificate: Path | None, chain: tuple[Path, ...], generator: Path | None) -> None:
    """Sign BUNDLE: its file model.sig then says by OpenSSF Model Signing that every other file is as its maker had it.

    Servers whose LATENTSERVE_TRUSTED_KEYS holds the public key, or the authority's certificate, verify it when they
    load the bundle. One that is changed afterwards is to be signed again.

    \b
    Example: latentserve sign demo/bundle --key signing.pem
    """
    if chain and certificate is None:
        raise click.UsageError("--chain leads on from a --certificate, and there is none")
    password = _password(key)
    if generator is not None:
        replace_generator(bundle, generator)
    read = read_bundle(bundle, Trust())  # whoever signs it answers for it, whoever signed it before
    signature = sign_folder(bundle, read.digests, key, password, certificate, chain)
    named = f"{read.manifest.name} {read.manifest.version}"
    click.echo(f"{bundle / SIGNATURE}: {named} is signed by the {signature.by} {signature.fingerprint}")


def _password(key: Path) -> str | None:
    """Of an encrypted key. Raises SignatureError: nobody can be asked."""
    if not needs_password(key):
        return None
    if not sys.stdin.isatty():
        raise SignatureError(f"{key}: is encrypted, and there is no terminal to ask for its password")
    password: str = click.prompt(f"Password of {key}", hide_input=True, err=True)
    return password
