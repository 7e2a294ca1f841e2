"""Signing and verifying bundles by OpenSSF Model Signing's own library. Needs `latentserve[sign]`."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from model_signing import hashing, manifest, signing, verifying
from model_signing._hashing.hashing import Digest
from OpenSSL import crypto

from latentserve.service.bundle.signature import SIGNATURE, Signature
from latentserve.service.errors import SignatureError, one_line
from latentserve.service.trust import TRUSTED_KEYS

_PEM_BYTES = 1 << 20
_PEM_FILES = 1000
_NAMED = 5  # files, in a line
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_ELLIPTIC = "an elliptic key of P-256, P-384 or P-521"
_PUBLIC_KEY = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.S)
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.S)
_FOR_SIGNING = {ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}


class _Digests(hashing.Config):  # type: ignore[misc]
    """The SHA-256 of files that were read already. The library would read the folder again, which may be another by
    then, and pass files by that it takes for git's."""

    def __init__(self, name: str, digests: Mapping[str, str]) -> None:
        super().__init__()
        self._name, self._digests = name, digests
        self.asked_for = False

    def hash(self, model_path: object, *, files_to_hash: object = None) -> manifest.Manifest:
        """Of the library: called once a signature itself is good."""
        self.asked_for = True
        how = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": [SIGNATURE]}
        kind = manifest.SerializationType.from_args(how)
        items = [kind.new_item(name, Digest("sha256", bytes.fromhex(one))) for name, one in self._digests.items()]
        return manifest.Manifest(self._name, items, kind)


@dataclass(frozen=True)
class Trusted:
    """Who is trusted.

    Attributes:
        keys: public keys, PEM, by their fingerprints.
        authorities: certificates of authorities.
    """

    keys: Mapping[str, bytes]
    authorities: Sequence[x509.Certificate]

    def verify(self, claim: Signature, told: Mapping[str, Any], digests: Mapping[str, str]) -> Signature:
        """The signature, verified. Raises SignatureError with the reason why it is not."""
        if claim.by == "key":
            return self._by_key(claim, told, digests)
        return self._by_certificate(claim, told, digests)

    def _by_key(self, claim: Signature, told: Mapping[str, Any], digests: Mapping[str, str]) -> Signature:
        if claim.fingerprint is not None and claim.fingerprint not in self.keys:
            raise SignatureError(f"is by the key {claim.fingerprint[:16]}, which {TRUSTED_KEYS} does not hold")
        for fingerprint in self.keys if claim.fingerprint is None else [claim.fingerprint]:
            # The library complains on standard output of a signature that does not say which key it is by.
            named = {**told["verificationMaterial"], "publicKey": {"hint": fingerprint}}
            with tempfile.TemporaryDirectory() as scratch:
                key = Path(scratch) / "key.pem"
                key.write_bytes(self.keys[fingerprint])
                config = verifying.Config().use_elliptic_key_verifier(public_key=key)
                try:
                    _verify(config, {**told, "verificationMaterial": named}, digests)
                except InvalidSignature:
                    continue
            return replace(claim, fingerprint=fingerprint)
        if claim.fingerprint is None:
            raise SignatureError(f"is by no key that {TRUSTED_KEYS} holds")
        raise SignatureError(f"was not made with the key that it names, {claim.fingerprint[:16]}")

    def _by_certificate(self, claim: Signature, told: Mapping[str, Any], digests: Mapping[str, str]) -> Signature:
        if not self.authorities:  # the library would take those of all web sites
            raise SignatureError(f"is by a certificate, and {TRUSTED_KEYS} holds none of an authority")
        chain = _chain(told)
        self._check_chain(chain)
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "authorities.pem"
            file.write_bytes(_pem(self.authorities))
            config = verifying.Config().use_certificate_verifier(certificate_chain=[file])
            try:
                _verify(config, told, digests)
            except InvalidSignature:
                raise SignatureError("was not made with the key of its certificate") from None
        return replace(claim, subject=chain[0].subject.rfc4514_string())

    def _check_chain(self, chain: Sequence[x509.Certificate]) -> None:
        """Today, for the library asks whether the chain was valid when its certificate was made. Raises SignatureError:
        a certificate has expired, or is not by an authority that is trusted, or not for signing."""
        first, *others = chain
        if not _is_elliptic(first.public_key()):
            raise SignatureError(f"its certificate is not of {_ELLIPTIC}")
        store = crypto.X509Store()
        for authority in self.authorities:
            store.add_cert(crypto.X509.from_cryptography(authority))
        between = [crypto.X509.from_cryptography(one) for one in others]
        context = crypto.X509StoreContext(store, crypto.X509.from_cryptography(first), between)
        try:
            context.verify_certificate()
        except crypto.X509StoreContextError as error:
            whose = "" if error.certificate is None else f" ({_name(error.certificate.to_cryptography())})"
            raise SignatureError(f"its certificate is not good: {one_line(error)}{whose}") from None
        try:
            uses = set(first.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        except x509.ExtensionNotFound:
            return
        except ValueError as error:
            raise SignatureError(f"its certificate cannot be read ({one_line(error)})") from None
        if not uses & _FOR_SIGNING:  # an authority may have given one to a web server, too
            raise SignatureError(f"its certificate ({_name(first)}) is for other uses than to sign code")


def read_trusted(place: Path) -> Trusted:
    """The keys and certificates of a file, or of every file of a folder that is not hidden. Raises SignatureError."""
    named = f"{TRUSTED_KEYS}={place}"
    try:
        files = sorted(file for file in place.iterdir() if file.name[0] != ".") if place.is_dir() else [place]
    except OSError as error:
        raise SignatureError(f"{named}: cannot be read ({one_line(error)})") from None
    if not files:
        raise SignatureError(f"{named}: the folder holds no key")
    if len(files) > _PEM_FILES:
        raise SignatureError(f"{named}: the folder holds more than {_PEM_FILES} files")
    keys: dict[str, bytes] = {}
    authorities: list[x509.Certificate] = []
    for file in files:
        content = _read(file, TRUSTED_KEYS)
        blocks = _PUBLIC_KEY.findall(content)
        if b"PRIVATE KEY-----" in content:
            raise SignatureError(f"{TRUSTED_KEYS}: {file}: holds a private key; keep that where bundles are signed")
        try:
            keys |= dict(map(_public_key, blocks))
            found = [x509.load_pem_x509_certificate(block) for block in _CERTIFICATE.findall(content)]
        except (ValueError, TypeError) as error:
            raise SignatureError(f"{TRUSTED_KEYS}: {file}: {one_line(error)}") from None
        if not blocks and not found:
            raise SignatureError(f"{TRUSTED_KEYS}: {file}: holds neither a public key nor a certificate (PEM)")
        authorities += found
    return Trusted(keys, authorities)


def sign(
    name: str,
    digests: Mapping[str, str],
    key: Path,
    password: str | None,
    certificate: Path | None,
    chain: Sequence[Path],
) -> bytes:
    """A signature over files of these SHA-256, as `model.sig` holds it. Raises SignatureError."""
    private = _private_key(key, password)
    certificates = [] if certificate is None else _certificates(certificate)
    for file in chain:
        certificates += _certificates(file)
    if certificates:
        first = certificates[0]
        if first.public_key() != private.public_key():
            raise SignatureError(f"{certificate}: is not of the key {key}")
        now = datetime.now(UTC)
        if not first.not_valid_before_utc <= now <= first.not_valid_after_utc:
            when = f"{first.not_valid_before_utc:%Y-%m-%d} to {first.not_valid_after_utc:%Y-%m-%d}"
            raise SignatureError(f"{certificate}: is valid from {when}")
    with tempfile.TemporaryDirectory() as scratch, _in_memory(private) as decrypted:
        folder = Path(scratch)
        config = signing.Config()
        if certificates:
            (folder / "certificate.pem").write_bytes(_pem(certificates[:1]))
            (folder / "chain.pem").write_bytes(_pem(certificates[1:] or certificates))
            config.use_certificate_signer(
                private_key=decrypted,
                signing_certificate=folder / "certificate.pem",
                certificate_chain=[folder / "chain.pem"],
            )
        else:
            config.use_elliptic_key_signer(private_key=decrypted)
        config.set_hashing_config(_Digests(name, digests)).sign(folder, folder / SIGNATURE)
        return (folder / SIGNATURE).read_bytes()


def _verify(config: verifying.Config, told: Mapping[str, Any], digests: Mapping[str, str]) -> None:
    """Raises InvalidSignature: by another key. SignatureError: of other files, or no signature."""
    known = _Digests("bundle", digests)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / SIGNATURE
        file.write_text(json.dumps(told))
        try:
            config.set_hashing_config(known).verify(scratch, file)
        except InvalidSignature:
            raise
        except Exception as error:  # the library's own, pydantic's, and what malformed parts lead to
            if known.asked_for:
                raise SignatureError(f"signs other files than these{_differences(told, digests)}") from None
            raise SignatureError(f"is no signature that can be read ({one_line(error)})") from None


def _differences(told: Mapping[str, Any], digests: Mapping[str, str]) -> str:
    """Which files those are, in words, of a signature that is good itself."""
    try:
        resources = json.loads(base64.b64decode(told["dsseEnvelope"]["payload"]))["predicate"]["resources"]
        signed = {str(one["name"]): one["digest"] for one in resources}
    except (ValueError, KeyError, TypeError):  # of an earlier release
        return ""
    names = sorted(name for name in signed.keys() | digests.keys() if signed.get(name) != digests.get(name))
    return f": {', '.join(name[:100] for name in names[:_NAMED])}{' ...' if len(names) > _NAMED else ''}"


def _chain(told: Mapping[str, Any]) -> list[x509.Certificate]:
    """Of the certificates in a signature; the first is whose key signed."""
    try:
        found = told["verificationMaterial"]["x509CertificateChain"]["certificates"]
        return [x509.load_der_x509_certificate(base64.b64decode(one["rawBytes"])) for one in found]
    except (ValueError, KeyError, TypeError) as error:
        raise SignatureError(f"its certificates cannot be read ({one_line(error)})") from None


def _certificates(file: Path) -> list[x509.Certificate]:
    """Raises SignatureError."""
    try:
        return x509.load_pem_x509_certificates(_read(file))
    except ValueError as error:
        raise SignatureError(f"{file}: holds no certificate (PEM): {one_line(error)}") from None


def _private_key(file: Path, password: str | None) -> ec.EllipticCurvePrivateKey:
    """Raises SignatureError."""
    try:
        key = serialization.load_pem_private_key(_read(file), None if password is None else password.encode())
    except TypeError:  # a password that is missing, or that there is no use for
        raise SignatureError(f"{file}: the key is {'encrypted' if password is None else 'not encrypted'}") from None
    except ValueError as error:
        raise SignatureError(f"{file}: is no private key (PEM), or of another password: {one_line(error)}") from None
    except UnsupportedAlgorithm as error:
        raise SignatureError(f"{file}: {one_line(error)}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not _is_elliptic(key.public_key()):
        raise SignatureError(f"{file}: is not {_ELLIPTIC}")
    return key


@contextmanager
def _in_memory(key: ec.EllipticCurvePrivateKey) -> Iterator[Path]:
    """A path at which the library reads a private key, which may be encrypted on the disk and is to stay so."""
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    descriptor = os.memfd_create("key")
    try:
        os.write(descriptor, key.private_bytes(*pem))
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _public_key(block: bytes) -> tuple[str, bytes]:
    """Its fingerprint, and it. Raises ValueError."""
    key = serialization.load_pem_public_key(block)
    if not _is_elliptic(key):
        raise ValueError(f"holds a public key that is not {_ELLIPTIC}")
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest(), pem


def _is_elliptic(key: object) -> bool:
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES)


def _pem(certificates: Sequence[x509.Certificate]) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()


def _read(file: Path, setting: str = "") -> bytes:
    """A file of keys or certificates. Raises SignatureError naming it, and the setting that does."""
    named = f"{setting}: {file}" if setting else str(file)
    try:
        with file.open("rb") as stream:
            content = stream.read(_PEM_BYTES + 1)
    except OSError as error:
        raise SignatureError(f"{named}: cannot be read ({one_line(error)})") from None
    if len(content) > _PEM_BYTES:
        raise SignatureError(f"{named}: is larger than {_PEM_BYTES} bytes")
    return content
