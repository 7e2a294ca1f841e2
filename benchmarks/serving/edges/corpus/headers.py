"""Heads: endless, slow, many, odd."""

from __future__ import annotations

from benchmarks.serving.edges.corpus.hostile import (
    Ends,
    Target,
    again,
    at_once,
    endlessly,
    exchange,
    held,
    hostile,
    in_turn,
    slowly,
)

_HEAD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"
_FLOOD = 64 << 20
_REFUSED = ("400", "414", "431")
_NOWHERE = ("200", "307", "308", "400", "404", "405")
_UNUSUAL = ("200", "400", "404", "406", "415", "422")


@hostile("431")
async def endless_header(target: Target) -> Ends:
    """One header of 64 MB, by 4 clients."""
    return await again(target, 4, lambda: exchange(target, endlessly(_HEAD + b"X: ", b"a" * (1 << 16), _FLOOD)))


@hostile("431")
async def endless_headers(target: Target) -> Ends:
    """64 MB of short headers, by 4 clients."""
    return await again(target, 4, lambda: exchange(target, endlessly(_HEAD, b"X-Y: z\r\n" * 8192, _FLOOD)))


@hostile("200")
async def heads_at_the_limit(target: Target) -> Ends:
    """Good requests with 30 kB of headers, over 50 connections."""
    request = _HEAD + b"".join(b"X-%d: %s\r\n" % (number, b"a" * 370) for number in range(80)) + b"\r\n"
    return await again(target, 50, lambda: exchange(target, request))


@hostile("408", "closed")
async def slow_heads(target: Target) -> Ends:
    """300 heads of a byte a second."""
    return await at_once(300, lambda: exchange(target, slowly(_HEAD + b"X: " + b"a" * 100, first=20)))


@hostile("408", "closed", "silence")
async def nothing_said(target: Target) -> Ends:
    """1,000 connections over which nothing is asked."""
    return await at_once(1000, lambda: held(target))


@hostile("200", "404", *_REFUSED)
async def long_urls(target: Target) -> Ends:
    """Paths and queries of 30 kB, 1 MB, 16 MB."""
    asked = [(1, 30_000), (1, 1 << 20), (16, 1 << 20)]
    requests = [
        b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (start + b"a" * size * times)
        for times, size in asked
        for start in (b"", b"v1/models?x=")
    ]
    return await in_turn(target, requests, right=("200", "404", *_REFUSED))


@hostile(*_NOWHERE)
async def odd_paths(target: Target) -> Ends:
    """NUL, bytes above 127, percent signs that are none, dots, slashes, fragments, nothing."""
    paths = [
        b"/\x00", b"/%00", b"/v1/models/%00", b"/v1/models/\xff\xfe", b"/v1/models/%ff%fe", b"/v1/models/%", b"/%zz",
        b"/v1/models/..%2f..%2fetc%2fpasswd", b"/../../etc/passwd", b"//livez", b"/v1//models", b"/livez#x", b"livez",
        b"", b"*", b"/\xe2\x80\xae", b"/v1/models/" + b"a" * 5000, b"/livez?" + b"&" * 5000, b"/\t", b"/%0d%0aX:y",
    ]  # fmt: skip
    requests = [(repr(path[:20]), b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path) for path in paths]
    return await in_turn(target, requests, right=_NOWHERE)


@hostile(*_UNUSUAL)
async def odd_headers(target: Target) -> Ends:
    """Accept lines by the hundred, cookies, ranges, forwarded addresses, ids that are files, bytes above 127."""
    lines = [
        b"Accept: " + b",".join(b"a/b%d;q=0.%d" % (number, number) for number in range(1500)),
        b"\r\n".join(b"Accept: text/x-%d" % number for number in range(90)),
        b"Accept: \xff\xfe", b"Cookie: " + b"a=b;" * 5000, b"Range: bytes=0-,1-,2-", b"X-Request-ID: ../../etc/passwd",
        b"X-Request-ID: " + b"a" * 20_000, b"X-Request-ID: \x1b[31m", b"X-Forwarded-For: " + b"1.1.1.1," * 2000,
        b"traceparent: 00-zz-zz-zz", b"Content-Type: " + b"a" * 10_000, b"If-None-Match: " + b'"a",' * 5000,
        b"Authorization: Basic " + b"=" * 10_000, b"Accept-Encoding: " + b"gzip," * 4000, b"Connection: a, b, close",
    ]  # fmt: skip
    requests = [
        (repr(line[:24]), b"%s HTTP/1.1\r\nHost: localhost\r\n%s\r\nContent-Length: 0\r\n\r\n" % (start, line))
        for line in lines
        for start in (b"GET /metrics", b"POST /v1/samples")
    ]
    return await in_turn(target, requests, right=_UNUSUAL)
