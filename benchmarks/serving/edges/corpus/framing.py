"""Where a message begins and ends: forms that two readers read as two things, and what is no HTTP/1.1 at all."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter

from benchmarks.serving.edges.corpus.hostile import (
    Ends,
    Target,
    again,
    at_once,
    connect,
    endlessly,
    exchange,
    hostile,
    in_turn,
    reset,
    samples,
    unread,
)

_SECOND = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
_POST = b"POST /v1/samples HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
_CHUNKED = _POST + b"Transfer-Encoding: chunked\r\n\r\n"
_WHOLE = b"2\r\n{}\r\n0\r\n\r\n"
_BAD = ("400", "501", "closed", "reset")
_ELSEWHERE = ("200", "204", "400", "403", "404", "405", "421", "501", "closed")
_OTHER_VERSIONS = ("200", "400", "417", "505", "closed", "reset")
_OTHER_METHODS = ("200", "204", "307", "400", "404", "405", "414", "501", "closed")

_SMUGGLED = {
    "both": _POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n" + _WHOLE,
    "both, turned": _POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n" + _WHOLE,
    "two lengths": _POST + b"Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}",
    "a list of lengths": _POST + b"Content-Length: 2, 40\r\n\r\n{}",
    "+2": _POST + b"Content-Length: +2\r\n\r\n{}",
    "0x2": _POST + b"Content-Length: 0x2\r\n\r\n{}",
    "-2": _POST + b"Content-Length: -2\r\n\r\n{}",
    "xchunked": _POST + b"Transfer-Encoding: xchunked\r\n\r\n" + _WHOLE,
    "chunked, identity": _POST + b"Transfer-Encoding: chunked, identity\r\n\r\n" + _WHOLE,
    "two codings": _POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + _WHOLE,
    "space before the colon": _POST + b"Transfer-Encoding : chunked\r\n\r\n" + _WHOLE,
    "folded": _POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + _WHOLE,
    "vertical tab": _POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + _WHOLE,
    "bare LF": _POST.replace(b"\r\n", b"\n") + b"Content-Length: 2\n\n{}",
    "bare CR": _POST + b"X: a\rContent-Length: 2\r\n\r\n{}",
    "NUL": _POST + b"X: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
    "no colon": _POST + b"Content-Length 2\r\n\r\n{}",
    "no name": _POST + b": 2\r\nContent-Length: 2\r\n\r\n{}",
    "space first": b"POST /v1/samples HTTP/1.1\r\n Host: localhost\r\nContent-Length: 2\r\n\r\n{}",
    "size with LF": _CHUNKED + b"2\n{}\r\n0\r\n\r\n",
    "size with a sign": _CHUNKED + b"+2\r\n{}\r\n0\r\n\r\n",
    "size of 2^64 + 2": _CHUNKED + b"10000000000000002\r\n{}\r\n0\r\n\r\n",
    "chunk too long": _CHUNKED + b"2\r\n{}xx\r\n0\r\n\r\n",
    "no size": _CHUNKED + b"\r\n{}\r\n0\r\n\r\n",
}


@hostile(*_BAD)
async def smuggled_requests(target: Target) -> Ends:
    """Two lengths, lengths that are none, codings in disguise, folded and bare lines, each with a second request
    behind it: one refusal, and no answer to the second."""
    forms = [(name, content + _SECOND) for name, content in _SMUGGLED.items()]
    return await in_turn(target, forms, right=_BAD)


@hostile("400", "505", "closed", "reset")
async def http2_preface(target: Target) -> Ends:
    """PRI * HTTP/2.0 and frames, by 20 clients."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" * 100
    return await again(target, 20, lambda: exchange(target, preface))


@hostile("400", "408", "414", "431", "closed", "reset")
async def random_bytes(target: Target) -> Ends:
    """64 kB of them, by 20 clients."""
    return await again(target, 20, lambda: exchange(target, os.urandom(1 << 16)))


@hostile("400", "408", "closed", "reset")
async def tls_hello(target: Target) -> Ends:
    """The first bytes of TLS, by 20 clients."""
    hello = bytes.fromhex("16030102000100") + b"\x01\xfc\x03\x03" + bytes(range(32)) + b"\x20" + bytes(471)
    return await again(target, 20, lambda: exchange(target, hello))


@hostile("200")
async def h2c_offers(target: Target) -> Ends:
    """A body beside an offer of HTTP/2, as the JDK's client sends it: the rows of its seed, by 10 clients."""
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk")
    request = samples("application/octet-stream", *offer, model="digits", seed=4711)

    async def one() -> str:
        reader, writer = await connect(target.port)
        try:
            writer.write(request)
            async with asyncio.timeout(target.seconds):
                answer = await reader.readuntil(b"\r\n\r\n")
            right = b"latentserve-seed: 4711" in answer.lower()
            return answer[9:12].decode() if right else f"{answer[9:12].decode()} of another seed"
        except (OSError, asyncio.IncompleteReadError):
            return "closed"
        finally:
            reset(writer)

    return await again(target, 10, one)


@hostile("400", "404", "405", "426", "501")
async def upgrade_offers(target: Target) -> Ends:
    """WebSocket and others where there are none."""
    key = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    requests = [
        b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s\r\n" % (path, to, key)
        for path in (b"/v1/samples", b"/nothing")
        for to in (b"websocket", b"TLS/1.0", b"h2c, websocket")
    ]
    return await in_turn(target, requests, right=())


@hostile(*_ELSEWHERE)
async def other_targets(target: Target) -> Ends:
    """Absolute addresses, CONNECT, OPTIONS *."""
    end = b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    starts = (
        b"GET http://127.0.0.1/livez", b"GET http://example.org/livez", b"GET https://a:1/v1/models", b"GET ftp://a/",
        b"CONNECT example.org:443", b"OPTIONS *", b"GET http://", b"GET ://", b"GET http://[::1/livez",
    )  # fmt: skip
    return await in_turn(target, [(repr(one), one + end) for one in starts], right=_ELSEWHERE)


@hostile("408", "417", "closed")
async def never_continued(target: Target) -> Ends:
    """`Expect: 100-continue` for 1 MiB that never comes, by 100 clients."""
    request = _POST + b"Content-Length: 1048576\r\nExpect: 100-continue\r\n\r\n"
    return await at_once(100, lambda: exchange(target, request))


@hostile(*_OTHER_VERSIONS)
async def other_versions(target: Target) -> Ends:
    """HTTP/0.9, 1.0, 1.2, 2.0, 9.9; no Host, two of them; expectations that there are none of."""
    requests = [
        ("0.9", b"GET /livez\r\n\r\n"), ("1.0", b"GET /livez HTTP/1.0\r\n\r\n"),
        ("1.2", _SECOND.replace(b"1.1", b"1.2")),
        ("2.0", _SECOND.replace(b"1.1", b"2.0")), ("9.9", _SECOND.replace(b"1.1", b"9.9")),
        ("no Host", b"GET /livez HTTP/1.1\r\n\r\n"),
        ("two Hosts", _SECOND.replace(b"t\r\n\r\n", b"t\r\nHost: b\r\n\r\n")),
        ("HTTQ", _SECOND.replace(b"HTTP", b"HTTQ")), ("Expect", _SECOND.replace(b"t\r\n", b"t\r\nExpect: tea\r\n")),
    ]  # fmt: skip
    return await in_turn(target, requests, right=_OTHER_VERSIONS)


@hostile(*_OTHER_METHODS)
async def other_methods(target: Target) -> Ends:
    """HEAD, OPTIONS, TRACE, DELETE, words that are none, where they are not expected."""
    words = (b"HEAD", b"OPTIONS", b"TRACE", b"DELETE", b"PATCH", b"PUT", b"PROPFIND", b"BREW", b"get", b"A" * 9000)
    requests = [
        (word[:8].decode(), b"%s %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (word, path))
        for word in words
        for path in (b"/v1/samples", b"/livez", b"/metrics", b"/sample", b"/")
    ]
    return await in_turn(target, requests, right=_OTHER_METHODS)


@hostile("200", "413", "422", bodies=1 << 20)
async def chunks_of_a_byte(target: Target) -> Ends:
    """100,000 chunks of a byte each, by 4 clients."""
    content = b'{"model":"showers"' + b" " * 100_000 + b"}"
    request = _CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in content) + b"0\r\n\r\n"
    return await again(target, 4, lambda: exchange(target, request))


@hostile("400", "413", "431", "closed", "reset")
async def endless_chunk_heads(target: Target) -> Ends:
    """64 MB of an extension of a chunk, and of trailers."""
    piece = b"a" * (1 << 16)
    openings = (_CHUNKED + b"2;a=", _CHUNKED + _WHOLE[:-2] + b"X: ")
    found: Ends = Counter()
    end = target.end
    while time.monotonic() < end:
        found += Counter([await exchange(target, endlessly(opening, piece, 64 << 20)) for opening in openings])
    return found


@hostile("200")
async def pipelined(target: Target) -> Ends:
    """2,000 requests in one write, again and again, all answers read."""
    found: Ends = Counter()
    end = target.end
    while time.monotonic() < end:
        answers = await exchange(target, _SECOND * 2000, whole=True)
        found += Counter(answers.split("+"))
    return found


@hostile("let go", bodies=1 << 20)
async def pipelined_and_never_read(target: Target) -> Ends:
    """2,000 requests for 200 kB each over each of 10 connections, no answer read."""
    request = samples(model="showers", n=2000, seed=1)
    return await at_once(10, lambda: unread(target, request * 2000))
