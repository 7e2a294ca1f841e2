"""The head of a request: the request line and the header fields, strictly as RFC 9112 has them.

Where two readers could take the same bytes for different requests, the request is refused: what a proxy let through as
one must not be two here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import httptools

from latentserve.service.host.limits import URL_BYTES
from latentserve.service.host.refusal import Refused, malformed

CHUNKED = -1  # a `Head.length` that is not known beforehand
# A client sends the same head again and again, as long as nothing in it is the request's own; the target is, of GET.
_CACHED_BYTES = 1024
_PLAIN_LINE = re.compile(rb"(GET|HEAD) (/[!\"$->@-~]*)(?:\?([!\"$-~]*))? HTTP/1\.1\r\n")

_HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=:\[\]-]*")
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([A-Za-z0-9._~%!$&'()*+,;=:\[\]-]+)((?:[/?].*)?)")
_BEGINNING = re.compile(rb"[A-Z-]{1,20}(?: |\Z)")
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_PROXY = (b"PROXY ", b"\0\r\nQUIT\n")  # the second begins with two line ends, which are passed over before a request


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body."""

    scope: Mapping[str, Any]  # what ASGI's says of the request, but for the fields
    headers: tuple[tuple[bytes, bytes], ...]  # names in lower case
    length: int  # bytes of the body, or CHUNKED
    keep_alive: bool
    expects_continue: bool

    @property
    def old(self) -> bool:
        """Whether it is of HTTP/1.0."""
        return self.scope["http_version"] == "1.0"

    @property
    def unstated(self) -> bool:
        """Whether it is of a method that brings a body, and says of none."""
        method = self.scope["method"]
        return not self.length and method == "POST" and all(name != b"content-length" for name, _ in self.headers)

    @property
    def bodiless(self) -> bool:
        """Whether its answer has no body."""
        return self.scope["method"] == "HEAD"


def read_head(raw: bytes, most: int) -> Head:
    """Read a head: everything up to and with the first empty line; it holds `most` fields. Raises Refused."""
    if len(raw) > _CACHED_BYTES:
        return _read(raw, most)
    line = _PLAIN_LINE.match(raw)
    if line is None:
        return _read_again(raw, most)
    method, path, query = line.groups()
    same = _read_again(b"%b / HTTP/1.1\r\n%b" % (method, raw[line.end() :]), most)
    scope = {**same.scope, "path": unquote(path.decode("ascii")), "raw_path": path, "query_string": query or b""}
    return Head(scope, same.headers, same.length, same.keep_alive, same.expects_continue)


def check_beginning(raw: bytes, since: int) -> None:
    """Refuse what can be the beginning of no head, of which the bytes before `since` were looked at before."""
    _check_protocol(raw)
    if not _BEGINNING.match(raw) or _BARE_LINE_FEED.search(raw, max(0, since - 1)):
        raise malformed("this is no HTTP/1.1 request")


def _check_protocol(raw: bytes) -> None:
    if raw.startswith(b"\x16\x03"):
        raise malformed("TLS was spoken to a port of plain HTTP")
    if raw.startswith(_PROXY):
        raise malformed(
            "the PROXY protocol is not spoken here: have the proxy say in X-Forwarded-For who asks, and trust it"
        )


@dataclass(slots=True)
class _Fields:
    """What the parser found."""

    target: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.strip(b" \t")))  # the parser leaves tabs behind it


def _read(raw: bytes, most: int) -> Head:
    _check_protocol(raw)
    if raw.startswith(b"PRI * HTTP/2"):
        raise Refused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "http-version", "HTTP/2 is not spoken here: use HTTP/1.1")
    line = raw.find(b"\r\n")
    if line > URL_BYTES + 40:
        raise Refused(HTTPStatus.REQUEST_URI_TOO_LONG, "uri-too-long", f"a URL may have {URL_BYTES} bytes")
    if not raw[:line].isascii():  # curl sends what was typed; others, and all proxies that change it, send this
        raw = _BEYOND_ASCII.sub(lambda found: b"%%%02X" % ord(found[0]), raw[:line]) + raw[line:]
    found = _Fields()
    parser = httptools.HttpRequestParser(found)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # an offer of another protocol may be ignored (RFC 9110, section 7.8); the parser would drop the body
    except httptools.HttpParserInvalidMethodError:
        if _BEGINNING.match(raw):
            raise Refused(HTTPStatus.NOT_IMPLEMENTED, "not-implemented", "no such method is known") from None
        raise malformed("this is no HTTP/1.1 request") from None
    except httptools.HttpParserError as error:
        raise malformed(f"this is no HTTP/1.1 request: {str(error) or type(error).__name__}") from None
    method, version = parser.get_method().decode(), parser.get_http_version()
    if version not in ("1.0", "1.1"):
        raise Refused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "http-version", "use HTTP/1.1")
    if method == "CONNECT":
        raise Refused(HTTPStatus.NOT_IMPLEMENTED, "not-implemented", "this is no proxy")
    if len(found.headers) > most:
        raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "header-too-large", f"at most {most} header fields")
    named: dict[bytes, list[bytes]] = {}
    for name, value in found.headers:
        named.setdefault(name, []).append(value)
    host, path, query = _target(found.target, method)
    hosts = named.get(b"host", [])
    if len(hosts) > 1 or (not hosts and version == "1.1") or (hosts and not _HOST.fullmatch(hosts[0])):
        raise malformed("a request has one `Host`")
    if host is not None:  # it stands for the field of that name (RFC 9112, section 3.2.2)
        found.headers = [(b"host", host), *(pair for pair in found.headers if pair[0] != b"host")]
    connection = {part.strip().lower() for value in named.get(b"connection", []) for part in value.split(b",")}
    return Head(
        scope={
            "type": "http",
            "http_version": version,
            "method": method,
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
        },
        headers=tuple(found.headers),
        length=_length(named, version),
        keep_alive=b"close" not in connection and (version == "1.1" or b"keep-alive" in connection),
        expects_continue=_expects_continue(named, version),
    )


_read_again = functools.lru_cache(maxsize=512)(_read)


def _target(target: bytes, method: str) -> tuple[bytes | None, bytes, bytes]:
    """The authority, where the target names one, the path and the query."""
    if len(target) > URL_BYTES:
        raise Refused(HTTPStatus.REQUEST_URI_TOO_LONG, "uri-too-long", f"a URL may have {URL_BYTES} bytes")
    host = None
    if target == b"*" and method == "OPTIONS":
        return None, target, b""
    if absolute := _ABSOLUTE.fullmatch(target):
        host, target = absolute.groups()
        if not target.startswith(b"/"):
            target = b"/" + target
    if not target.startswith(b"/") or b"#" in target:
        raise malformed("the target of a request is a path, or a URL of http")
    path, _, query = target.partition(b"?")
    return host, path, query


def _length(named: dict[bytes, list[bytes]], version: str) -> int:
    """The body's length. Whoever states it twice, or in two ways, could smuggle a request behind it."""
    codings, lengths = named.get(b"transfer-encoding", []), named.get(b"content-length", [])
    if codings:
        if lengths or len(codings) > 1 or version == "1.0":
            raise malformed("the length of the body is stated in two ways")
        if codings[0].lower() != b"chunked":
            raise Refused(HTTPStatus.NOT_IMPLEMENTED, "not-implemented", "the only transfer coding here is `chunked`")
        return CHUNKED
    if not lengths:
        return 0
    if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > 18:
        raise malformed("`Content-Length` is one number")
    return int(lengths[0])


def _expects_continue(named: dict[bytes, list[bytes]], version: str) -> bool:
    expected = [value for value in named.get(b"expect", []) if value]
    if not expected or version == "1.0":
        return False
    if len(expected) > 1 or expected[0].lower() != b"100-continue":
        raise Refused(HTTPStatus.EXPECTATION_FAILED, "expectation", "the only expectation met here is `100-continue`")
    return True
