"""A connection over a real socket: what is answered, and when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latentserve.service.host import connection
from latentserve.service.host.limits import AnswerTimeout, ClientGone, RequestError
from tests.conftest import examples
from tests.service.host.hosting import Host, echo, read_all, statuses
from tests.service.host.test_head import HOSTILE

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def post(path: str, body: bytes, *fields: bytes) -> bytes:
    """A request with a body."""
    lines = [b"POST %b HTTP/1.1" % path.encode(), b"Host: x", b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def eventually(true: Callable[[], Any]) -> None:
    """Wait until it is."""
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Recorded:
    """An application that does what a test says, and notes what it was told."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.errors: list[Exception] = []
        self.scopes: list[dict[str, Any]] = []
        self.to_send: list[dict[str, Any]] = []
        self.reads = 1
        self.wait = 0.0

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        try:
            for _ in range(self.reads):
                self.messages.append(await receive())
            await asyncio.sleep(self.wait)
            for message in self.to_send:
                await send(message)
        except (ClientGone, RequestError) as error:
            self.errors.append(error)
            raise


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    """The start of an answer."""
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def part(body: bytes, more: bool = False) -> dict[str, Any]:
    """A part of an answer."""
    return {"type": "http.response.body", "body": body, "more_body": more}


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with Host() as running:
        yield running


@pytest.fixture
def app() -> Recorded:
    return Recorded()


@pytest.fixture
def recorded(app: Recorded) -> Iterator[Host]:
    with Host(app) as running:
        yield running


@pytest.fixture(scope="module")
def hasty() -> Iterator[Host]:
    """Everything of a client is due at once."""
    with Host(header_seconds=0.1, keep_alive_seconds=0.1, body_seconds=0.1, answer_seconds=0.1) as running:
        yield running


@pytest.fixture
def hasty_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PROBE_SECONDS", 0.1)


# Answers


def test_an_answer_has_its_length_and_the_date(host: Host):
    head, body = host.ask(LAST).split(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert body == b"GET /last  "
    assert b"content-length: %d" % len(body) in lines
    assert b"connection: close" in lines
    assert sum(line.startswith(b"date: ") for line in lines) == 1


def test_a_small_answer_is_one_segment(host: Host):
    with host.connect() as line:
        line.sendall(GET)
        assert line.recv(1 << 16).endswith(b"\r\n\r\nGET /a  ")


def test_an_answer_of_unknown_length_is_chunked_but_for_http_1_0(recorded: Host, app: Recorded):
    app.to_send = [start(), part(b"abc", more=True), part(b"", more=True), part(b"d" * 100_000, more=True), part(b"")]
    answer = recorded.ask(LAST)
    assert b"transfer-encoding: chunked\r\n" in answer
    assert answer.endswith(b"\r\n\r\n3\r\nabc\r\n186a0\r\n" + b"d" * 100_000 + b"\r\n0\r\n\r\n")
    answer = recorded.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert b"chunked" not in answer
    assert b"connection: close\r\n" in answer
    assert answer.endswith(b"\r\n\r\nabc" + b"d" * 100_000)


def test_http_1_0_is_closed_unless_it_asks_to_be_kept(host: Host):
    kept = b"GET /kept HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    answers = host.ask(kept + b"GET /b HTTP/1.0\r\n\r\n" + SMUGGLED)
    assert statuses(answers) == [200, 200]
    assert answers.count(b"connection: keep-alive\r\n") == 1


def test_head_and_some_statuses_have_no_body(recorded: Host, app: Recorded):
    app.to_send = [start(200, (b"content-length", b"3")), part(b"abc")]
    head = LAST.replace(b"GET", b"HEAD")
    assert recorded.ask(head).endswith(b"close\r\n\r\n")
    app.to_send = [start(200), part(b"abc", more=True), part(b"")]
    assert recorded.ask(head).endswith(b"close\r\n\r\n")
    app.to_send = [start(204), part(b"")]
    assert b"content-length" not in recorded.ask(LAST)
    app.to_send = [start(304, (b"etag", b"a"), (b"content-length", b"3")), part(b"")]
    assert b"content-length: 3\r\n" in recorded.ask(LAST)
    assert recorded.failed == []


def test_an_answer_of_megabytes_arrives_whole(recorded: Host, app: Recorded):
    body = bytes(range(256)) * (20 << 12)
    app.to_send = [start(), part(body)]
    assert recorded.ask(LAST).partition(b"\r\n\r\n")[2] == body
    app.to_send = [start(200, (b"content-length", b"%d" % len(body))), part(body[:9], more=True), part(body[9:])]
    assert recorded.ask(LAST).partition(b"\r\n\r\n")[2] == body


@pytest.mark.parametrize(
    "sent",
    [
        [],
        [start(200, (b"a", b"b\r\nc: d")), part(b"")],
        [start(), start()],
        [part(b"")],
        [{"type": "http.response.trailers"}],
    ],
)
def test_an_application_that_fails_before_its_answer_is_500(recorded: Host, app: Recorded, sent: list[Any]):
    app.to_send = sent
    answer = recorded.ask(GET + SMUGGLED)
    assert statuses(answer) == [500]
    assert b"application/problem+json" in answer
    assert len(recorded.failed) == bool(sent)


@pytest.mark.parametrize(
    "sent",
    [
        [start(200, (b"content-length", b"3")), part(b"ab", more=True)],
        [start(200, (b"content-length", b"3")), part(b"ab", more=True), part(b"")],
        [start(200, (b"content-length", b"3")), part(b"ab", more=True), part(b"cde")],
        [start(200), part(b"ab", more=True)],
        [start(200), part(b"ab", more=True), start(200)],
    ],
)
def test_half_of_an_answer_is_not_taken_for_a_whole_one(recorded: Host, app: Recorded, sent: list[Any]):
    app.to_send = sent
    with recorded.connect() as line:
        line.sendall(GET)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            answer = read_all(line)
        assert not answer.endswith(b"0\r\n\r\n")
        assert not answer.endswith(b"abc")


def test_what_the_application_is_told_of_a_request(recorded: Host, app: Recorded):
    app.to_send = [start(), part(b"")]
    with recorded.connect() as line:
        line.sendall(b"GET /a%20b?c HTTP/1.1\r\nHost: x\r\nX-Y: z\r\n\r\n")
        line.recv(1000)
        client = line.getsockname()
    [scope] = app.scopes
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "server": ("127.0.0.1", recorded.port),
        "client": client,
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"c",
        "headers": [(b"host", b"x"), (b"x-y", b"z")],
    }


# Requests one after the other


def test_requests_follow_one_another_in_one_segment(host: Host):
    body = CHUNKED + b"3\r\ndef\r\n0\r\n\r\n"
    answers = host.ask(GET + post("/b", b"abc") + body + post("/b", b"abc") + LAST)
    assert statuses(answers) == [200] * 5
    assert answers.count(b"POST /b  abc") == 2
    assert answers.count(b"POST /c  def") == 1
    assert answers.endswith(b"GET /last  ")


REQUESTS = [
    GET,
    b"\r\n\r\n" + GET,
    post("/b", b""),
    post("/b", b"abc"),
    post("/b", GET),
    post("/b", b"0\r\n\r\n", b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings"),
    CHUNKED + b"3\r\ndef\r\n0\r\n\r\n",
    CHUNKED + b"4;a=b\r\n\r\n\r\n\r\n0\r\nX: y\r\n\r\n",
    b"HEAD /h HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://y/d HTTP/1.1\r\nHost: x\r\n\r\n",
]


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(REQUESTS), max_size=6), st.lists(st.integers(0, 2000), max_size=6))
def test_any_split_of_requests_gives_the_same_answers(host: Host, requests: list[bytes], cuts: list[int]):
    raw = b"".join(requests) + LAST
    at = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
    pieces = [raw[a:b] for a, b in itertools.pairwise(at)]
    assert dateless(host.ask(*pieces)) == dateless(host.ask(raw))
    assert len(statuses(host.ask(raw))) == len(requests) + 1


def dateless(answers: bytes) -> list[bytes]:
    """Their lines, without the date's."""
    return [line for line in answers.split(b"\r\n") if not line.startswith(b"date: ")]


def test_a_request_may_come_byte_by_byte(host: Host):
    with host.connect() as line:
        for byte in post("/b", b"abc") + LAST:
            line.sendall(bytes([byte]))
        assert statuses(read_all(line)) == [200, 200]


def test_ten_thousand_requests_at_once_are_answered(host: Host):
    with host.connect() as line:
        line.sendall(GET * 3000 + LAST)
        assert len(statuses(read_all(line))) == 3001


# What is refused


def test_a_body_that_nobody_said_of_is_not_lost(host: Host):
    """Else the application would answer a request without it, and nobody would notice."""
    bare = b"POST /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert statuses(host.ask(bare)) == [200]
    for unsaid in (bare + b'{"n": 1}', b'POST /b HTTP/1.0\r\n\r\n{"n": 1}'):
        answer = host.ask(unsaid)
        assert statuses(answer) == [400]
        assert b"a body needs a `Content-Length`" in answer


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_head_gets_one_answer_and_nothing_behind_it_is_read(host: Host, name: str):
    status, raw = HOSTILE[name]
    answer = host.ask(raw + b"0\r\n\r\n" + SMUGGLED)
    [got] = statuses(answer)
    assert got in ({status} if isinstance(status, int) else status)
    assert b"smuggled" not in answer
    assert b"connection: close\r\n" in answer
    assert b"application/problem+json" in answer


@pytest.mark.parametrize(
    "body", [b"3\nabc\r\n0\r\n\r\n", b"0x3\r\nabc\r\n0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n", b"zz\r\n"]
)
def test_a_hostile_body_gets_one_answer_and_nothing_behind_it_is_read(host: Host, body: bytes):
    answer = host.ask(CHUNKED + body + SMUGGLED)
    assert statuses(answer) == [400]
    assert b"smuggled" not in answer


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=300))
def test_random_bytes_get_no_more_than_a_refusal(host: Host, raw: bytes):
    answers = statuses(host.ask(raw, half_close=True))
    assert len(answers) <= 1
    assert 200 not in answers


def test_a_refusal_has_the_id_that_was_stated_or_a_new_one(host: Host):
    found = [
        re.findall(rb"\r\nx-request-id: (.*)\r\n", host.ask(b"GET / HTTP/1.1\r\nHost: x\r\n" + fields))
        for fields in (
            b"X-Request-ID:  mine-1 \r\nTransfer-Encoding: gzip\r\n\r\n",
            b"X-request-id: mine-2\r\nX: " + b"a" * 40_000,
            b"X-Request-ID: <script>\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"X: y\nX-Request-ID: mine\r\n\r\n",
        )
    ]
    assert found[:2] == [[b"mine-1"], [b"mine-2"]]
    assert [len(ids) for ids in found] == [1, 1, 1, 1]
    assert len({found[2][0], found[3][0], b"<script>", b"mine"}) == 4


def test_headers_are_bounded_before_they_end(host: Host):
    assert statuses(host.ask(GET[:-2] + b"X: " + b"a" * 40_000)) == [431]
    assert statuses(host.ask(b"GET /" + b"a" * 40_000)) == [414]
    assert statuses(host.ask(GET[:-2] + b"X: a\r\n" * 120 + b"\r\n")) == [431]
    assert statuses(host.ask(b"\x16\x03\x01" + bytes(100))) == [400]


def test_a_header_of_megabytes_is_told_so(host: Host):
    with host.connect() as line:
        line.sendall(GET[:-2] + b"X: " + b"a" * (8 << 20))
        assert statuses(read_all(line)) == [431]


# Bodies


def test_a_body_of_megabytes_arrives_whole(host: Host):
    body = bytes(range(256)) * (20 << 12)
    head = post("/b", body, b"Connection: close")[: -len(body)]
    assert host.ask(head, body).endswith(body)


def test_a_body_that_nobody_reads_stays_with_the_client(recorded: Host, app: Recorded):
    app.reads, app.wait = 0, 30
    with recorded.connect() as line:
        line.sendall(post("/b", b"")[: -len(b"0\r\n\r\n")] + b"%d\r\n\r\n" % (1 << 30))
        line.settimeout(0.3)
        with pytest.raises(TimeoutError):
            line.sendall(bytes(32 << 20))


def test_a_client_that_waits_for_leave_gets_it_when_the_body_is_wanted(recorded: Host, app: Recorded):
    app.to_send = [start(), part(b"")]
    with recorded.connect() as line:
        line.sendall(post("/b", b"abc", b"Expect: 100-continue")[:-3])
        assert line.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.sendall(b"abc")
        assert statuses(line.recv(1000)) == [200]
        assert app.messages == [{"type": "http.request", "body": b"abc", "more_body": False}]
        app.reads = 0
        line.sendall(post("/b", b"abc", b"Expect: 100-continue")[:-3])
        answer = read_all(line)
    assert statuses(answer) == [200]
    assert b"connection: close" in answer


def test_an_answer_before_the_body_is_read_by_who_still_sends(recorded: Host, app: Recorded):
    app.reads, app.to_send = 0, [start(413), part(b"too large")]
    with recorded.connect() as line:
        line.sendall(post("/b", bytes(6 << 20)))
        answer = read_all(line)
    assert statuses(answer) == [413]
    assert b"connection: close\r\n" in answer


# Time


def test_who_says_nothing_is_closed_without_a_word(hasty: Host):
    assert hasty.ask() == b""
    with hasty.connect() as line:
        line.sendall(GET)
        assert statuses(read_all(line)) == [200]


@pytest.mark.parametrize("begun", [b"G", GET[:-1], GET + b"GET"])
def test_a_header_has_its_time(hasty: Host, begun: bytes):
    assert statuses(hasty.ask(begun))[-1] == 408
    assert hasty.refused[-1] == "header-timeout"


def test_a_header_has_its_time_from_its_first_byte(hasty: Host):
    with hasty.connect() as line:
        line.settimeout(0.02)
        received = b""
        for byte in GET * 3:
            line.sendall(bytes([byte]))
            try:
                received += line.recv(1000)
            except TimeoutError:
                continue
            break
        assert statuses(received) == [408]


def test_a_body_has_its_time(hasty: Host):
    answer = hasty.ask(post("/b", b"abc")[:-1])
    assert statuses(answer) == [408]
    assert hasty.refused[-1] == "body-timeout"


def test_the_application_may_answer_for_a_body_that_takes_too_long():
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        try:
            while True:
                await receive()
        except RequestError as error:
            await send(start(error.status))
            await send(part(b"late"))

    with Host(app, body_seconds=0.05) as host:
        answer = host.ask(post("/b", b"abc")[:-1])
        assert statuses(answer) == [408]
        assert answer.endswith(b"late")
        assert host.refused == []


def test_a_client_that_takes_nothing_is_let_go():
    app = Recorded()
    app.to_send = [start(), part(bytes(64 << 20))]
    with Host(app, answer_seconds=0.1) as host, host.connect() as line:
        line.sendall(GET)
        eventually(lambda: app.errors)
        assert isinstance(app.errors[0], AnswerTimeout)
        eventually(lambda: host.connections.count == 0)
        assert host.failed == []


def test_an_answer_under_way_has_no_limit_but_the_clients(hasty: Host):
    app = Recorded()
    app.wait, app.to_send = 0.4, [start(), part(b"")]
    with Host(app, header_seconds=0.1, keep_alive_seconds=0.1, body_seconds=0.1, answer_seconds=0.1) as host:
        assert statuses(host.ask(post("/b", b"abc"))) == [200]


# Endings


def test_a_client_that_has_said_all_gets_its_answers(recorded: Host, app: Recorded):
    app.wait, app.to_send = 0.1, [start(), part(b"")]
    assert statuses(recorded.ask(GET + GET, half_close=True)) == [200, 200]
    assert app.errors == []


def test_a_client_that_has_said_all_is_asked_whether_it_is_there(recorded: Host, app: Recorded, hasty_probe: None):
    app.wait, app.to_send = 0.25, [start(), part(b"")]
    answers = statuses(recorded.ask(GET, half_close=True))
    assert answers[-1] == 200
    assert set(answers[:-1]) == {100}


def test_a_client_that_has_gone_is_noticed(recorded: Host, app: Recorded, hasty_probe: None):
    app.reads = 2
    with recorded.connect() as line:
        line.sendall(GET)
        eventually(lambda: app.messages)
    eventually(lambda: len(app.messages) == 2)
    assert app.messages[1] == {"type": "http.disconnect"}
    eventually(lambda: recorded.connections.count == 0)


def test_a_client_that_breaks_off_is_noticed(recorded: Host, app: Recorded):
    app.reads = 2
    with recorded.connect() as line:
        line.sendall(post("/b", b"abc")[:-1])
        eventually(lambda: app.messages)
    eventually(lambda: len(app.messages) == 2)
    assert app.messages[1] == {"type": "http.disconnect"}


def test_who_waits_for_more_hears_that_it_was_answered():
    heard = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        waiting = asyncio.ensure_future(receive())
        await send(start())
        await send(part(b""))
        heard.append(await waiting)
        heard.append(await receive())

    with Host(app) as host:
        assert statuses(host.ask(GET + LAST)) == [200, 200]
    assert heard == [{"type": "http.disconnect"}] * 4


def test_asyncios_own_loop_serves_too():
    with Host(echo, uv=False) as host:
        body = bytes(5 << 20)
        assert host.ask(GET, post("/b", body), LAST).count(body) == 1
        assert statuses(host.ask(HOSTILE["two lengths"][1] + SMUGGLED)) == [400]
        with socket.create_connection(("127.0.0.1", host.port)) as line:
            line.sendall(GET)
            assert line.recv(1000)
