"""The variables of the environment by the name of `LATENTSERVE_...`: which of them are no settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

PREFIX = "LATENTSERVE_"

# What Kubernetes tells every container of every Service in its namespace, in the form of Docker's links: of one that is
# named `latentserve`, or `latentserve-` and more, the names begin as those of settings do.
_LINK = re.compile(
    r"LATENTSERVE_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_SCHEMES = ("tcp://", "udp://", "sctp://")


def is_link(value: str) -> bool:
    """Whether a variable's value is a Service's address, as Kubernetes writes it, and so no setting's."""
    return value.strip().lower().startswith(_SCHEMES)


def could_be_setting(name: str, value: str) -> bool:
    """Whether a variable was meant as a setting: by its name, and because it is not one that Kubernetes sets."""
    return name.upper().startswith(PREFIX) and not _LINK.fullmatch(name.upper()) and not is_link(value)


def unknown_settings(stated: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    """A line for each variable of `stated` that is no setting; `known`: the settings' own names, such as `port`."""
    names = [name.upper() for name in known]
    for name in stated:
        own = name.upper().removeprefix(PREFIX)
        if own not in names:
            near = get_close_matches(own, names, 1)
            yield f"{name}: there is no such setting" + (f"; there is {PREFIX}{near[0]}" if near else "")
