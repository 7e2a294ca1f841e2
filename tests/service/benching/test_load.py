"""The load generator: its schedules, and that it counts what a server of known behaviour does."""

from __future__ import annotations

import itertools
import socket
import socketserver
import threading
import time

import numpy as np
import pytest

from service.benching.load import arrivals, closed_loop, open_loop
from service.benching.requests import Address, post

REQUEST = post("/", b"{}", "application/json")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class Server(socketserver.ThreadingTCPServer):
    """Gives `answers` in turn on each connection, each after `seconds`; nothing before `stall` seconds are over."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, *answers: bytes, seconds: float = 0.0, stall: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.seconds = seconds
        self.open_at = time.monotonic() + stall
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> Address:
        return Address(self.server_address[1])

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(socketserver.BaseRequestHandler):
    server: Server

    def handle(self) -> None:
        for answer in itertools.cycle(self.server.answers):
            if len(self.request.recv(len(REQUEST), socket.MSG_WAITALL)) < len(REQUEST):
                return
            time.sleep(max(self.server.seconds, self.server.open_at - time.monotonic()))
            self.request.sendall(answer)


def test_even_arrivals() -> None:
    assert arrivals(4, 1.5, "even").tolist() == [0, 0.25, 0.5, 0.75, 1.0, 1.25]


def test_poisson_arrivals() -> None:
    times = arrivals(1000, 20, "poisson")
    gaps = np.diff(times)
    assert len(times) == pytest.approx(20_000, rel=0.03)
    assert (gaps > 0).all()
    assert times[-1] < 20
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.03)  # what tells an exponential distribution
    np.testing.assert_array_equal(times, arrivals(1000, 20, "poisson"))


def test_closed_loop_counts_whole_answers() -> None:
    with Server(ANSWER, seconds=0.02) as server:
        load = closed_loop(server.address, lambda _: REQUEST, connections=4, seconds=0.5)
    assert load.failed == 0
    assert load.p50_ms >= 20
    assert load.megabytes == pytest.approx(load.answers * len(ANSWER) / 1e6)
    assert load.per_second == pytest.approx(load.answers / load.seconds)
    assert load.answers / load.seconds < 4 / 0.02


def test_other_statuses_have_failed() -> None:
    with Server(ANSWER, BUSY, seconds=0.01) as server:
        load = closed_loop(server.address, lambda _: REQUEST, connections=1, seconds=0.3)
    assert abs(load.failed - load.answers) <= 1


def test_requests_have_numbers_of_their_own() -> None:
    numbers: list[int] = []

    def request(number: int) -> bytes:
        numbers.append(number)
        return REQUEST

    with Server(ANSWER) as server:
        closed_loop(server.address, request, connections=3, seconds=0.1)
        closed_loop(server.address, request, connections=3, seconds=0.1)
    assert len(set(numbers)) == len(numbers)


def test_open_loop_charges_a_stall_to_all_who_wait() -> None:
    with Server(ANSWER, stall=0.7) as server:
        load = open_loop(server.address, lambda _: REQUEST, rate=100, seconds=0.8, spacing="even")
    assert load.answers == 80
    # A closed loop of one connection would have met the stall once; here most requests were due during it.
    assert load.p50_ms > 10
    assert load.p99_ms > 300
