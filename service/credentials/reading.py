"""Reading signatures of Content Credentials, by C2PA's own reader. Importing this needs the extra `c2pa`."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import c2pa
import orjson
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from latentserve.service.credentials.certificate import is_authority, read_certificates
from latentserve.service.credentials.signature import MARK, Asset, Signature
from latentserve.service.errors import one_line

UNTRUSTED = "nobody here trusts the certificate"  # why, of what is as it was signed

_TRUSTED = "Trusted"
_SHOWN = 100  # characters of what a file says
# Nothing that a file names is fetched: it may have come from anybody.
_OFFLINE = {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True}
# C2PA Technical Specification 2.2, section 15.2.2 ("Failure codes"): what prevails comes first.
_FAILURES = {
    "assertion.dataHash.mismatch": "the file was changed after it was signed",
    "assertion.hashedURI.mismatch": "what was signed was changed",
    "claimSignature.mismatch": "it is not of what was signed",
    "claimSignature.outsideValidity": "the certificate has expired",
    "signingCredential.expired": "the certificate has expired",
    "signingCredential.invalid": "the certificate is none for signing",
    "signingCredential.revoked": "the certificate was revoked",
    "signingCredential.untrusted": UNTRUSTED,
}


class Trust:
    """Whose signatures are believed, by lists of certificates: where one holds signers, theirs alone, who are signed by
    the authorities in it; where it holds authorities only, all whom they sign."""

    def __init__(self, *lists: Sequence[x509.Certificate]) -> None:
        self.lists = [_context(certificates) for certificates in lists]


def _context(certificates: Sequence[x509.Certificate]) -> tuple[Any, set[str] | None]:
    """How to read by a list, and the serial numbers of its signers, None: of all."""
    anchors = b"".join(one.public_bytes(Encoding.PEM) for one in certificates if is_authority(one)).decode()
    signers = {str(one.serial_number) for one in certificates if not is_authority(one)}
    trust = {"trust": {"trust_anchors": anchors}} if anchors else {}
    return c2pa.Context.from_dict({"verify": _OFFLINE, **trust}), signers or None


def read_trust(*paths: Path | None) -> Trust:
    """From PEM files, a list each. Raises CredentialsError."""
    return Trust(*(read_certificates(path) for path in paths if path is not None))


def read_signature(asset: Asset, trust: Trust | None) -> Signature | None:
    """Of one file; None: there is none. Nothing is raised for what is in the file."""
    found = None
    for context, signers in (trust or Trust()).lists or [_context(())]:
        found = _read(asset, context, signers)
        if found is None or found.holds:
            break
    return found


def _read(asset: Asset, context: Any, signers: set[str] | None) -> Signature | None:
    try:
        with c2pa.Reader(asset.media, io.BytesIO(asset.content), asset.manifest, context=context) as reader:
            told = orjson.loads(reader.json())
    except c2pa.C2paError.ManifestNotFound:
        return None
    except (c2pa.C2paError, orjson.JSONDecodeError) as error:
        return Signature(False, "", (), f"it cannot be read ({one_line(error)[:_SHOWN]})")
    manifest = told.get("manifests", {}).get(told.get("active_manifest"), {})
    info = manifest.get("signature_info") or {}
    by = str(info.get("common_name") or info.get("issuer") or "somebody")[:_SHOWN]
    if told.get("validation_state") != _TRUSTED:
        return Signature(False, by, (), _why(told))
    if signers is not None and info.get("cert_serial_number") not in signers:
        return Signature(False, by, (), UNTRUSTED)
    signed = [one.get("data") for one in manifest.get("assertions", ()) if one.get("label") == MARK]
    return Signature(True, by, [mark for mark in map(_mark, signed[:1]) if mark is not None])


def _mark(signed: Any) -> Mapping[str, Any] | None:
    """Of an assertion; None: it is none of ours."""
    try:
        mark = orjson.loads(signed["mark"])
    except (TypeError, KeyError, orjson.JSONDecodeError):
        return None
    return mark if isinstance(mark, dict) else None


def _why(told: Mapping[str, Any]) -> str:
    results = told.get("validation_results", {}).get("activeManifest", {})
    codes = [str(one.get("code")) for one in (*results.get("failure", ()), *(told.get("validation_status") or ()))]
    for code, said in _FAILURES.items():
        if code in codes:
            return said
    return (codes or ["it is not trusted"])[0][:_SHOWN]
