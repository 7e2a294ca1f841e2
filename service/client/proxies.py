"""The proxy that the environment names for a URL (`HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`), as most programs read it."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from latentserve.service.addresses import is_loopback


def proxy_for(url: str) -> str | None:
    """Its URL; None: the server is asked itself, as is whatever is on this machine.

    `NO_PROXY` has names, which stand for what ends in them too, addresses and networks of both kinds, and `*`.
    """
    parts, stated = urlsplit(url), getproxies()
    host = parts.hostname or ""
    proxy = stated.get(parts.scheme) or stated.get("all")
    excepted = stated.get("no", "")
    if not proxy or is_loopback(host) or proxy_bypass(host, stated) or _is_within(host, excepted):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_within(host: str, excepted: str) -> bool:
    """Whether an address is one of those, or in one of their networks."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    for one in excepted.split(","):
        with suppress(ValueError):  # a name
            if address in ipaddress.ip_network(one.strip().strip("[]"), strict=False):
                return True
    return False
