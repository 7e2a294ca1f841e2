"""The load generator: its schedules, and that it counts what a server of known behaviour does."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from latentserve.service.benching import load as load_module
from latentserve.service.benching.load import arrivals, closed_loop, open_loop
from latentserve.service.benching.requests import Address, ask, post
from latentserve.service.client import Client, ServerError
from tests.certificates import self_signed
from tests.service.benching.known import ANSWER, Known

REQUEST = post("/", b"{}", "application/json")
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


def test_even_arrivals() -> None:
    assert arrivals(4, 1.5, "even").tolist() == [0, 0.25, 0.5, 0.75, 1.0, 1.25]


@pytest.mark.parametrize("spacing", ["even", "poisson"])
def test_a_slow_rate_has_an_arrival_too(spacing: Literal["even", "poisson"]) -> None:
    assert arrivals(0.5, 0.2, spacing).tolist() == [0]


def test_poisson_arrivals() -> None:
    times = arrivals(1000, 20, "poisson")
    gaps = np.diff(times)
    assert len(times) == pytest.approx(20_000, rel=0.03)
    assert (gaps > 0).all()
    assert times[-1] < 20
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.03)  # what tells an exponential distribution
    np.testing.assert_array_equal(times, arrivals(1000, 20, "poisson"))


def test_closed_loop_counts_whole_answers() -> None:
    with Known(ANSWER, seconds=0.02) as server:
        load = closed_loop(server.address, lambda _: REQUEST, connections=4, seconds=0.5)
    assert load.failed == 0
    assert load.p50_ms >= 20
    assert load.megabytes == pytest.approx(load.answers * len(ANSWER) / 1e6)
    assert load.per_second == pytest.approx(load.answers / load.seconds)
    assert load.answers / load.seconds < 4 / 0.02


def test_other_statuses_have_failed() -> None:
    with Known(ANSWER, BUSY, seconds=0.01) as server:
        load = closed_loop(server.address, lambda _: REQUEST, connections=1, seconds=0.3)
    assert abs(load.failed - load.answers) <= 1


def test_requests_have_numbers_of_their_own() -> None:
    numbers: list[int] = []

    def request(number: int) -> bytes:
        numbers.append(number)
        return REQUEST

    with Known(ANSWER) as server:
        closed_loop(server.address, request, connections=3, seconds=0.1)
        closed_loop(server.address, request, connections=3, seconds=0.1)
    assert len(set(numbers)) == len(numbers)


def test_open_loop_charges_a_stall_to_all_who_wait() -> None:
    with Known(ANSWER, stall=0.7) as server:
        load = open_loop(server.address, lambda _: REQUEST, rate=100, seconds=0.8, spacing="even")
    assert load.answers == 80
    # A closed loop of one connection would have met the stall once; here most requests were due during it.
    assert load.p50_ms > 10
    assert load.p99_ms > 300


def test_a_server_that_never_answers_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "_GRACE", 0.1)
    with Known(ANSWER, stall=1.0) as server:
        load = closed_loop(server.address, lambda _: REQUEST, connections=2, seconds=0.1)
    assert (load.answers, load.failed, load.per_second) == (0, 2, 0.0)


def test_over_tls(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    with Known(ANSWER, seconds=0.01, tls=serving) as server:
        port = server.address.port
        trusting = Address(port, tls=ssl.create_default_context(cafile=certificate))
        assert ask(trusting, REQUEST, 10) == (200, b"ok")
        closed = closed_loop(trusting, lambda _: REQUEST, connections=3, seconds=0.2)
        assert (closed.failed, closed.answers >= 3) == (0, True)
        opened = open_loop(trusting, lambda _: REQUEST, rate=100, seconds=0.2, spacing="even")
        assert (opened.failed, opened.answers) == (0, 20)
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            closed_loop(Address(port, tls=ssl.create_default_context()), lambda _: REQUEST, connections=1, seconds=0.1)
        with pytest.raises(ServerError, match=r"https://127.0.0.1:\d+: .*verify failed"):
            Client(f"https://127.0.0.1:{port}", retries=0).models()
