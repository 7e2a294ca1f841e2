"""Heads, as they should be and as nobody should send them."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from latentserve.service.host.head import CHUNKED, _read, check_beginning, read_head
from latentserve.service.host.refusal import Refused

HOST = b"Host: x\r\n"


def head(line: bytes, *fields: bytes, host: bytes = HOST) -> bytes:
    """A head of these lines."""
    return line + b"\r\n" + host + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def test_what_a_head_says():
    raw = head(b"POST /a%20b/%C3%BC?x=%20&y HTTP/1.1", b"Content-Length: 12", b"Accept: a", b"ACCEPT: b")
    read = read_head(raw, 100)
    assert read.scope == {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/a b/ü",
        "raw_path": b"/a%20b/%C3%BC",
        "query_string": b"x=%20&y",
    }
    assert (read.length, read.keep_alive, read.expects_continue) == (12, True, False)
    assert not read_head(head(b"POST / HTTP/1.1", b"Expect: ", b"Content-Length: 2"), 100).expects_continue
    assert read.headers == ((b"host", b"x"), (b"content-length", b"12"), (b"accept", b"a"), (b"accept", b"b"))


def test_an_absolute_target_stands_for_the_host():
    read = read_head(head(b"GET HTTP://example.org:81/a?b HTTP/1.1"), 100)
    assert (read.scope["raw_path"], read.scope["query_string"]) == (b"/a", b"b")
    assert read.headers == ((b"host", b"example.org:81"),)
    assert read_head(head(b"GET http://example.org HTTP/1.1"), 100).scope["path"] == "/"
    assert read_head(head(b"GET http://example.org?b HTTP/1.1"), 100).scope["query_string"] == b"b"


def test_bytes_beyond_ascii_are_as_if_they_were_encoded():
    typed, sent = "/ü/samples?label=日本", "/%C3%BC/samples?label=%E6%97%A5%E6%9C%AC"
    read, same = (read_head(head(f"POST {target} HTTP/1.1".encode()), 100) for target in (typed, sent))
    assert read == same
    assert read.scope["path"] == "/ü/samples"


@given(st.sampled_from(["GET", "HEAD"]), st.text(st.characters(min_codepoint=32, max_codepoint=127), max_size=20))
@example("GET", "a?b?c")
@example("HEAD", "?b#c")
def test_a_head_is_read_the_same_in_two_parts(method: str, target: str):
    raw = head(f"{method} /{target} HTTP/1.1".encode(), b"Connection: close", b"Content-Length: 3")
    try:
        whole = _read(raw, 100)
    except Refused as refused:
        with pytest.raises(Refused, match=re.escape(str(refused))):
            read_head(raw, 100)
    else:
        assert read_head(raw, 100) == whole


def test_spaces_and_tabs_around_a_value_are_none_of_it():
    raw = head(POST, b"Content-Length:\t4 \t", b"X: \t a\tb \t", host=b"Host:\tx\t\r\n")
    assert read_head(raw, 100).headers == ((b"host", b"x"), (b"content-length", b"4"), (b"x", b"a\tb"))


def test_the_server_itself_may_be_asked_for_its_options():
    assert read_head(head(b"OPTIONS * HTTP/1.1"), 100).scope["path"] == "*"


@pytest.mark.parametrize(
    ("line", "fields", "kept"),
    [
        (b"GET / HTTP/1.1", [], True),
        (b"GET / HTTP/1.1", [b"Connection: close"], False),
        (b"GET / HTTP/1.1", [b"Connection: Upgrade, Close"], False),
        (b"GET / HTTP/1.1", [b"Connection: a", b"Connection: close"], False),
        (b"GET / HTTP/1.0", [], False),
        (b"GET / HTTP/1.0", [b"Connection: Keep-Alive"], True),
    ],
)
def test_whether_a_connection_is_kept(line: bytes, fields: list[bytes], kept: bool):
    assert read_head(head(line, *fields), 100).keep_alive is kept


def test_an_offer_of_another_protocol_is_passed_over():
    offer = [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAAAAIAAAAB"]
    assert read_head(head(b"POST / HTTP/1.1", *offer, b"Content-Length: 5"), 100).length == 5
    assert read_head(head(b"POST / HTTP/1.1", *offer, b"Transfer-Encoding: chunked"), 100).length == CHUNKED
    assert read_head(head(b"GET / HTTP/1.1", b"Upgrade: websocket", b"Connection: Upgrade"), 100).length == 0


def test_a_host_of_http_1_0_may_be_missing():
    assert read_head(b"GET / HTTP/1.0\r\n\r\n", 100).headers == ()


POST = b"POST / HTTP/1.1"
HOSTILE = {
    "length and coding": (400, head(POST, b"Content-Length: 4", b"Transfer-Encoding: chunked")),
    "coding and length": (400, head(POST, b"Transfer-Encoding: chunked", b"Content-Length: 4")),
    "two lengths": (400, head(POST, b"Content-Length: 4", b"Content-Length: 5")),
    "the same length twice": (400, head(POST, b"Content-Length: 4", b"Content-Length: 4")),
    "two lengths in a line": (400, head(POST, b"Content-Length: 4, 4")),
    "a signed length": (400, head(POST, b"Content-Length: +4")),
    "a negative length": (400, head(POST, b"Content-Length: -4")),
    "a hexadecimal length": (400, head(POST, b"Content-Length: 0x4")),
    "a length with a point": (400, head(POST, b"Content-Length: 4.0")),
    "a length with a space": (400, head(POST, b"Content-Length: 4 4")),
    "a length of words": (400, head(POST, b"Content-Length: four")),
    "an empty length": (400, head(POST, b"Content-Length:")),
    "a length beyond all": (400, head(POST, b"Content-Length: 99999999999999999999999")),
    "a large length": (400, head(POST, b"Content-Length: 9999999999999999999")),
    "two codings": (400, head(POST, b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked")),
    "two codings in a line": (501, head(POST, b"Transfer-Encoding: gzip, chunked")),
    "chunked twice": ({400, 501}, head(POST, b"Transfer-Encoding: chunked, chunked")),
    "a coding that is none": ({400, 501}, head(POST, b"Transfer-Encoding: xchunked")),
    "a coding before another": ({400, 501}, head(POST, b"Transfer-Encoding: chunked, identity")),
    "a coding with a tabulator": ({400, 501}, head(POST, b"Transfer-Encoding: \x0bchunked")),
    "a coding in quotes": ({400, 501}, head(POST, b'Transfer-Encoding: "chunked"')),
    "a coding of HTTP/1.0": (400, head(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked")),
    "a space before the colon": (400, head(POST, b"Content-Length : 4")),
    "a space before the name": (400, head(POST, b" Content-Length: 4")),
    "a field that is folded": (400, head(POST, b"X: a\r\n Content-Length: 4")),
    "a coding that is folded": (400, head(POST, b"Transfer-Encoding:\r\n chunked")),
    "a bare line feed": (400, head(POST, b"X: a\nContent-Length: 4")),
    "a bare carriage return": (400, head(POST, b"X: a\rContent-Length: 4")),
    "a zero in a value": (400, head(POST, b"X: a\x00b")),
    "a zero in a name": (400, head(POST, b"X\x00: a")),
    "a field without a colon": (400, head(POST, b"nothing")),
    "a field without a name": (400, head(POST, b": a")),
    "a name in brackets": (400, head(POST, b"(X): a")),
    "no host": (400, head(POST, host=b"")),
    "two hosts": (400, head(POST, b"Host: y")),
    "the same host twice": (400, head(POST, b"Host: x")),
    "a host with a space": (400, head(POST, host=b"Host: x y\r\n")),
    "a host with a path": (400, head(POST, host=b"Host: x/y\r\n")),
    "a host with a user": (400, head(POST, host=b"Host: a@b\r\n")),
    "another protocol": (400, head(b"GET / HTCPCP/1.1")),
    "version 0.9": ({400, 505}, head(b"GET / HTTP/0.9")),
    "version 1.2": ({400, 505}, head(b"GET / HTTP/1.2")),
    "version 2.0": (505, head(b"GET / HTTP/2.0")),
    "version 11": (400, head(b"GET / HTTP/11")),
    "no version": ({400, 505}, head(b"GET /")),
    "the PROXY protocol": (400, b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n" + head(b"GET / HTTP/1.1")),
    "its second version": (400, b"\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\1\x7f\0\0\1\0\1\0\2" + head(b"GET / HTTP/1.1")),
    "the preface of HTTP/2": (505, b"PRI * HTTP/2.0\r\n\r\n"),
    "no target": (400, head(b"GET  HTTP/1.1")),
    "a target with a space": (400, head(b"GET /a b HTTP/1.1")),
    "a target with a fragment": (400, head(b"GET /a#b HTTP/1.1")),
    "a target that is no path": (400, head(b"GET a HTTP/1.1")),
    "a target of another protocol": (400, head(b"GET ftp://a/b HTTP/1.1")),
    "a target with a user": (400, head(b"GET http://a@b/ HTTP/1.1")),
    "a star": (400, head(b"GET * HTTP/1.1")),
    "a tunnel": (501, head(b"CONNECT a:80 HTTP/1.1")),
    "an unknown method": (501, head(b"BREW / HTTP/1.1")),
    "a method in lower case": (400, head(b"get / HTTP/1.1")),
    "an unknown expectation": (417, head(POST, b"Content-Length: 1", b"Expect: 200-ok")),
    "two expectations": (417, head(POST, b"Expect: 100-continue", b"Expect: 100-continue")),
    "a long URL": (414, head(b"GET /" + b"a" * 8200 + b" HTTP/1.1")),
    "a URL that is far too long": (414, head(b"GET /" + b"a" * 30000 + b" HTTP/1.1")),
    "many fields": (431, head(POST, *[b"X: 1"] * 100)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_could_be_read_in_two_ways_is_refused(name: str):
    status, raw = HOSTILE[name]
    with pytest.raises(Refused) as refused:
        read_head(raw, 100)
    assert refused.value.status in ({status} if isinstance(status, int) else status)
    assert b"HTTP/1.1 %d " % refused.value.status in refused.value.answer(b"date: today\r\n")


def test_as_many_fields_as_allowed():
    assert len(read_head(head(POST, *[b"X: 1"] * 99), 100).headers) == 100


@given(st.binary(max_size=200))
def test_any_bytes_are_a_head_or_refused(raw: bytes):
    for begun in (raw, b"GET / HTTP/1.1\r\n" + raw, b"POST / HTTP/1.1\r\nHost: x\r\n" + raw):
        try:
            read_head(begun + b"\r\n\r\n", 100)
        except Refused as refused:
            assert 400 <= refused.status < 600  # noqa: PT017 - either is right


@given(st.data())
def test_no_beginning_of_a_right_head_is_refused(data: st.DataObject):
    raw = head(b"OPTIONS /a?b HTTP/1.1", b"X: a", b"Y: \xff")
    at = data.draw(st.integers(1, len(raw) - 1))
    check_beginning(raw[:at], data.draw(st.integers(0, at)))


@pytest.mark.parametrize(
    "raw", [b"\x16\x03\x01\x02\x00\x01", b"PROXY UNKNOWN\r\n", b"\x00", b"GET / HTTP/1.1\nHost", b"<html>", b"GET\t/"]
)
def test_what_will_be_no_head_is_refused_before_it_ends(raw: bytes):
    with pytest.raises(Refused):
        check_beginning(raw, 0)
