"""What is sent, and where to: requests as bytes, prepared before they are measured."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Requests = Callable[[int], bytes]  # number of a request -> its bytes

SAMPLES, RAW = "/v1/samples", "application/octet-stream"


@dataclass(frozen=True)
class Address:
    """Where a server listens.

    Attributes:
        tls: how its certificate is checked; None: it speaks plain HTTP.
        path: of a Unix socket, instead of the port; `host` is the name in its certificate then.
    """

    port: int
    host: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    path: str | None = None


def get(path: str, accept: str, host: str = "127.0.0.1") -> bytes:
    """The bytes of a GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n".encode()


def post(
    path: str, body: bytes, accept: str, content: str = "application/json", *headers: str, host: str = "127.0.0.1"
) -> bytes:
    """The bytes of a POST request."""
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {host}",
        f"Content-Type: {content}",
        f"Accept: {accept}",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def seeded(
    rows: int,
    accept: str = RAW,
    path: str = SAMPLES,
    host: str = "127.0.0.1",
    headers: Mapping[str, str] | None = None,
    **fields: str | None,
) -> Requests:
    """Requests for `rows` samples whose number is their seed, with these headers more; `fields` are in the body too,
    where they are not None."""
    lines = [f"{name}: {value}" for name, value in (headers or {}).items()]
    more = "".join(f",{json.dumps(name)}:{json.dumps(value)}" for name, value in fields.items() if value is not None)
    body = b'{"n":%d,"seed":%%d%s}' % (rows, more.encode().replace(b"%", b"%%"))
    return lambda number: post(path, body % number, accept, "application/json", *lines, host=host)


def ask(address: Address, request: bytes, seconds: float) -> tuple[int, bytes]:
    """Send one request over a connection of its own: the answer's status and body.

    Raises OSError, where nothing came for so many seconds too, and http.client.HTTPException.
    """
    with (
        _connect(address, seconds) as plain,
        address.tls.wrap_socket(plain, server_hostname=address.host) if address.tls else plain as line,
    ):
        line.sendall(request)
        with http.client.HTTPResponse(line) as answer:
            answer.begin()
            return answer.status, answer.read()


def _connect(address: Address, seconds: float) -> socket.socket:
    if address.path is None:
        return socket.create_connection((address.host, address.port), seconds)
    line = socket.socket(socket.AF_UNIX)
    line.settimeout(seconds)
    line.connect(address.path)
    return line
