"""`python -m latentserve.service.health`: ends with 0 where the server beside it takes requests, as the image's health
check asks. The server says itself where it listens, in the folder of its state: whatever its settings are, and wherever
they come from. No proxy of the environment is asked.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
import tempfile
from contextlib import closing, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

from latentserve.service.errors import one_line

FOLDER, ADDRESS = "latentserve-", "address"  # what a server's own folder is named after, and the file in it

_SECONDS = 4.0
# `::` is every address of IPv4, too, and of it alone where there is no IPv6, as in most containers; or of IPv6 alone.
_ANY = {"0.0.0.0": ("127.0.0.1",), "::": ("127.0.0.1", "::1")}  # noqa: S104


def main() -> None:
    """Ask the servers that have a folder where one that is started here would have it, until one says yes."""
    try:
        home = Path(os.environ.get("LATENTSERVE_HOME") or tempfile.gettempdir()).expanduser()
    except (OSError, RuntimeError) as error:  # there is no such folder, or no home
        sys.exit(one_line(error))
    cause = f"no server has its folder in {home}"
    for file in home.glob(f"{FOLDER}*/{ADDRESS}"):
        address = str(file)
        try:
            address = file.read_text()
            status = ask(address)
        except (OSError, ValueError, HTTPException) as error:  # it may have been killed, and its folder left
            cause = f"{address}: {one_line(error)}"
            continue
        if status == HTTPStatus.OK:
            return
        cause = f"{address}: not ready ({status})"
    sys.exit(cause)


def ask(address: str) -> int:
    """The status of its `/readyz`. Raises OSError, HTTPException."""
    host = urlsplit(address).hostname or "localhost"
    *others, last = _ANY.get(host, (host,))
    for other in others:
        with suppress(OSError):
            return _ask(address, other)
    return _ask(address, last)


def _ask(address: str, host: str) -> int:
    scheme, _, rest = address.partition(":")
    parts = urlsplit(address)
    # The machine is this one, whatever name its certificate is for.
    anybody = ssl._create_unverified_context()  # noqa: S323
    connection = HTTPConnection(host, parts.port, timeout=_SECONDS)
    if scheme.startswith("https"):
        connection = HTTPSConnection(host, parts.port, timeout=_SECONDS, context=anybody)
    if scheme.endswith("+unix"):
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(_SECONDS)
        connection.sock.connect(rest)
        if scheme.startswith("https"):
            connection.sock = anybody.wrap_socket(connection.sock)
    with closing(connection):
        connection.request("GET", "/readyz")
        return connection.getresponse().status


if __name__ == "__main__":
    main()
