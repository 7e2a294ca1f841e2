"""What a process signs by and whom it trusts, by its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentserve.service.credentials.package import require_library
from latentserve.service.environment import PREFIX
from latentserve.service.settings import Settings

if TYPE_CHECKING:
    from latentserve.service.credentials.reading import Trust
    from latentserve.service.credentials.signer import Signer


def open_signer(settings: Settings) -> Signer | None:
    """What signs answers; None: nothing does. Raises CredentialsError."""
    if settings.c2pa_certificate is None:
        return None
    require_library(f"{PREFIX}C2PA_CERTIFICATE")
    from latentserve.service.credentials.signer import read_signer

    return read_signer(settings.c2pa_certificate, settings.c2pa_key)


def open_trust(settings: Settings) -> Trust | None:
    """Whose signatures are believed; None: nobody's. Raises CredentialsError."""
    if settings.c2pa_certificate is None and settings.c2pa_trusted is None:
        return None
    require_library(f"{PREFIX}C2PA_TRUSTED")
    from latentserve.service.credentials.reading import read_trust

    return read_trust(settings.c2pa_certificate, settings.c2pa_trusted)
