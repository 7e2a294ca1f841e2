"""Signing files by Content Credentials (C2PA Technical Specification 2.2). Importing this needs the extra `c2pa`."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import orjson
from cryptography import x509

from latentserve import __version__
from latentserve.service.credentials.certificate import Credential, read_credential
from latentserve.service.credentials.package import CredentialsError
from latentserve.service.credentials.reading import UNTRUSTED, Trust, read_signature
from latentserve.service.credentials.signature import MARK, Asset
from latentserve.service.encoding.document import PNG
from latentserve.service.encoding.png import PngWriter
from latentserve.service.encoding.provenance import DIGITAL_SOURCE_TYPE

_FRAME_BYTES = 16 << 10  # of a manifest, beside its certificates and the mark
# What was signed is read by who doubts it, and there is nothing to look up for it on a network.
_SETTINGS = {
    "verify": {"verify_after_sign": False, "verify_trust": False, "remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
}
_CREATED = {
    "actions": [
        {
            "action": "c2pa.created",
            "digitalSourceType": DIGITAL_SOURCE_TYPE,
            "softwareAgent": {"name": "latentserve", "version": __version__},
        }
    ]
}


class Signer:
    """Signs by one certificate, on any thread: see `encoding.signed.Signer`. No time is in what is signed."""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential
        self.size = _FRAME_BYTES + len(credential.chain)
        about = c2pa.C2paSignerInfo(credential.algorithm, credential.chain, credential.key, None)
        self._context = c2pa.Context.from_dict(_SETTINGS, c2pa.Signer.from_info(about))

    def sign(self, content: bytes, media: str, mark: Mapping[str, Any]) -> bytes:
        """The file of this media type with a manifest that has the mark. Raises CredentialsError."""
        self._credential.require_valid()
        signed = io.BytesIO()
        self._signed(content, media, mark, signed, embed=True)
        return signed.getvalue()

    def beside(self, content: bytes, media: str, mark: Mapping[str, Any]) -> bytes:
        """The manifest of a file, to be kept beside it. Raises CredentialsError."""
        self._credential.require_valid()
        return self._signed(content, media, mark, io.BytesIO(), embed=False)

    def _signed(self, content: bytes, media: str, mark: Mapping[str, Any], into: io.BytesIO, *, embed: bool) -> bytes:
        """The manifest."""
        about = {
            "claim_generator_info": [{"name": "latentserve", "version": __version__}],
            "assertions": [
                {"label": "c2pa.actions.v2", "created": True, "data": _CREATED},
                # As text: the library takes a list of small numbers for bytes.
                {"label": MARK, "created": True, "data": {"mark": orjson.dumps(mark).decode()}},
            ],
        }
        try:
            builder = c2pa.Builder(about, self._context)
            if not embed:
                builder.set_no_embed()
            manifest: bytes = builder.sign(media, io.BytesIO(content), into)
        except c2pa.C2paError as error:
            raise CredentialsError(f"the answer cannot be signed: {str(error)[:200]}") from None
        return manifest


def read_signer(certificate: Path, key: Path | None) -> Signer:
    """By a certificate and its key, from PEM files; `key` None: both are in one. What it signs is read again: a
    certificate may be of a kind that C2PA does not take. Raises CredentialsError, one line that names the file."""
    credential = read_credential(certificate, key)
    writer = PngWriter(1, 1, 1, {}, b"")
    pieces = writer.opening, *writer.rows(np.zeros((1, 1, 1), np.uint8)), writer.closing()
    try:
        signer = Signer(credential)
        signed = signer.sign(b"".join(pieces), PNG, {})
    except (c2pa.C2paError, CredentialsError) as error:
        raise CredentialsError(f"{certificate}: C2PA does not sign by it ({str(error)[:200]})") from None
    signature = read_signature(Asset(PNG, signed), Trust(x509.load_pem_x509_certificates(credential.chain)))
    if signature is None or not (signature.holds or signature.why == UNTRUSTED):  # its authority need not be known here
        why = "there is no signature" if signature is None else signature.why
        raise CredentialsError(f"{certificate}: C2PA does not take what it signs: {why}")
    return signer
