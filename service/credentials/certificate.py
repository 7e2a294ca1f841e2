"""The operator's certificate and its key, from files. Importing this needs the extra `c2pa`."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from latentserve.service.credentials.package import CredentialsError
from latentserve.service.errors import one_line

_FILE_BYTES = 1 << 20
_OTHERS = stat.S_IWGRP | stat.S_IRWXO  # rights to a key that nobody may have
# C2PA Technical Specification 2.2, section 13.2: of a key on a curve, and of one that is none.
_OF_CURVE = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_ED25519, _RSA = "ed25519", "ps256"


class Credential(NamedTuple):
    """What answers are signed with.

    Attributes:
        chain: the certificate and those that it is signed by, PEM, its own first.
        key: its private key, PEM.
        algorithm: of its signatures, as C2PA names it.
        until: when the first of the chain expires.
    """

    chain: bytes
    key: bytes
    algorithm: str
    until: datetime

    def require_valid(self) -> None:
        """Raises CredentialsError: it has expired by now."""
        if datetime.now(UTC) > self.until:
            raise CredentialsError(f"the certificate that answers are signed with has expired on {_day(self.until)}")


def read_credential(certificate: Path, key: Path | None) -> Credential:
    """From PEM files; `key` None: both are in one. Raises CredentialsError, one line that names the file."""
    place = key or certificate
    chain = read_certificates(certificate)
    private = _read_key(place)
    own, now = chain[0], datetime.now(UTC)
    for one in chain:
        if now > one.not_valid_after_utc:
            raise CredentialsError(f"{certificate}: {name_of(one)} has expired on {_day(one.not_valid_after_utc)}")
        if now < one.not_valid_before_utc:
            raise CredentialsError(f"{certificate}: {name_of(one)} is valid from {_day(one.not_valid_before_utc)} on")
    if private.public_key() != own.public_key():
        raise CredentialsError(f"{place}: is not the key of {name_of(own)}, the first certificate of {certificate}")
    if is_authority(own):
        raise CredentialsError(f"{certificate}: its first certificate, {name_of(own)}, is an authority's: no signer's")
    return Credential(
        b"".join(one.public_bytes(Encoding.PEM) for one in chain),
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        _algorithm(private, place),
        min(one.not_valid_after_utc for one in chain),
    )


def read_certificates(path: Path) -> Sequence[x509.Certificate]:
    """Of a PEM file, one at least. Raises CredentialsError."""
    content, _ = _read(path)
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        raise CredentialsError(f"{path}: holds no certificate in PEM that can be read") from None


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it is for signing other certificates."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def name_of(certificate: x509.Certificate) -> str:
    """As people call it."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return repr(str(names[0].value if names else certificate.subject.rfc4514_string())[:100])


def _read(path: Path) -> tuple[bytes, int]:
    """Content and mode of a file."""
    try:
        with path.open("rb") as file:
            return file.read(_FILE_BYTES), os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise CredentialsError(f"{path}: cannot be read ({one_line(error)})") from None


def _read_key(path: Path) -> PrivateKeyTypes:
    content, mode = _read(path)
    if mode & _OTHERS:
        shown = f"{stat.S_IMODE(mode):04o}"
        raise CredentialsError(f"{path}: others have rights to the key in it (mode {shown}): chmod 600 {path}")
    try:
        return load_pem_private_key(content, None)
    except TypeError:
        raise CredentialsError(f"{path}: the key in it has a password; one without is needed") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CredentialsError(f"{path}: holds no private key in PEM that can be read") from None


def _algorithm(key: PrivateKeyTypes, path: Path) -> str:
    if isinstance(key, Ed25519PrivateKey):
        return _ED25519
    if isinstance(key, RSAPrivateKey):
        return _RSA
    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name in _OF_CURVE:
        return _OF_CURVE[key.curve.name]
    raise CredentialsError(f"{path}: C2PA signs by keys on P-256, P-384 and P-521, by Ed25519 and RSA; this is another")


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
