"""Who asked, and how, where a proxy stands between: `X-Forwarded-For` and `-Proto`, or `Forwarded` (RFC 7239)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from starlette.types import Scope

_HOPS = 64  # the nearest; who sends more is no proxy
_SCHEMES = ("http", "https")
_SOCKET = "127.0.0.1"  # who comes over a socket of the file system is of this machine
_TOKEN = r"[\w!#$%&'*+.^`|~-]+"  # noqa: S105
_PAIR = re.compile(rf'[ \t]*({_TOKEN})=({_TOKEN}|"(?:[^"\\]|\\.)*")[ \t]*(?:([;,])|$)', re.ASCII)


@dataclass(frozen=True)
class Hop:
    """What a proxy says of who asked it; None: it does not say."""

    client: str | None
    scheme: str | None


class TrustedProxies:
    """The proxies whose word counts, as addresses and networks; `*`: everybody's."""

    def __init__(self, trusted: Sequence[str]) -> None:
        self._everybody = "*" in trusted
        self._networks = [ipaddress.ip_network(one, strict=False) for one in trusted if one != "*"]

    def believe(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Write into the scope who the client is, and its scheme, as far as trusted proxies tell.

        Each proxy adds what it saw at the end: from there back, up to the first that is not trusted.
        """
        peer = scope.get("client")
        client = _address(peer[0]) if peer else _SOCKET
        scheme: str | None = None
        for hop in reversed(hops(headers)):
            if client is None or not self._trusts(client):
                break
            scheme = hop.scheme or scheme
            if hop.client is None:
                break
            client = hop.client
        if client is not None and client != (peer[0] if peer else _SOCKET):
            scope["client"] = (client, 0)
        if scheme is not None:
            scope["scheme"] = scheme

    def _trusts(self, client: str) -> bool:
        if self._everybody:
            return True
        address = ipaddress.ip_address(client)
        return any(address in network for network in self._networks)


def hops(headers: Mapping[bytes, bytes]) -> list[Hop]:
    """What the proxies say, the nearest last. `Forwarded` is read where there is nothing of the older kind: a proxy
    that writes one of them lets a client's own words in the other pass."""
    addresses = [_address(part) for part in _parts(headers.get(b"x-forwarded-for"))]
    schemes = [part.lower() if part.lower() in _SCHEMES else None for part in _parts(headers.get(b"x-forwarded-proto"))]
    if not addresses and not schemes:
        return list(_forwarded(headers.get(b"forwarded", b"").decode("latin-1")))[-_HOPS:]
    if len(schemes) != len(addresses):  # one that says the scheme once says it for all
        nearest = schemes[-1] if schemes else None
        return [*(Hop(address, None) for address in addresses[:-1]), Hop(addresses[-1] if addresses else None, nearest)]
    return [Hop(address, scheme) for address, scheme in zip(addresses, schemes, strict=True)]


def _parts(value: bytes | None) -> list[str]:
    return [] if value is None else [part.strip() for part in value.decode("latin-1").split(",")[-_HOPS:]]


def _forwarded(value: str) -> Iterator[Hop]:
    """The elements of `Forwarded`; none where it is not well formed."""
    elements: list[dict[str, str]] = [{}]
    at, separator = 0, ","
    while at < len(value) or separator == ";":
        found = _PAIR.match(value, at)
        if found is None:
            return
        text = found[2]
        elements[-1][found[1].lower()] = re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
        at, separator = found.end(), found[3] or ""
        if separator == ",":
            elements.append({})
    for element in elements:
        if element:
            scheme = element.get("proto", "").lower()
            yield Hop(_address(element.get("for", "")), scheme if scheme in _SCHEMES else None)


def _address(text: str) -> str | None:
    """The IP address of a node, with or without a port; None where it has none (`unknown`, `_hidden`, nonsense)."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
