"""A bundle's signature, `model.sig`, the one file that the manifest does not hash: what it claims, and whether that is
believed. What is signed is every other file of the folder (OpenSSF Model Signing, https://github.com/ossf/model-signing-spec).
"""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from latentserve.service import held as held_files
from latentserve.service.errors import RuntimeMissingError, SignatureError, one_line
from latentserve.service.held import FOLDER, Held
from latentserve.service.trust import REQUIRE_SIGNATURE, TRUSTED_KEYS, Trust

SIGNATURE = held_files.SIGNATURE
_SIGNATURE_BYTES = 1 << 20  # a signature of ten files has 5 kB, and 2 kB a certificate


@dataclass(frozen=True)
class Signature:
    """What is known of a bundle's signature.

    Attributes:
        by: what it was made with; None: that cannot be read.
        fingerprint: SHA-256 in hexadecimal digits, of the public key as PEM (`openssl pkey -pubout | sha256sum`), of
            the certificate as DER (`openssl x509 -fingerprint -sha256`). None: it states none.
        subject: whom the certificate names (RFC 4514), once it is verified.
        fault: why it is not believed; None: it is verified, somebody who is trusted has signed just these files.
    """

    by: Literal["key", "certificate"] | None
    fingerprint: str | None
    subject: str | None = None
    fault: str | None = None

    @property
    def verified(self) -> bool:
        """Whether it is believed."""
        return self.fault is None

    def told(self) -> dict[str, object]:
        """As JSON tells it."""
        return {**asdict(self), "verified": self.verified}

    def __str__(self) -> str:
        """For a reader."""
        who = "" if self.by is None else f" by the {self.by} {(self.fingerprint or 'that it does not name')[:16]}"
        who += "" if self.subject is None else f" ({self.subject})"
        return f"signed{who}, verified" if self.verified else f"signed{who}, not verified: {self.fault}"


def read_signature(
    folder: Path, digests: Mapping[str, str], trust: Trust, held: Held | None = None
) -> Signature | None:
    """The signature of a bundle whose files have these SHA-256, as far as it is believed; None: there is none. `held`:
    its files, where they are not to be those that lie there by now.

    Raises SignatureError: where a signature is required, there is none that is believed; or the keys that are trusted
    cannot be read. RuntimeMissingError: what verifies signatures is not installed.
    """
    found = _examined(folder, digests, trust, held)
    if trust.required and found is None:
        raise SignatureError(f"{folder}: is not signed (it has no {SIGNATURE}), and {REQUIRE_SIGNATURE} is set")
    if trust.required and found is not None and found.fault is not None:
        raise SignatureError(f"{folder / SIGNATURE}: {found.fault}")
    return found


def sign_folder(
    folder: Path,
    digests: Mapping[str, str],
    key: Path,
    password: str | None = None,
    certificate: Path | None = None,
    chain: Sequence[Path] = (),
) -> Signature:
    """Sign a bundle whose files have these SHA-256, and put `model.sig` in, in the place of an older one.

    `key`: an elliptic one (PEM). `certificate`: of that key, which those of `chain` lead to an authority from; they may
    stand behind it in its file. Raises SignatureError: one of them cannot be used, or there are other files in the
    folder. RuntimeMissingError: what signs is not installed.
    """
    if (fault := _other_files(folder, digests)) is not None:
        raise SignatureError(f"{folder}: {fault}")
    content = _openssf("signing").sign(folder.resolve().name, digests, key, password, certificate, chain)
    _put(folder / SIGNATURE, content)
    return _claim(json.loads(content))


def needs_password(key: Path) -> bool:
    """Whether a private key (PEM) is encrypted."""
    try:
        with key.open("rb") as stream:
            return b"ENCRYPTED" in stream.read(1 << 16)
    except OSError:
        return False  # whoever reads it says so


def _examined(folder: Path, digests: Mapping[str, str], trust: Trust, held: Held | None) -> Signature | None:
    trusted = None if trust.keys is None else _openssf(TRUSTED_KEYS).read_trusted(trust.keys)
    claim = Signature(None, None)
    try:
        content = _content(folder, held)
        if content is None:
            return None
        told = _parsed(content)
        claim = _claim(told)
        if trusted is None:
            return replace(claim, fault=f"{TRUSTED_KEYS} is not set")
        if (fault := _other_files(folder, digests, held)) is not None:
            raise SignatureError(fault)
        return trusted.verify(claim, told, digests)
    except SignatureError as error:
        return replace(claim, fault=str(error))


def _content(folder: Path, held: Held | None) -> bytes | None:
    """What `model.sig` holds; None: there is none. Raises SignatureError."""
    try:
        if held is not None:
            descriptor = os.dup(held[SIGNATURE])
        else:
            descriptor = os.open(folder / SIGNATURE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, KeyError):
        return None
    except OSError as error:
        why = "is a symbolic link" if error.errno == errno.ELOOP else f"cannot be read ({one_line(error)})"
        raise SignatureError(why) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SignatureError("is no file")
    content = os.pread(descriptor, _SIGNATURE_BYTES + 1, 0)
    os.close(descriptor)
    if len(content) > _SIGNATURE_BYTES:
        raise SignatureError(f"is larger than {_SIGNATURE_BYTES} bytes")
    return content


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        raise SignatureError("is no signature (not JSON)") from None
    if not isinstance(told, dict) or not isinstance(told.get("verificationMaterial"), dict):
        raise SignatureError("is no signature (a Sigstore bundle, as OpenSSF Model Signing writes it, is needed)")
    return told


def _claim(told: Mapping[str, Any]) -> Signature:
    """What a signature says of who made it. Raises SignatureError."""
    material = told["verificationMaterial"]
    if isinstance(key := material.get("publicKey"), dict):
        hint = key.get("hint")  # there is none before release 1.1
        return Signature("key", hint if isinstance(hint, str) and hint else None)
    try:
        first = material["x509CertificateChain"]["certificates"][0]["rawBytes"]
        return Signature("certificate", hashlib.sha256(base64.b64decode(first, validate=True)).hexdigest())
    except (KeyError, IndexError, TypeError, binascii.Error, ValueError):
        by_account = "; those of Sigstore's accounts are not read here" if "certificate" in material else ""
        raise SignatureError(f"is by neither a key nor a chain of certificates{by_account}") from None


def _other_files(folder: Path, digests: Mapping[str, str], held: Held | None = None) -> str | None:
    """What is wrong with what lies in the folder, in words: a signature is of every file there, and of files only."""
    try:
        place = os.open(
            folder if held is None else FOLDER,
            os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC,
            dir_fd=None if held is None else held[FOLDER],
        )
    except OSError as error:
        return f"the folder cannot be listed ({one_line(error)})"
    try:
        with os.scandir(place) as entries:
            found = sorted((entry.name, entry.is_file(follow_symlinks=False)) for entry in entries)
    finally:
        os.close(place)
    for name, is_file in found:
        if name not in digests and name != SIGNATURE:
            return f"{name[:100]!r} lies beside what the manifest lists, and a signature is of all that is there"
        if not is_file:
            return f"{name} is a symbolic link, or no file, and a signature is of files"
    return None


def _put(file: Path, content: bytes) -> None:
    """Write a file, whole or not at all. Raises SignatureError."""
    folder = file.parent.resolve()
    try:
        # Beside the folder, if it can be: whoever reads the bundle meanwhile sees no other file in it.
        for place in (folder.parent, folder):
            try:
                _put_from(place, folder / file.name, content)
                return
            except OSError:  # no right to write there; or another disk
                if place == folder:
                    raise
    except OSError as error:
        raise SignatureError(f"{file}: cannot be written ({one_line(error)})") from None


def _put_from(place: Path, file: Path, content: bytes) -> None:
    """Write a new file in this place, then let it be `file`. Raises OSError."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.parent.name}-{file.name}-", dir=place)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
            os.fchmod(descriptor, 0o644)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _openssf(wanted_by: str) -> Any:
    """What knows how bundles are signed and verified. Raises RuntimeMissingError."""
    try:
        from latentserve.service.bundle import openssf  # takes a second, and is an extra
    except ModuleNotFoundError as error:
        raise RuntimeMissingError(f"{wanted_by}: needs latentserve[sign] ({error.name} is not installed)") from None
    return openssf
