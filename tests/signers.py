"""Who signs bundles in tests: keys, and authorities with the certificates that they give."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("model_signing", reason="needs latentserve[sign]")
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NOW = datetime.now(UTC).replace(microsecond=0)
_PEM, _PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


@dataclass(frozen=True)
class Signer:
    """Files (PEM) of a key, and its certificate where it has one."""

    key: Path
    public: Path
    certificate: Path

    @property
    def private(self) -> Any:
        return serialization.load_pem_private_key(self.key.read_bytes(), None)


def make_key(folder: Path, name: str, curve: ec.EllipticCurve | None = None, password: str | None = None) -> Signer:
    """A key, in files by this name."""
    private = ec.generate_private_key(curve or ec.SECP256R1())
    sealed = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    signer = Signer(*(folder / f"{name}{suffix}" for suffix in (".key", ".pub", ".crt")))
    signer.key.write_bytes(private.private_bytes(_PEM, _PKCS8, sealed))
    signer.public.write_bytes(private.public_key().public_bytes(_PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return signer


def make_certificate(
    folder: Path,
    name: str,
    by: Signer | None = None,
    days: tuple[float, float] = (-1, 1),
    uses: list[Any] | None = None,
) -> Signer:
    """A key with a certificate: an authority's, signed by itself, or `by` another's. `days` from now it is valid;
    `uses`: of one that signs; None: of an authority."""
    signer = make_key(folder, name)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer = subject if by is None else x509.load_pem_x509_certificate(by.certificate.read_bytes()).subject
    key = signer.private.public_key()
    made = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days[0]))
        .not_valid_after(NOW + timedelta(days[1]))
        .add_extension(x509.BasicConstraints(ca=uses is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
    if uses is None:
        authority = dict.fromkeys(_USAGES, False) | {"key_cert_sign": True, "crl_sign": True}
        made = made.add_extension(x509.KeyUsage(**authority), critical=True)
    else:
        made = made.add_extension(x509.KeyUsage(**dict.fromkeys(_USAGES, False) | {"digital_signature": True}), True)
        if uses:
            made = made.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    certificate = made.sign((by or signer).private, hashes.SHA256())
    signer.certificate.write_bytes(certificate.public_bytes(_PEM))
    return signer


_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip
CODE_SIGNING = [x509.ExtendedKeyUsageOID.CODE_SIGNING]
WEB_SERVER = [x509.ExtendedKeyUsageOID.SERVER_AUTH]
