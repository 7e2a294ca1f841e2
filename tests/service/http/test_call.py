"""What a call knows of its request: joined headers, its id, its trace."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentserve.service.errors import NotAcceptableError
from latentserve.service.http.call import Call, is_traceparent, join
from latentserve.service.http.negotiation import negotiate

TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OFFERS = ("application/json", "image/png", "image/webp", "application/x-npy")


def call(*headers: tuple[bytes, bytes]) -> Call:
    async def receive() -> dict[str, object]:
        raise AssertionError

    return Call({"type": "http", "method": "GET", "path": "/", "headers": list(headers)}, receive, "/")


def test_headers_that_come_once_are_as_they_came() -> None:
    assert call((b"accept", b"image/png"), (b"host", b"a")).headers == {b"accept": b"image/png", b"host": b"a"}


def test_headers_of_one_name_are_one_list() -> None:
    accepts = [(b"accept", b"application/json;q=1"), (b"host", b"a"), (b"accept", b"image/png;q=0.1")]
    assert call(*accepts).headers == {b"accept": b"application/json;q=1, image/png;q=0.1", b"host": b"a"}


ranges = st.builds(
    lambda media, q: media if q is None else f"{media};q={q}",
    st.sampled_from([*OFFERS, "*/*", "image/*", "text/html"]),
    st.none() | st.sampled_from(["0", "0.1", "0.5", "1"]),
)


@given(st.lists(ranges, min_size=1), st.data())
def test_accept_is_the_same_however_it_is_cut_into_lines(parts: list[str], data: st.DataObject) -> None:
    def best(accept: str) -> str | None:
        try:
            return negotiate(accept, OFFERS)
        except NotAcceptableError:
            return None

    cuts = sorted(data.draw(st.sets(st.integers(1, len(parts)))) | {len(parts)})
    lines = [parts[start:stop] for start, stop in zip([0, *cuts], cuts, strict=False)]
    joined = join([(b"accept", ",".join(line).encode()) for line in lines])[b"accept"].decode()
    assert best(joined) == best(", ".join(parts))


@pytest.mark.parametrize("given_id", [b"a", b"7f3d-11", b"req_1.2~3:4/5+6=7@8", b"x" * 128])
def test_a_request_id_is_taken(given_id: bytes) -> None:
    assert call((b"x-request-id", given_id)).id == given_id


@given(st.binary(max_size=200))
def test_a_request_id_is_taken_or_made(given_id: bytes) -> None:
    own = call((b"x-request-id", given_id)).id
    assert re.fullmatch(rb"[\w.~:/+=@-]{1,128}", own, re.ASCII)


def test_request_ids_that_are_made_differ() -> None:
    assert len({call().id for _ in range(100)}) == 100
    assert call((b"x-request-id", b"a"), (b"x-request-id", b"b")).id not in (b"a", b"b")


@pytest.mark.parametrize(
    "value",
    [
        TRACE,
        TRACE.replace(b"-01", b"-ff"),
        b"cc" + TRACE[2:],
        b"cc" + TRACE[2:] + b"-what-the-future-will-be-like",
    ],
)
def test_a_trace_is_taken(value: bytes) -> None:
    assert call((b"traceparent", value)).traceparent == value


@pytest.mark.parametrize(
    "value",
    [
        b"",
        TRACE + b"-more",
        b"cc" + TRACE[2:] + b".more",
        b"ff" + TRACE[2:],
        TRACE.upper(),
        TRACE.replace(b"4bf92f3577b34da6a3ce929d0e0e4736", b"0" * 32),
        TRACE.replace(b"00f067aa0ba902b7", b"0" * 16),
        TRACE[:-1],
        TRACE + b"\n",
        TRACE + b", " + TRACE,
    ],
)
def test_what_is_no_trace_is_left(value: bytes) -> None:
    assert call((b"traceparent", value)).traceparent is None


hexes = st.text("0123456789abcdef")


@given(hexes, hexes, hexes, hexes, st.binary(max_size=20))
def test_a_trace_has_its_form(version: str, trace: str, parent: str, flags: str, more: bytes) -> None:
    value = f"{version}-{trace}-{parent}-{flags}".encode() + more
    lengths = tuple(map(len, (version, trace, parent, flags))) == (2, 32, 16, 2)
    zeros = set(trace) == {"0"} or set(parent) == {"0"}
    later = version != "00" and more.startswith(b"-") and b"\n" not in more
    assert is_traceparent(value) == (lengths and not zeros and version != "ff" and (not more or later))
