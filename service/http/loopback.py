"""What every route is protected from: other machines, where nobody allowed them."""

from __future__ import annotations

from starlette.types import Scope

from latentserve.service.addresses import is_loopback
from latentserve.service.errors import ClosedError


def require_loopback(scope: Scope) -> None:
    """Raise ClosedError for a request that reached this process elsewhere than on a loopback address or on a socket of
    this machine's file system.

    `latentserve serve` refuses to listen elsewhere; other ways to start the service do not.
    """
    address, port = scope.get("server") or ("", None)
    if port is not None and not is_loopback(address):
        raise ClosedError("set LATENTSERVE_ALLOW_OPEN=true to answer other machines without keys")
