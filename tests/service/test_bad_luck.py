"""Clients that behave badly, rows that cannot be run, an engine that hangs: the others are served, and exactly."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest

from latentserve.service.encoding.document import RAW
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.request import RowsRequest
from tests.conftest import make_bundle
from tests.generators import dense_generator
from tests.server import Server

MEGABYTE = 1 << 20
ANSWER_BYTES = 4 * 8 * 8  # of one row
PATIENCE = 120  # seconds, of which a machine that is not busy takes few


def request_bytes(**body: object) -> bytes:
    content = json.dumps(body).encode()
    head = "POST /v1/samples HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return f"{head}Accept: {RAW}\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


def connect(server: Server) -> socket.socket:
    line = socket.create_connection(("127.0.0.1", server.port), 10)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return line


def resident_megabytes(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE


def test_others_are_served_beside_slow_and_broken_clients(server: Server, engine: Engine) -> None:
    """Thirty that read a byte now and then of 60 MB each, thirty with half a body, thirty that ask and vanish."""
    (worker,) = server.worker_pids()
    before = resident_megabytes(worker)
    ending = threading.Event()

    def read_slowly(line: socket.socket) -> None:
        while not ending.wait(0.2):
            line.recv(1)

    def check(seed: int) -> None:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for offset in range(0, 600, 20):
                body = {"model": "toy", "seed": seed, "n": 20, "offset": offset}
                answer = client.post("/v1/samples", json=body, headers={"Accept": RAW})
                assert answer.status_code == 200
                expected = RowsRequest(n=20, seed=seed, offset=offset).inputs(engine.bundle.manifest, 0, 20)
                assert answer.content == engine.generate(expected).tobytes()

    with ThreadPoolExecutor(40) as pool, ExitStack() as stack:
        stack.callback(ending.set)
        for number in range(30):
            slow, half, gone = (stack.enter_context(connect(server)) for _ in range(3))
            slow.sendall(request_bytes(model="toy", seed=number, n=60 * MEGABYTE // ANSWER_BYTES))
            slow.recv(1)
            pool.submit(read_slowly, slow)
            whole = request_bytes(model="toy", seed=number, n=5)
            half.sendall(whole[:-4])
            gone.sendall(whole)
            gone.close()
        for done in [pool.submit(check, seed) for seed in range(8)]:
            done.result(120)
        assert resident_megabytes(worker) - before < 200
    server.wait_for(lambda: server.metric("inflight_requests") == 0)
    server.wait_for(lambda: server.metric("queue_rows", model="toy") == 0)


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A generator that cannot run a batch with a row of z[0] > 3."""
    with Server(frail_bundle(tmp_path_factory.mktemp("bundles") / "fragile", fragile=True)) as running:
        yield running


def frail_bundle(path: Path, **fault: bool) -> Path:
    content = dense_generator(**fault).SerializeToString()  # type: ignore[arg-type]
    return make_bundle(path, name=path.name, generator=content, reference_samples=64)


def test_rows_that_cannot_be_run_fail_their_own_requests_only(fragile: Server) -> None:
    """One request in five brings such a row, while sixteen clients share every batch."""
    z = np.random.default_rng(0).uniform(-2, 2, size=(160, 3, 8)).astype(np.float32)
    z[::5, 1, 0] = 5
    (described,) = fragile.http.get("/v1/models").json()["models"]

    def ask(index: int) -> httpx.Response:
        body = {"latents": z[index].tolist(), "label": index % 10}
        return fragile.http.post("/v1/samples", json=body, headers={"Accept": RAW}, timeout=60)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(len(z))))
    for index, answer in enumerate(answers):
        if index % 5 == 0:
            assert answer.status_code == 500
            assert answer.headers["content-type"] == "application/problem+json"
        else:
            assert answer.status_code == 200
            assert answer.content == ask(index).content  # now on its own
    assert described["state"] == "ready"
    assert fragile.http.get("/readyz").status_code == 200
    # The runtime would write a line for each by itself, and wait for whoever reads it.
    assert "onnxruntime:" not in fragile.log.read_text()
    assert fragile.log.read_text().count("a row failed") <= 100


def test_a_worker_whose_engine_hangs_is_replaced(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """First on the scheduler's thread, then where short batches run.

    A machine that is busy enough lets a healthy worker say nothing for as long: then that one is replaced, too, with
    what it has under way, so who asks asks again.
    """
    server = start_server(
        frail_bundle(tmp_path / "hanging", hangs=True), hang_seconds=1, deadline_seconds=10, drain_seconds=1
    )

    def answered(seed: int) -> bool:
        try:
            return server.samples(n=1, seed=seed).status_code == 200
        except httpx.TransportError:
            return False

    hanging = request_bytes(latents=[[5.0] * 8], label=0)
    for before in (0, 20):
        for seed in range(before):
            server.wait_for(lambda seed=seed: answered(seed), PATIENCE)  # type: ignore[misc]
        server.wait_for(lambda: bool(server.worker_pids()), PATIENCE)
        workers = set(server.worker_pids())
        with connect(server) as line:
            line.sendall(hanging)
            server.wait_for(lambda gone=workers: not gone & set(server.worker_pids()), PATIENCE)  # type: ignore[misc]
        server.wait_for(lambda: answered(1), PATIENCE)
