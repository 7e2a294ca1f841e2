"""A connection over a real socket: what is answered, and when it ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.service.host.hosting import Host, statuses

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with Host() as running:
        yield running


def test_an_answer_has_its_length_and_the_date(host: Host):
    head, body = host.ask(LAST).split(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert body == b"GET /last  "
    assert b"content-length: %d" % len(body) in lines
    assert b"connection: close" in lines
    assert sum(line.startswith(b"date: ") for line in lines) == 1


def test_requests_follow_one_another_in_one_segment(host: Host):
    post = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    chunked = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n"
    answers = host.ask(GET + post + chunked + post + LAST)
    assert statuses(answers) == [200] * 5
    assert answers.count(b"POST /b  abc") == 2
    assert answers.count(b"POST /c  def") == 1
    assert answers.endswith(b"GET /last  ")
