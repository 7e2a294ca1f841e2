"""Whether the library is there: signing, and reading signatures, needs the extra `c2pa`."""

from __future__ import annotations

from importlib.util import find_spec

from latentserve.service.errors import LatentserveError

EXTRA = 'the extra "c2pa" (pip install "latentserve[c2pa]")'
C2PA_IS_THERE = find_spec("c2pa") is not None


class CredentialsError(LatentserveError):
    """A certificate or a key cannot be used, or the library that does is not installed."""

    slug = "credentials"
    title = "Nothing can be signed"


def require_library(of: object) -> None:
    """Raises CredentialsError: the library is not installed, which is needed for `of`."""
    if not C2PA_IS_THERE:
        raise CredentialsError(f"{of}: needs {EXTRA}")
