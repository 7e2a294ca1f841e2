"""A server at its edges, over a socket: hostile and careless clients of the benchmark's corpus, each for a moment. They
are answered as they should be, and leave the server as it was."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import gzip
import io
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from benchmarks.serving.edges.corpus import CORPUS, Target
from latentserve.service.host.refusal import KINDS
from tests.server import Server

# Those that need no bundle of the benchmark's own, and no time.
ENTRIES = (
    "smuggled requests", "http2 preface", "random bytes", "tls hello", "upgrade offers", "other targets",
    "other versions", "other methods", "odd paths", "odd headers", "long urls", "endless header", "endless headers",
    "endless chunk heads", "heads at the limit", "pipelined", "bodies beyond the limit", "bodies where none belong",
    "nested json", "compressed bodies", "half closed from the start", "kept and silent", "come and gone",
    "metrics by the hundred",
)  # fmt: skip
WAITED = ("slow heads", "slow bodies", "never continued", "bodies cut short")  # for the limits of time, a second each


@pytest.fixture(scope="module")
def edge_server(bundle: Path) -> Iterator[Server]:
    """A server whose limits of time are short."""
    with Server(bundle, header_seconds=0.5, body_seconds=0.5, keep_alive_seconds=5) as running:
        yield running
        running.wait_for(lambda: running.metric("inflight_requests") == 0)  # told once a second


@pytest.fixture
def same_server(edge_server: Server) -> Iterator[Server]:
    """It gives the same rows afterwards, from the same workers; when all is over nothing is under way."""
    asked = {"seed": 5, "n": 3, "deterministic": True}
    pids, before = edge_server.worker_pids(), edge_server.samples(**asked).content
    yield edge_server
    assert edge_server.samples(**asked).content == before
    assert edge_server.worker_pids() == pids


@pytest.mark.parametrize("name", ENTRIES)
def test_hostile_clients_are_answered_as_they_should_be(name: str, same_server: Server) -> None:
    entry = CORPUS[name]
    entry.prepare()
    ends = asyncio.run(entry.act(Target(same_server.port, 0.05)))
    # A moment is over before some of the answers.
    assert {end for end in ends if not end.endswith("silence")} <= entry.ends


def test_what_the_host_refuses_is_counted_and_logged(same_server: Server) -> None:
    server = same_server
    for kind in KINDS:
        assert server.metric("refused_total", kind=kind) >= 0
    before = server.metric("refused_total", kind="header-too-large"), server.metric("requests_total", code="431")
    headers = {"X-Request-ID": "mine", "X-Long": "a" * 40_000}
    assert [server.http.get("/livez", headers=headers).headers["X-Request-ID"] for _ in range(3)] == ["mine"] * 3
    server.wait_for(lambda: server.metric("refused_total", kind="header-too-large") == before[0] + 3)
    assert server.metric("requests_total", code="431", route="other") == before[1] + 3
    told = r" refused status=431 reason=header-too-large client=127\.0\.0\.1 request_id=\S+ detail="
    server.wait_for(lambda: re.search(told, server.log.read_text()) is not None)


def ask_for_all(server: Server) -> set[int]:
    """Ask for what is done beside the event loop, in all of its forms; the statuses."""
    latents = io.BytesIO()
    np.savez(latents, latents=np.zeros((100, 8), np.float32))
    made = server.samples(accept="image/png", n=1)
    asked = server.http.post
    answers = [
        made,
        *(server.samples(accept=accept, n=5_000) for accept in ("image/png", "image/webp", "application/zip")),
        server.samples(n=2, where={"$score": {"min": -1e9}}),
        asked("/v1/samples", content=latents.getvalue(), headers={"Content-Type": "application/x-npz"}),
        asked("/v1/samples", content=gzip.compress(b" " * 300_000 + b"{}"), headers={"Content-Encoding": "gzip"}),
        asked("/v1/scores", json={"samples": [base64.b64encode(made.content).decode()] * 100, "label": 3}),
        asked("/v1/verify", content=made.content, headers={"Content-Type": "image/png"}),
        asked("/sample", json={}),
        server.http.get("/metrics"),
        server.http.get("/v1/drift"),
    ]
    return {answer.status_code for answer in answers}


# What a level of optimisation compiles nobody has compiled before: it takes as long as all else here.
@pytest.mark.parametrize("optimize", ["", pytest.param("2", marks=pytest.mark.full)])
def test_a_strange_environment(
    optimize: str, bundle: Path, plain_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a home nor a temporary folder, no language, in the long form no docstrings, and modules by the names of
    our own parts."""
    copy = Path(shutil.copytree(bundle, tmp_path / "bündel"))
    current = tmp_path / "current"
    current.symlink_to(copy)
    for name in ("service", "training", "tests"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')\n")
    for name in ("LANG", "LC_CTYPE", "USER", "LOGNAME"):
        monkeypatch.delenv(name, raising=False)
    strange = {"HOME": "/nowhere", "TMPDIR": "/nowhere", "PYTHONPATH": str(tmp_path), "TZ": "Nowhere/At_all"}
    strange |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONOPTIMIZE": optimize}
    strange |= {"PYTHONWARNINGS": "error", "BENTOML_CONFIG": "/nowhere"}  # of other programs
    for name, value in strange.items():
        monkeypatch.setenv(name, value)
    with Server(current) as server:
        (worker,) = server.worker_pids()
        threads = set(Path(f"/proc/{worker}/task").iterdir())
        assert ask_for_all(server) == {200}
        # Where no thread can be started any more, nobody whom it was ready for is told so.
        assert set(Path(f"/proc/{worker}/task").iterdir()) == threads
        # Then a new release comes, the old one goes, somebody empties the temporary folder, and a worker dies.
        version = server.samples(n=1).headers["Latentserve-Version"]
        current.with_name("next").symlink_to(plain_bundle)
        current.with_name("next").replace(current)
        shutil.rmtree(copy)
        shutil.rmtree(Path(f"/proc/{worker}/cwd").readlink().parent)
        assert server.samples(n=1).status_code == 200
        os.kill(worker, signal.SIGKILL)
        server.wait_for(lambda: worker not in server.worker_pids())
        # Kept connections died with the worker; new ones wait for the next.
        with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as anew:
            server.wait_for(lambda: anew.get("/readyz").status_code == 200, 60)  # on a slow machine not within 10 s
            assert anew.post("/v1/samples", json={"n": 1}).headers["Latentserve-Version"] == version
            assert anew.get("/metrics").status_code == 200
        assert "state-lost" in server.log.read_text()


def test_a_log_that_nobody_reads_holds_nobody_up(bundle: Path) -> None:
    """All processes of a server write to one pipe."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    try:
        with Server(bundle, output=write, access_log=True) as server:
            assert {server.http.get("/livez").status_code for _ in range(200)} == {200}
            assert server.stop() == 0
    finally:
        os.close(read)
        os.close(write)


@pytest.mark.parametrize("name", WAITED)
def test_slow_clients_are_let_go(name: str, same_server: Server) -> None:
    entry = CORPUS[name]
    ends = asyncio.run(entry.act(Target(same_server.port, 3.0)))
    assert ends
    assert ends.keys() <= entry.ends
