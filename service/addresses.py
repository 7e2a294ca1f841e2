"""Where servers are: `http://HOST:PORT`, `https://...`, or `http+unix:PATH`, which a Unix socket is."""

from __future__ import annotations

import ipaddress
import re
import socket
from contextlib import suppress
from functools import lru_cache

_URL = re.compile(r"https?(://|\+unix:)", re.IGNORECASE)
_UNIX = re.compile(r"(https?)\+unix:(?://)?(/.+)", re.IGNORECASE)
_SHORT = re.compile(r"[0-9a-fx.]+", re.IGNORECASE)  # 127.1, 0x7f000001: what `connect` takes for an address too


def is_url(text: str) -> bool:
    """Whether this names a server; everything else is a folder."""
    return _URL.match(text) is not None


def unix_socket(url: str) -> tuple[str, str] | None:
    """The scheme, `http` or `https`, and the path of a URL of a Unix socket; None of another."""
    found = _UNIX.fullmatch(url)
    return (found[1].lower(), found[2]) if found else None


@lru_cache(maxsize=64)  # every request asks for the address of this side
def is_loopback(host: str) -> bool:
    """Whether an address, or a name, is of this machine only, in any of the forms that they have: without brackets."""
    name = host.lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):  # nobody else can have them (RFC 6761, section 6.3)
        return True
    address: ipaddress.IPv4Address | ipaddress.IPv6Address | None = None
    with suppress(ValueError):
        address = ipaddress.ip_address(name)
    if address is None and _SHORT.fullmatch(name):
        with suppress(OSError):
            address = ipaddress.IPv4Address(socket.inet_aton(name))
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address is not None and address.is_loopback
