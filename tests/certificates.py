"""Certificates for tests: one for localhost and 127.0.0.1 that is signed by itself; chains that C2PA signs by."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def self_signed(folder: Path) -> tuple[Path, Path]:
    """The files of the certificate and its key (PEM); without openssl the test is skipped."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    try:
        subprocess.run([*make, *subject, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl to make a certificate with")
    return certificate, key


class Chain(NamedTuple):
    """Files (PEM): of a signer's certificate with its authority's behind it, of its key, of the authority's alone."""

    certificate: Path
    key: Path
    authority: Path


def signing_chain(
    folder: Path, name: str = "Gallery", *, days: tuple[float, float] = (-1, 30), usage: bool = True, curve: bool = True
) -> Chain:
    """A signer's certificate, valid from so many days on to so many, of an authority of its own. `usage`: it says that
    it is for signing; `curve`: its key is on P-256, else Ed25519."""
    return _signer(folder, name, _authority(name), days, usage=usage, curve=curve)


def signing_chains(folder: Path, *names: str) -> list[Chain]:
    """Of one authority."""
    authority = _authority("All")
    return [_signer(folder, name, authority, (-1, 30), usage=True, curve=True) for name in names]


def _authority(name: str) -> tuple[x509.Certificate, Key]:
    return _certificate(f"{name}'s authority", None, ec.generate_private_key(ec.SECP256R1()), (-99, 99))


def _signer(
    folder: Path,
    name: str,
    authority: tuple[x509.Certificate, Key],
    days: tuple[float, float],
    *,
    usage: bool,
    curve: bool,
) -> Chain:
    key: Key = ec.generate_private_key(ec.SECP256R1()) if curve else ed25519.Ed25519PrivateKey.generate()
    own, _ = _certificate(name, authority, key, days, usage=usage)
    chain = Chain(*(folder / f"{name}.{part}" for part in ("chain.pem", "key.pem", "authority.pem")))
    root = authority[0].public_bytes(Encoding.PEM)
    chain.certificate.write_bytes(own.public_bytes(Encoding.PEM) + root)
    chain.authority.write_bytes(root)
    chain.key.touch(0o600)
    chain.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return chain


def _certificate(
    name: str,
    issuer: tuple[x509.Certificate, Key] | None,
    key: Key,
    days: tuple[float, float],
    *,
    usage: bool = True,
) -> tuple[x509.Certificate, Key]:
    subject = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, name), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Ours")]
    )
    now = datetime.now(UTC)
    signs = issuer is not None
    used = {
        "digital_signature": signs, "content_commitment": False, "key_encipherment": False, "data_encipherment": False,
        "key_agreement": False, "key_cert_sign": not signs, "crl_sign": not signs, "encipher_only": False,
        "decipher_only": False,
    }  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer[0].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=not signs, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**used), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer is not None:
        of = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer[1].public_key())
        builder = builder.add_extension(of, critical=False)
        if usage:
            email = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(email, critical=False)
    signing = key if issuer is None else issuer[1]
    return builder.sign(signing, None if isinstance(signing, ed25519.Ed25519PrivateKey) else SHA256()), key
