"""What the signatures in a file say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from latentserve.service.credentials.package import C2PA_IS_THERE, EXTRA

MARK = "latentserve.mark"  # the assertion that holds a mark

_SIGN = b"c2pa"  # is in whatever holds a manifest
_MOST_FILES = 1024  # whose signatures are read


class Asset(NamedTuple):
    """A file that may be signed, by itself or within another one; `manifest` stands beside it, None: it is in it."""

    media: str
    content: bytes
    manifest: bytes | None = None


class Signature(NamedTuple):
    """Attributes:
    holds: nothing was changed since it was made, by a certificate that is trusted here and is valid.
    by: whom the certificate names.
    marks: what was signed of the rows of each file; empty: not all of them say anything.
    why: it does not hold; empty: it does.
    """

    holds: bool
    by: str
    marks: Sequence[Mapping[str, Any]]
    why: str = ""

    @property
    def mark(self) -> Mapping[str, Any] | None:
        """That of the only file, where the signature holds."""
        return self.marks[0] if self.holds and len(self.marks) == 1 else None

    def said(self) -> str:
        """A clause for a sentence."""
        return f"{self.by or 'somebody'} signed it" + (f", which does not hold: {self.why}" if self.why else "")


def signature_of(assets: Sequence[Asset], trust: Any | None) -> Signature | None:
    """Of a file with these ones in it; None: not all of them are signed. `trust`: see `trust.Trust`, None: nobody is
    trusted."""
    if not assets or not all(asset.manifest is not None or _SIGN in asset.content for asset in assets):
        return None
    if not C2PA_IS_THERE:
        return Signature(False, "", (), f"reading it needs {EXTRA}")
    if len(assets) > _MOST_FILES:
        return Signature(False, "", (), f"{len(assets)} files are signed; of up to {_MOST_FILES} it is read")
    from latentserve.service.credentials.reading import read_signature  # its package is an extra

    found = [read_signature(asset, trust) for asset in assets]
    signed = [one for one in found if one is not None]
    if len(signed) < len(assets):
        return None
    for one in signed:
        if not one.holds:
            return one
    marks = [mark for one in signed for mark in one.marks]
    return Signature(True, signed[0].by, marks if len(marks) == len(assets) else ())
