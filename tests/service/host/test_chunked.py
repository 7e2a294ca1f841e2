"""Chunked bodies: the same wherever their bytes are split, and nothing behind them is touched."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentserve.service.host.chunked import Chunked
from latentserve.service.host.limits import RequestError

BEHIND = b"GET /behind HTTP/1.1\r\n\r\n"


def fed(*pieces: bytes, framing: int = 1000) -> tuple[bytes, bytes | None]:
    """What a body holds that comes in pieces, and what is behind it."""
    chunked = Chunked(framing)
    body, rest = b"", None
    for piece in pieces:
        if rest is None:
            part, rest = chunked.feed(piece)
            body += part
        else:
            rest += piece
    return body, rest


def framed(parts: list[bytes], end: bytes = b"0\r\n\r\n") -> bytes:
    """A body in chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + end


@given(
    st.lists(st.one_of(st.binary(min_size=1, max_size=20), st.just(b"\r\n\r\n"), st.just(b"0\r\n\r\n")), max_size=5),
    st.sampled_from([b"0\r\n\r\n", b"000\r\nX: a\r\nY: b\r\n\r\n", b"0;a=b\r\n\r\n"]),
    st.lists(st.integers(0, 200), max_size=8),
    st.sampled_from([b"", b"\r\n", b"\r\n\r\n", BEHIND]),
)
def test_any_split_gives_the_same_body_and_what_is_behind(
    parts: list[bytes], end: bytes, cuts: list[int], behind: bytes
):
    raw = framed(parts, end) + behind
    at = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
    pieces = [raw[a:b] for a, b in itertools.pairwise(at)]
    assert fed(*pieces) == (b"".join(parts), behind)


def test_a_body_that_has_not_ended_has_nothing_behind():
    assert fed(framed([b"abc"], b"0\r\n")) == (b"abc", None)


@pytest.mark.parametrize(
    "raw",
    [
        b"3\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\r\n0\r\n X: a\r\n\r\n",
        b"3\r\nabc\r\n0\r\nX : a\r\n\r\n",
        b"g\r\n",
        b"\r\n",
        b"10000000000000003\r\nabc\r\n0\r\n\r\n",
        b"3;\x00\r\nabc\r\n0\r\n\r\n",
        b"3;a\nb\r\nabc\r\n0\r\n\r\n",
        b"0\n\n",
    ],
)
def test_what_could_be_read_in_two_ways_is_the_clients_fault(raw: bytes):
    with pytest.raises(RequestError):
        fed(raw)
    with pytest.raises(RequestError):
        fed(*[raw[at : at + 1] for at in range(len(raw))])


@pytest.mark.parametrize(
    "raw",
    [framed([b"abc"], b"0\r\n" + b"X: a\r\n" * 300), b"3;" + b"a" * 1100, framed([b"a"], b"0\r\nX: " + b"b" * 1100)],
)
def test_framing_is_bounded(raw: bytes):
    with pytest.raises(RequestError, match="too large"):
        fed(*[raw[at : at + 100] for at in range(0, len(raw), 100)])


def test_chunks_of_one_byte_are_no_framing():
    assert fed(framed([b"a"] * 3000)) == (b"a" * 3000, b"")
