"""What every route is protected from where no key is needed: other machines, where nobody allowed them, and pages whose
name was made to mean this one."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from functools import lru_cache

from starlette.types import Scope

from latentserve.service.addresses import is_loopback
from latentserve.service.errors import ClosedError, MisdirectedError

_SHOWN = 100


def require_loopback(scope: Scope) -> None:
    """Raise ClosedError for a request that reached this process elsewhere than on a loopback address or on a socket of
    this machine's file system.

    `latentserve serve` refuses to listen elsewhere; other ways to start the service do not.
    """
    address, port = scope.get("server") or ("", None)
    if port is not None and not is_loopback(address):
        raise ClosedError("set LATENTSERVE_ALLOW_OPEN=true to answer other machines without keys")


def require_own_name(scope: Scope, host: bytes, names: Collection[str]) -> None:
    """Raise MisdirectedError for a request whose `Host` is a name that anybody may have registered, and is not one of
    `names`.

    A page of that name may have it mean this machine a moment later (DNS rebinding), and is then of the same origin as
    what is served here. A name without a dot cannot be registered, and an address cannot be made to mean another.
    Browsers do not ask over sockets of the file system.
    """
    _, port = scope.get("server") or ("", None)
    name = _name_of(host)
    if port is not None and not _is_harmless(name) and name not in names:
        raise MisdirectedError(
            f"Host: {name[:_SHOWN]!r} is no name of this machine; LATENTSERVE_HOSTS allows it, and so do keys"
        )


@lru_cache(maxsize=256)
def _name_of(host: bytes) -> str:
    """The name in a `Host`, without a port."""
    text = host.decode("latin-1").strip().lower()
    name = text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]
    return name.removesuffix(".")


@lru_cache(maxsize=256)
def _is_harmless(name: str) -> bool:
    if "." not in name or is_loopback(name):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
