"""Bodies that come as gzip or deflate."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentserve.service.errors import BadRequestError, TooLargeError, UnsupportedEncodingError
from latentserve.service.http.coding import DEFLATE, GZIP, Coding, coding_of, decode, inflate

LIMIT = 1 << 20


def decoded(content: bytes, limit: int = LIMIT, coding: Coding = GZIP) -> bytes:
    return asyncio.run(decode(content, limit, coding))


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=4), st.sampled_from([1, 40_000]))
def test_members_are_joined(members: list[bytes], times: int) -> None:
    members = [member * times for member in members]
    whole = b"".join(members)
    content = b"".join(map(gzip.compress, members))
    assert decoded(content, max(len(whole), 1)) == whole
    if len(whole) > 1:
        with pytest.raises(TooLargeError):
            decoded(content, len(whole) - 1)


@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_part_is_not_taken_for_the_whole(body: bytes, data: st.DataObject) -> None:
    for coding, content in ((GZIP, gzip.compress(body)), (DEFLATE, zlib.compress(body))):
        cut = data.draw(st.integers(0, len(content) - 1))
        with pytest.raises(BadRequestError):
            decoded(content[:cut], coding=coding)


@given(st.binary(max_size=100))
def test_anything_is_decoded_or_refused(content: bytes) -> None:
    for body in (content, gzip.compress(content) + content, zlib.compress(content) + content):
        for coding in (GZIP, DEFLATE):
            with suppress(BadRequestError):
                decoded(body, coding=coding)


def test_a_bomb_takes_no_memory() -> None:
    for coding, bomb in ((GZIP, gzip.compress(bytes(64 << 20))), (DEFLATE, zlib.compress(bytes(64 << 20)))):
        with pytest.raises(TooLargeError, match="decoded"):
            decoded(bomb, coding=coding)


@given(st.binary(max_size=50), st.sampled_from([1, 40_000]))
def test_deflate_is_decoded(body: bytes, times: int) -> None:
    assert decoded(zlib.compress(body * times), max(1, len(body) * times), DEFLATE) == body * times


def test_nothing_follows_deflate() -> None:
    with pytest.raises(BadRequestError, match="2 bytes follow the end of the deflate"):
        decoded(zlib.compress(b"{}") + b"{}", coding=DEFLATE)


def test_a_broken_body_is_told() -> None:
    broken = bytearray(gzip.compress(b"{}" * 1000))
    broken[-5] ^= 1  # of its checksum
    with pytest.raises(BadRequestError):
        decoded(bytes(broken))


@pytest.mark.parametrize(
    ("stated", "coding"),
    [
        (None, None),
        (b"", None),
        (b"identity", None),
        (b"Identity ", None),
        (b"gzip", GZIP),
        (b"X-GZIP", GZIP),
        (b" Deflate", DEFLATE),
    ],
)
def test_what_is_taken(stated: bytes | None, coding: Coding | None) -> None:
    assert coding_of({} if stated is None else {b"content-encoding": stated}) is coding


@pytest.mark.parametrize("stated", [b"br", b"zstd", b"gzip, gzip", b"\xff" * 300])
def test_what_is_not_taken(stated: bytes) -> None:
    with pytest.raises(UnsupportedEncodingError, match="gzip, deflate are") as raised:
        coding_of({b"content-encoding": stated})
    assert raised.value.accepted == "gzip, deflate"


def test_the_other_form_of_zlib_is_not_gzip() -> None:
    with pytest.raises(BadRequestError):
        decoded(zlib.compress(b"{}"))


def test_many_members_are_decoded_and_no_endless_row_of_them() -> None:
    assert inflate(gzip.compress(b"ab") * 1000, 5000) == b"ab" * 1000
    with pytest.raises(BadRequestError, match="more than 1000 members"):
        inflate(gzip.compress(b"") * 50_000, 5000)
